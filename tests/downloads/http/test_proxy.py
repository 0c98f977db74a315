"""Proxies: names and addresses that they get, the guard behind them, and what is said if they refuse."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import socks

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler
from kue.downloads.http.proxy import parse_proxy
from tests.downloads.conftest import QUICK, assert_file
from tests.downloads.hostile import FakeJob, HostileServer, content, good
from tests.downloads.proxies import connect_proxy, relay, resolving, socks_proxy

DATA = content(50_000)
Make = Callable[..., DownloadHandler]


@pytest.mark.parametrize("secure_proxy", [False, True])
def test_https_goes_through_a_tunnel_of_the_proxy(
    make: Make, folder: Path, tls: Any, certificate: tuple[Path, Path], secure_proxy: bool
) -> None:
    seen: list[str] = []
    with HostileServer(good(DATA), tls=tls) as server:
        handshake = connect_proxy(seen, lambda _: ("127.0.0.1", server.port))
        with relay(handshake, tls if secure_proxy else None) as port:
            proxy = f"{'https' if secure_proxy else 'http'}://user:swordfish@127.0.0.1:{port}"
            handler = make(server, proxy=proxy, verify=str(certificate[0]))
            assert_file(folder, handler(FakeJob(server.url())), DATA)
    assert seen[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpzd29yZGZpc2g=" in seen[0]
    assert "proxy-authorization" not in server.requests[0].headers


def test_plain_http_goes_to_the_proxy_with_the_whole_url(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA)) as proxy:
        handler = make(allow=["*"], resolve=_unknown_but_literals)
        job = FakeJob("http://files.example/x?y", proxy=f"http://u:p@127.0.0.1:{proxy.port}")
        assert_file(folder, handler(job), DATA)
    assert proxy.requests[0].path == "http://files.example/x?y"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dTpw"


@pytest.mark.parametrize(("scheme", "kind", "host"), [("socks5h", 3, "files.example"), ("socks5", 1, "127.0.0.1")])
def test_a_socks_proxy_resolves_the_name_or_gets_the_checked_address(
    make: Make, folder: Path, scheme: str, kind: int, host: str
) -> None:
    seen: list[Any] = []
    with HostileServer(good(DATA)) as server:
        with relay(socks_proxy(seen, lambda _: ("127.0.0.1", server.port))) as port:
            handler = make(
                allow=["127.0.0.1", "files.example"], resolve=resolving(), proxy=f"{scheme}://u:p@127.0.0.1:{port}"
            )
            assert_file(folder, handler(FakeJob("http://files.example/x")), DATA)
    assert seen == [b"\x01\x01u\x01p", (kind, host)]


@pytest.mark.parametrize("proxy", ["http", "socks5h", "socks5"])
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/", "http://inside.example:{port}/", "http://0x7f.1:{port}/"]
)
def test_the_guard_holds_behind_a_proxy(make: Make, proxy: str, target: str) -> None:
    with HostileServer(good(b"secret")) as inside:
        handler = make(proxy=f"{proxy}://127.0.0.1:{inside.port}", resolve=resolving())
        with pytest.raises(DownloadFailed, match="Refused"):
            handler(FakeJob(target.replace("{port}", str(inside.port))))
        assert inside.connections == 0


def test_a_job_cannot_use_a_proxy_that_the_guard_refuses(make: Make) -> None:
    with HostileServer(good(b"secret")) as inside:
        handler = make(allow=["other.lan"], resolve=resolving())
        with pytest.raises(DownloadFailed, match="Refused: inside.example resolves to 127.0.0.1"):
            handler(FakeJob("http://other.lan/", proxy=f"http://inside.example:{inside.port}"))
        assert inside.connections == 0


@pytest.mark.parametrize(
    ("answer", "words", "final"),
    [
        (b"HTTP/1.1 407 x\r\n\r\n", "requires a valid user", True),
        (b"HTTP/1.1 403 x\r\n\r\n", "refused the connection .403", True),
        (b"HTTP/1.1 502 x\r\n\r\n", "refused the connection .502", False),
        (b"nonsense\r\n\r\n", "no HTTP response", False),
        (b"", "closed the connection", False),
    ],
)
def test_a_proxy_that_refuses_is_named(make: Make, answer: bytes, words: str, final: bool) -> None:
    def handshake(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)

    with (
        relay(handshake) as port,
        pytest.raises(DownloadError, match=f"^The proxy 127.0.0.1:{port} .*{words}") as caught,
    ):
        make(allow=["x.example"], resolve=resolving(), proxy=f"http://127.0.0.1:{port}")(FakeJob("https://x.example/"))
    assert isinstance(caught.value, DownloadFailed) is final


def _unknown_but_literals(host: str, port: int, *_: object) -> Any:
    if host[0].isdigit():
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def test_a_proxy_that_wants_a_user_for_plain_http_is_named(make: Make) -> None:
    with HostileServer(lambda request, wire: wire.head("407 x", {"Content-Length": 0})) as proxy:
        with pytest.raises(DownloadFailed, match=f"^The proxy 127.0.0.1:{proxy.port} requires a valid user and"):
            make(allow=["*"], resolve=resolving(), proxy=f"http://127.0.0.1:{proxy.port}")(FakeJob("http://x.example/"))


GREETED = b"\x05\x00"


@pytest.mark.parametrize(
    ("answers", "words", "final"),
    [
        ([b"\x05\xff"], "requires a valid user and password", True),
        ([b"\x05\x02"], "requires a valid user and password", True),
        ([b"\x04\x00"], "does not speak SOCKS5", True),
        ([b"HTTP/1.1 400 x\r\n\r\n"], "does not speak SOCKS5", True),
        ([b""], "closed the connection", False),
        ([b"\x05"], "closed the connection", False),
        ([GREETED, b"\x05\x05\x00\x01"], "could not connect: connection refused", False),
        ([GREETED, b"\x05\x02\x00\x01"], "could not connect: not allowed by its rules", False),
        ([GREETED, b"\x05\x63\x00\x01"], "could not connect: error 99", False),
        ([GREETED, b"\x05\x00\x00\x07"], "does not speak SOCKS5", True),
        ([GREETED, b"\x05\x00\x00\x01\x00"], "closed the connection", False),
    ],
)
def test_a_socks_proxy_that_refuses_is_named(make: Make, answers: list[bytes], words: str, final: bool) -> None:
    def handshake(client: socket.socket) -> None:
        for answer in answers:
            client.recv(65536)
            client.sendall(answer)

    with relay(handshake) as port, pytest.raises(DownloadError) as caught:
        make(allow=["x.example"], resolve=resolving(), proxy=f"socks5h://127.0.0.1:{port}")(FakeJob("http://x.example/"))
    assert str(caught.value) == f"The proxy 127.0.0.1:{port} {words}"
    assert isinstance(caught.value, DownloadFailed) is final


def test_a_socks_proxy_rejects_a_user(make: Make) -> None:
    def handshake(client: socket.socket) -> None:
        for answer in (b"\x05\x02", b"\x01\x01"):
            client.recv(65536)
            client.sendall(answer)

    with relay(handshake) as port, pytest.raises(DownloadFailed, match="rejected the user or the password$"):
        handler = make(allow=["*"], resolve=resolving(), proxy=f"socks5://u:swordfish@127.0.0.1:{port}")
        handler(FakeJob("http://x.example/"))


@pytest.mark.parametrize(("scheme", "url"), [("http", "https://x.example/"), ("socks5", "http://x.example/")])
def test_a_proxy_that_trickles_has_a_deadline(make: Make, scheme: str, url: str) -> None:
    def handshake(client: socket.socket) -> None:
        client.recv(65536)
        for byte in b"\x05\x00\x05\x00\x00\x03" + b"\xff" * 100 if scheme == "socks5" else b"HTTP/1.1 200" + b" " * 100:
            client.sendall(bytes([byte]))
            time.sleep(0.1)

    quick = replace(QUICK, connect_s=1)
    with relay(handshake) as port, pytest.raises(DownloadError, match="^The proxy .* did not respond in time$"):
        proxy = f"{scheme}://127.0.0.1:{port}"
        make(allow=["x.example"], resolve=resolving(), proxy=proxy, timeouts=quick)(FakeJob(url))


@pytest.mark.parametrize(
    "proxy", ["socks5://u@p", "socks5h://:pw@p", f"socks5://u:{'x' * 128}@p", f"socks5://{'é' * 64}:p@p"]
)
def test_what_pysocks_cannot_send_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError, match="needs both a user and a password, of at most 127 bytes each$"):
        parse_proxy(proxy)


def test_pysocks_garbles_long_names_so_they_are_refused(make: Make) -> None:
    host = ".".join(["x" * 60] * 3)
    with relay(lambda client: None) as port:
        with pytest.raises(DownloadFailed, match="too long for a socks5h proxy .*Use socks5://"):
            make(allow=["*"], resolve=resolving(), proxy=f"socks5h://127.0.0.1:{port}")(FakeJob(f"http://{host}/"))
    written = io.BytesIO()
    with socks.socksocket() as sock:
        sock.set_proxy(socks.SOCKS5, "127.0.0.1", 1, True)
        sock._write_SOCKS5_address((host, 80), written)
    # If this fails, PySocks is mended, and MAX_TEXT_BYTES can be 255.
    assert written.getvalue()[1] != len(host)
