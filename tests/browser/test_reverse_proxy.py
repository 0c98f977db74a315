"""The page below a path, behind a real nginx; and where WebSockets are blocked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import free_port, wait_until
from tests.support.servers.web_servers import Nginx
from tests.web.server.proxied import configuration, make_certificate

LIVE = '#live_status[data-live="live"]'


#: Returns every address that the page names, also those that its scripts have made.
ADDRESSES = """() => ["href", "src", "action", "formaction", "xlink:href"].flatMap((name) =>
  [...document.querySelectorAll(`[${CSS.escape(name)}]`)].map((each) => each.getAttribute(name)))
  .map((address) => new URL(address, document.baseURI).href)
"""


def start_a_download(page: Any) -> str:
    """Press Start job; return the new job's id once its row is there."""
    page.wait_for_selector(LIVE)
    page.click("#button_start")
    page.wait_for_function("() => document.querySelector('#start_message').innerText.startsWith('Started job')")
    found = re.search(r"\d+", page.inner_text("#start_message"))
    assert found is not None
    return found[0]


@pytest.mark.long
def test_the_main_job_below_a_path_from_the_login_to_the_file(
    make_monitor: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    settings = {"KUE_AUTH": "anna:secret", "KUE_TRUSTED_PROXIES": "127.0.0.1", "KUE_BASE_PATH": "/kue"}
    monitor, port = make_monitor(**settings), free_port()
    with Nginx(tmp_path / "nginx", configuration("path-kept.conf", port, monitor.port), port):
        main_job(f"http://127.0.0.1:{port}/kue/", open_page)


@pytest.mark.long
def test_the_main_job_behind_two_proxies_with_tls_that_remove_the_path(
    make_monitor: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    monitor = make_monitor(KUE_AUTH="anna:secret", KUE_TRUSTED_PROXIES="2")
    port, inner, certificate = free_port(), free_port(), make_certificate(tmp_path)
    with (
        Nginx(tmp_path / "inner", configuration("second-proxy.conf", inner, monitor.port), inner),
        Nginx(tmp_path / "outer", configuration("path-removed.conf", port, inner, certificate), port),
    ):
        main_job(f"https://127.0.0.1:{port}/kue/", open_page)


def main_job(url: str, open_page: Callable[..., Any]) -> None:
    """Log in, start a download, fetch its file and log out; fail if anything is asked for above ``url``."""
    page = open_page("about:blank", ignore_https_errors=True)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda socket: requested.append(socket.url.replace("ws", "http", 1)))
    page.goto(url)
    page.fill("[name=user]", "anna")
    page.fill("[name=password]", "secret")
    page.click("text=Log in >> nth=-1")
    job_id = start_a_download(page)
    page.wait_for_selector(f'#log_{job_id}:text-is("Completed")')
    assert page.inner_text("#live_status [data-part=why]") == ""
    named = page.evaluate(ADDRESSES)
    with page.expect_download() as download:
        page.click(f"#job_{job_id} [data-part=file]")
    assert download.value.suggested_filename
    page.click(f"#job_{job_id} a.job_id")
    page.wait_for_url(f"**/kue/job/{job_id}")
    page.wait_for_selector(LIVE)
    named += page.evaluate(ADDRESSES)
    page.click("text=Log out")
    page.wait_for_url("**/kue/login")
    assert any("/socket.io/" in address for address in requested)
    assert f"{url}job/{job_id}" in named
    assert [address for address in (*requested, *named) if not address.startswith(url)] == []


@pytest.mark.long
def test_where_websockets_are_blocked_the_page_stays_live_and_says_so(
    make_program: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    program, port = make_program(KUE_TRUSTED_PROXIES="1", KUE_BASE_PATH="/kue"), free_port()
    blocking = configuration("path-kept.conf", port, program.port).replace("$connection_upgrade", '""', 9)
    blocking = blocking.replace("proxy_set_header Upgrade $http_upgrade", 'proxy_set_header Upgrade ""')
    blocking = re.sub(r"map .*\n", "", blocking)
    with Nginx(tmp_path / "nginx", blocking, port):
        page, other = open_page(f"http://127.0.0.1:{port}/kue/"), open_page(f"http://127.0.0.1:{port}/kue/")
        job_id = start_a_download(page)
        assert "by polling" in page.inner_text("#live_status")
        for each in (page, other):
            each.wait_for_selector(f'#log_{job_id}:text-is("Completed")')
        program.stop()
        page.wait_for_selector('#live_status[data-live="stale"]')
        program.start()
        page.wait_for_selector(LIVE)
        wait_until(lambda: "by polling" in page.inner_text("#live_status"))
        direct = open_page(f"{program.url}/kue/")
        direct.wait_for_selector(LIVE)
        assert direct.inner_text("#live_status [data-part=why]") == ""


@pytest.mark.long
def test_after_a_restart_a_page_is_back_on_a_websocket(program: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(program.url)
    page.wait_for_selector(LIVE)
    program.stop()
    page.wait_for_selector('#live_status[data-live="stale"]')
    page.wait_for_event("requestfailed", lambda request: "transport=polling" in request.url)
    program.start()
    page.wait_for_selector(LIVE)
    assert page.inner_text("#live_status [data-part=why]") == ""
