"""Redirects: each hop is a new connection to an address that was checked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler
from tests.downloads.conftest import assert_file, finished
from tests.downloads.hostile import FakeJob, HostileServer, Request, Script, Wire, content, good, send_good

DATA = content(100_000)
Make = Callable[..., DownloadHandler]


def to(location: str, status: str = "302 Found") -> Script:
    """Return a script that redirects."""
    return lambda request, wire: wire.head(status, {"Location": location, "Content-Length": 0})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("form", ["absolute", "path", "relative", "query", "protocol"])
def test_a_redirect_is_followed_and_told(make: Make, folder: Path, status: int, form: str) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            location = {
                "absolute": wire.server.url("/a/new.bin"),
                "path": "/a/new.bin",
                "relative": "new.bin",
                "query": "?x=/new.bin",
                "protocol": wire.server.url("/a/new.bin").removeprefix("http:"),
            }[form]
            wire.head(f"{status} x", {"Location": location, "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        job = FakeJob(server.url("/a/old.bin"))
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert result["redirects"] == 1 and result["url"] == server.url(
        "/a/old.bin?x=/new.bin" if form == "query" else "/a/new.bin"
    )
    assert job.lines[0] == f"Redirected to {result['url']}"


def test_twenty_redirects_are_followed_and_twenty_one_are_not(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        left = int(request.path[1:])
        if left:
            wire.head("302 x", {"Location": f"/{left - 1}", "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        assert make(server)(FakeJob(server.url("/20")))["redirects"] == 20
        with pytest.raises(DownloadFailed, match="redirected more than 20 times"):
            make(server)(FakeJob(server.url("/21"), 2))


@pytest.mark.parametrize("location", ["/loop", ""])
def test_a_loop_ends(make: Make, folder: Path, location: str) -> None:
    with HostileServer(to(location)) as server, pytest.raises(DownloadFailed, match="redirect"):
        make(server)(FakeJob(server.url("/loop")))
    assert len(server.requests) <= 21 and finished(folder) == []


FORBIDDEN = [
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://127.0.0.1:{other}/", "http://0:{other}/",
    "http://localhost:{other}/", "http://2130706433:{other}/", "http://0x7f.1:{other}/", "http://0177.0.0.1:{other}/",
    "http://127.1:{other}/", "http://[::1]:{other}/", "http://[::ffff:127.0.0.1]:{other}/", "http://[::7f00:1]:{other}/",
    "http://[64:ff9b::7f00:1]:{other}/", "http://[2002:7f00:1::]:{other}/", "http://0.0.0.0:{other}/", "http://10.0.0.1/",
    "http://127.0.0.1.:{other}/", "//127.0.0.2:{other}/", "http://user:pw@127.0.0.1:{other}/", "http://rebind.example/",
    "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:{other}/_x", "data:text/plain,x", "javascript:1", "http://",
    "http://127.0.0.1:{other}\\@8.8.8.8/", "http://8.8.8.8 @127.0.0.1:{other}/", "http:///127.0.0.1:{other}/",
    "http://[::1", "http://127.0.0.1:99999/", "ldap://127.0.0.1/", "http://100.100.100.200/", "http://168.63.129.16/",
    "unix:/var/run/docker.sock", "\\\\127.0.0.1\\x", "http://①②⑦.⓪.⓪.①:{other}/",
    "http:\\\\127.0.0.1:{other}\\", "/\\127.0.0.1:{other}/", "\\/127.0.0.1:{other}/", "///127.0.0.1:{other}/",
    "\t//127.0.0.1:{other}/", "https:127.0.0.1:{other}/", "http:127.0.0.1:{other}/", "http://x@127.0.0.1:{other}#@{other}",
    "ht\ttp://127.0.0.1:{other}/", "http://127.0.0.1:{other}\t/", "http://%31%32%37.0.0.1:{other}/",
    "http://127.0.0.1%00.example:{other}/", "//user@127.1:{other}/",
]  # fmt: skip


@pytest.mark.parametrize("location", FORBIDDEN)
def test_no_redirect_leads_to_where_it_may_not(make: Make, folder: Path, location: str) -> None:
    def resolve(host: str, port: int, *more: Any) -> Any:
        if host == "rebind.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", other.port))]
        return socket.getaddrinfo(host, port, *more)

    with HostileServer(good(b"secret")) as other:
        target = location.replace("{other}", str(other.port)).encode().decode("latin-1")
        with HostileServer(to(target)) as server, pytest.raises(DownloadError):
            make(server, resolve=resolve)(FakeJob(server.url()))
        assert other.connections == 0
    assert finished(folder) == []


@pytest.mark.parametrize("redirected", [False, True])
def test_a_name_that_changes_its_address_cannot_get_in(make: Make, folder: Path, redirected: bool) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any) -> Any:
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        # Public when it is first looked up, this machine afterwards; nobody answers at the public one.
        asked.append(host)
        address = "198.51.100.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with HostileServer(good(b"secret")) as inside:
        evil = f"http://rebind.example:{inside.port}/"
        with HostileServer(to(evil)) as server:
            handler, job = make(server, resolve=resolve), FakeJob(server.url() if redirected else evil)
            for _ in range(3):
                with pytest.raises(DownloadError):
                    handler(job)
        assert inside.connections == 0
    assert len(asked) == 3 and finished(folder) == []


def test_the_address_that_was_checked_is_the_one_connected_to(make: Make, folder: Path) -> None:
    calls: list[str] = []

    def resolve(host: str, port: int, *_: Any) -> Any:
        calls.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with HostileServer(good(DATA)) as server:
        handler = make(allow=[f"files.example:{server.port}"], resolve=resolve)
        assert_file(folder, handler(FakeJob(server.url(host="files.example"))), DATA)
    assert calls == ["files.example"]
    assert server.requests[0].headers["host"] == f"files.example:{server.port}"


def test_a_resumed_download_follows_its_redirects_anew(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.path == "/old":
            wire.head("302 x", {"Location": f"/signed?number={request.number}", "Content-Length": 0})
        else:
            send_good(request, wire, DATA, stop_after=50_000 if request.number == 1 else None)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url("/old"))
        with pytest.raises(DownloadError):
            handler(job)
        result = handler(job)
    assert [request.path for request in server.requests] == ["/old", "/signed?number=0", "/old", "/signed?number=2"]
    assert result["resumed_from"] == 50_000
    assert_file(folder, result, DATA)


def test_credentials_come_back_on_the_way_back(make: Make) -> None:
    def there(request: Request, wire: Wire) -> None:
        if request.path == "/x":
            wire.head("302 x", {"Location": other.url(), "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with (
        HostileServer(lambda request, wire: to(home.url("/back"))(request, wire)) as other,
        HostileServer(there) as home,
    ):
        make(allow=["127.0.0.1"])(FakeJob(home.url("/x").replace("//", "//u:p@")))
    assert "authorization" in home.requests[0].headers and "authorization" in home.requests[1].headers
    assert "authorization" not in other.requests[0].headers


def test_a_cookie_that_comes_with_a_redirect_is_sent_behind_it(make: Make) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.path == "/door":
            wire.head("302 x", {"Location": "/in", "Set-Cookie": "pass=1", "Content-Length": 0})
        elif request.headers.get("cookie") == "pass=1":
            send_good(request, wire, DATA)
        else:
            wire.head("403 x")

    with HostileServer(script) as server:
        assert make(server)(FakeJob(server.url("/door")))["bytes"] == len(DATA)


def test_cookies_are_not_carried_from_job_to_job(make: Make) -> None:
    with HostileServer(good(DATA, Set_Cookie="a=b")) as server:
        handler = make(server)
        handler(FakeJob(server.url(), 1))
        handler(FakeJob(server.url(), 2))
    assert "cookie" not in server.requests[1].headers
