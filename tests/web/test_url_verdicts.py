"""One validation: library, handler, socket, JSON API, list of URLs and command line say the same of a pasted URL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.cli.commands.programs.download import with_options
from kue.cli.root import run
from kue.downloads import DownloadError, DownloadHandler, DownloadRequest, InvalidRequest
from kue.web.live.start_event import Refused, parse
from tests.downloads.hostile import FakeJob

H = "x.invalid"  # nobody's, by RFC 6761
TAKEN = [
    f"http://{H}/x.zip",
    f"  http://{H}/x.zip\u200b",
    f"<http://{H}/a b>",
    f"HTTP://{H.upper()}/",
    f"http:/{H}/x",
    f"http:\\\\{H}\\x",
    f"https://u:p%40@{H}:8443/x?y#z",
    f"[a file](http://{H}/x.zip)",
    f"- http://{H}/x.zip",
    f"«http://{H}/x.zip»",
    f"http://☃.{H}/x",
    f"http://a_b.{H}/",
    f"http://{H}./x",
    f"http://{H}/%7Ea?s=%2F+%20",
    f"http://{H}/a|b^c{{d}}",
    f"http://{H}/\tx",
    f"http://{H}/x\ny",
    f"http://{H}/\x01\x7f",
    f"http://{H}?q",
    f"http://{H}/" + "a" * 8000,
    f"http://{H}:/x",
    f"http://ex%61mple.{H}/",
]
REFUSED = [
    f"http://{H}/a\x00b",
    "",
    "   ",
    "\u200b",
    f"{H}/x.zip",
    f"//{H}/x",
    f"{H}:8080/x",
    f"ftp://{H}/x",
    "file:///etc/passwd",
    "data:,x",
    "javascript:1",
    "magnet:?xt=1",
    "nonsense here",
    f"hxxp://{H}/x",
    f"http//{H}/x",
    f"http://https://{H}/x",
    "# a comment",
    "http://a b/",
    "http://",
    "http://?x",
    f"http://{H}:0/",
    f"http://{H}:99999/",
    f"http://{H}:x/",
    "http://a..b/",
    "http://*.x/",
    "http://[::1/",
    "http://[1.2.3.4]/",
    f"http://{H}/" + "ü" * 5000,
    "x" * 20_000,
    "http://127.0.0.1/x",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://2130706433/",
    "http://１２７.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://10.1.2.3/x",
    "http://169.254.169.254/",
    "http://localhost/",
    "http://a.localhost./",
    "http://0/",
    f"http://{H}/a\nhttp://{H}/b",
]


def by_library(url: str) -> None:
    DownloadRequest.parse({"url": url})


def by_socket(url: str) -> None:
    parse(({"type": "download", "url": url},))


def refusal(ask: Callable[[str], object], url: str) -> str | None:
    """Return why a URL is refused, or None if it is taken."""
    try:
        ask(url)
    except (InvalidRequest, Refused) as exc:
        return with_options(str(exc))
    except DownloadError:
        pass  # it came as far as the network
    return None


@pytest.fixture
def ways(site: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Callable[[str], str | None]]:
    """Return the ways in which a URL is given, each a function that returns why it is refused."""
    handler = DownloadHandler(tmp_path / "files", resolve=lambda *_: [])

    def by_api(url: str) -> str | None:
        answer = site.http().post("/job", json={"type": "startdownload", "data": {"url": url}})
        return None if answer.status_code == 200 else with_options(answer.get_json()["error"])

    def by_list(url: str) -> str | None:
        # not json=, which would hide secrets
        answer = site.http().post(
            "/monitor/downloads/list", data=json.dumps({"text": url}), content_type="application/json"
        )
        return next((with_options(each["error"]) for each in answer.get_json()["problems"]), None)

    def by_command(url: str) -> str | None:
        code = run(["download", "-q", "-n", "1", "-o", f"{tmp_path}/", "--", url])
        said = capsys.readouterr().err
        return said.split("\n")[0].removeprefix("kue: ").removeprefix("Error: ") if code == 2 else None

    return {
        "library": lambda url: refusal(by_library, url),
        "socket": lambda url: refusal(by_socket, url),
        "handler": lambda url: refusal(lambda given: handler(FakeJob(given)), url),
        "API": by_api,
        "list": by_list,
        "command": by_command,
    }


def verdicts(ways: dict[str, Callable[[str], str | None]], url: str) -> dict[str, str | None]:
    """Return what each way says. A list is split into lines, and skips empty ones and comments."""
    is_line = url.strip() and not url.startswith("#") and len(url.splitlines()) == 1
    return {name: ask(url) for name, ask in ways.items() if is_line or name != "list"}


def test_every_way_takes_the_same_urls(ways: dict[str, Callable[[str], str | None]]) -> None:
    said = {url[:80]: {name: why for name, why in verdicts(ways, url).items() if why} for url in TAKEN}
    assert {url: why for url, why in said.items() if why} == {}


def test_every_way_refuses_the_same_urls_with_the_same_sentence(ways: dict[str, Callable[[str], str | None]]) -> None:
    said = {url[:80]: verdicts(ways, url) for url in REFUSED}
    assert {url: why for url, why in said.items() if len(set(why.values())) != 1 or None in why.values()} == {}
