"""Behind real Caddy and Apache servers, with the configurations of the guide: at a path, kept or removed, over TLS."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import socketio

from kue.app.serving import download_handler
from tests.support import free_port, require_program
from tests.support.servers.web_servers import Apache, Caddy, WebServer
from tests.web.server.proxied import AUTH, FORGED, GUIDE, VISITOR, Visitor, configuration, crawl, make_certificate

CONFIGURATIONS = {
    "caddy": (Caddy, "Caddyfile-path-kept", "Caddyfile-path-removed"),
    "apache2": (Apache, "apache-path-kept.conf", "apache-path-removed.conf"),
}


@pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=pytest.mark.long if name == "apache2" else ()) for name in CONFIGURATIONS],
)
def test_the_main_job_through_a_proxy_at_a_path(
    make_site: Callable[..., Any], queue: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, program: str
) -> None:
    # Given one proxy with two sites: it passes the path on in one, and removes it in the other
    require_program(program)
    kind, *names = CONFIGURATIONS[program]
    certificate = make_certificate(tmp_path)
    sites, ports = [], []
    settings = {"KUE_AUTH": AUTH, "KUE_TRUSTED_PROXIES": "127.0.0.1", "DOWNLOAD_ALLOW": "127.0.0.1"}
    for name, path in zip(names, ("/kue", ""), strict=True):
        site = make_site(listen=True, KUE_BASE_PATH=path, **settings)
        ports.append(free_port())
        sites.append(configuration(name, ports[-1], urlsplit(site.url).port or 0, certificate))
        if not path:
            queue.process("startdownload", 1, download_handler(site.settings))
            file = f"{site.url}/static/icon.svg"
    modules = re.search(r'```sh title="apache-modules.sh"\n(.*?)```', GUIDE, re.DOTALL)
    assert modules is not None
    caplog.set_level(logging.INFO, "kue.web.audit")
    proxy: WebServer = kind(tmp_path / program, "\n".join([modules[1] if kind is Apache else "", *sites]), *ports)
    with proxy:
        for port in ports:
            whole_visit(f"https://127.0.0.1:{port}", queue, file, caplog, crawls=port == ports[-1])


def whole_visit(url: str, queue: Any, file: str, caplog: pytest.LogCaptureFixture, crawls: bool) -> None:
    """Log in, crawl, use the API, start a download over a WebSocket, and try to pass for somebody else."""
    visitor = Visitor(url)
    status, headers, _ = visitor.ask("GET", "/kue/failed", Accept="text/html")
    assert (status, headers["Location"]) == (302, "/kue/login?next=%2Ffailed")
    assert visitor.ask("GET", "/kue")[1]["Location"] in ("/kue/", f"{url}/kue/")
    headers = visitor.log_in("/kue")[1]
    assert headers["Location"] == "/kue/failed" and "Secure; HttpOnly; Path=/kue" in headers["Set-Cookie"]
    # The API, also with what a proxy likes to decode
    kind = {"Content_Type": "application/json"}
    job_id = json.loads(visitor.ask("POST", "/kue/job", '{"type": "a b/c"}', **kind)[2])["id"]
    listed = json.loads(visitor.ask("GET", "/kue/jobs/a%20b%2Fc/inactive/0..9/asc")[2])
    assert job_id in [each["id"] for each in listed]
    assert json.loads(visitor.ask("GET", "/kue/openapi.json")[2])["servers"] == [{"url": "/kue"}]
    # The main job by a client that uses no polling
    client = socketio.SimpleClient(ssl_verify=False)
    client.connect(f"{url}/kue", socketio_path="kue/socket.io", transports=["websocket"],
                   headers={"Cookie": visitor.cookie}, wait_timeout=20)  # fmt: skip
    started = client.call("start", {"type": "download", "url": file}, timeout=20)
    while client.receive(timeout=20)[0] != "complete":
        pass
    client.disconnect()
    assert queue.get(started["id"]).state == "complete"
    # Every link
    if crawls:
        assert f"/kue/job/{started['id']}" in crawl(visitor, "/kue/", lost="/kue/nothing-here")
    # What a visitor forges
    caplog.clear()
    for forged in FORGED:
        job = f"/kue/job/{queue.create('a').save().id}"
        assert visitor.ask("DELETE", job, Origin="https://evil.test", **forged)[0] == 403
        assert "evil" not in visitor.ask("GET", "/kue/", Accept="text/html", **forged)[2]
        assert visitor.ask("DELETE", job, Origin=url, **forged)[0] == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "kue.web.audit"]
    assert len(lines) == 2 * len(FORGED) and all(f"from {VISITOR}" in line for line in lines)
