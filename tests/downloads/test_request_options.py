"""Headers, cookies, referer, user agent and proxy of a job: sent only where they belong, and never shown."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, DownloadRequest, InvalidRequest
from kue.downloads.addresses.address_guard import Guard
from kue.downloads.http.connection import Network
from kue.downloads.http.fetch import Source
from kue.text.redaction import restore, safe
from tests.downloads.conftest import QUICK, assert_file
from tests.downloads.hostile import FakeJob, HostileServer, Request, Wire, content, good, send_good
from tests.downloads.proxies import resolving

DATA = content(50_000)
Make = Callable[..., DownloadHandler]
OPTIONS: dict[str, Any] = {
    "headers": {"Authorization": "Bearer swordfish", "X-Key": "swordfish", "Accept-Language": "vi"},
    "cookies": {"session": "swordfish", "b": "2"},
    "referer": "http://example.com/page",
    "user_agent": "Mozilla/5.0 (kue)",
}


def test_they_reach_the_server_of_the_url(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA)) as server:
        job = FakeJob(server.url(), **OPTIONS)
        assert_file(folder, make(server)(job), DATA)
    sent = server.requests[0].headers
    assert sent["authorization"] == "Bearer swordfish" and sent["x-key"] == "swordfish"
    assert sent["cookie"] == "session=swordfish; b=2" and sent["referer"] == "http://example.com/page"
    assert sent["user-agent"] == "Mozilla/5.0 (kue)" and sent["accept-language"] == "vi"
    seen = repr(job.lines) + "".join(path.read_text() for path in folder.glob(".*.json"))
    assert "swordfish" not in seen


def test_another_server_gets_only_what_holds_no_secret(make: Make) -> None:
    def first(request: Request, wire: Wire) -> None:
        wire.head("302 x", {"Location": other.url(), "Content-Length": 0})

    with HostileServer(good(DATA)) as other, HostileServer(first) as server:
        make(allow=["127.0.0.1"])(FakeJob(server.url(), **OPTIONS))
    sent = other.requests[0].headers
    assert not {"authorization", "x-key", "cookie"} & set(sent)
    assert sent["user-agent"] == "Mozilla/5.0 (kue)" and sent["accept-language"] == "vi"


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"X-A": "1", "X-B": 2}, {"X-A": "1", "X-B": "2"}),
        (["X-A: 1", "X-B:2"], {"X-A": "1", "X-B": "2"}),
        ("X-A: 1\nX-B: a:b\n", {"X-A": "1", "X-B": "a:b"}),
        ("", {}),
        (None, {}),
        ({}, {}),
    ],
)
def test_headers_are_read_in_every_form(given: object, headers: dict[str, str]) -> None:
    request = DownloadRequest.parse({"url": "http://x.example/", "headers": given})
    assert request.headers == headers
    assert DownloadRequest.parse(request.to_data()).headers == headers


@pytest.mark.parametrize(
    ("given", "cookies"),
    [
        ("a=b; c=d", "a=b; c=d"),
        ("Cookie: a=b", "a=b"),
        ({"a": "b=c"}, "a=b=c"),
        (["a=b", "c=d"], "a=b; c=d"),
        ("", None),
    ],
)
def test_cookies_are_read_in_every_form(given: object, cookies: str | None) -> None:
    assert DownloadRequest.parse({"url": "http://x.example/", "cookies": given}).cookies == cookies


WRONG: list[dict[str, Any]] = [
    {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X Y": "a"}}, {"headers": {"X": None}}, {"headers": {"": "a"}},
    {"headers": {"Host": "x"}}, {"headers": {"range": "bytes=0-1"}}, {"headers": {"Content-Length": "5"}},
    {"headers": {"Transfer-Encoding": "chunked"}}, {"headers": {"Cookie": "a=b"}}, {"headers": 5}, {"headers": ["X"]},
    {"headers": {"X": "y" * 9000}}, {"headers": {f"X{n}": "y" * 1000 for n in range(20)}}, {"cookies": "nonsense"},
    {"cookies": {"a": "b;c"}}, {"cookies": {"a": "b\nc"}}, {"cookies": 5}, {"referer": "a\nb"}, {"user_agent": "\0x"},
    {"user_agent": 5 + 1j}, {"proxy": "ftp://x"}, {"proxy": 5}, {"proxy": "http://"}, {"proxy": "http://x:99999"},
    {"proxy": "http://127.0.0.1:1"}, {"proxy": "socks5h://10.0.0.1"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_cannot_be_sent_is_refused(make: Make, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DownloadRequest.parse({"url": "http://x.example/", **wrong})
    assert caught.value.code in ("bad_option", "forbidden_address")
    with pytest.raises(DownloadFailed) as failed:
        make()(FakeJob("http://x.example/", **wrong))
    assert str(failed.value) == str(caught.value)


def test_no_secret_of_a_request_is_shown_and_what_is_shown_can_be_restored() -> None:
    data = {"url": "http://x.example/", "title": "t", "proxy": "http://u:swordfish@p:1", **OPTIONS}
    shown = safe({"id": 1, "data": data})
    assert "swordfish" not in repr(shown)
    assert shown["data"]["headers"] == {"Authorization": "***", "X-Key": "***", "Accept-Language": "vi"}
    assert shown["data"]["user_agent"] == OPTIONS["user_agent"]
    assert restore(shown, {"id": 1, "data": data}) == {"id": 1, "data": data}
    for form in (["X-Key: swordfish"], "X-Key: swordfish"):
        assert "swordfish" not in repr(safe({"url": "http://x", "headers": form, "cookies": "a=swordfish"}))
    assert safe({"headers": {"Subject": "hello"}}) == {"headers": {"Subject": "hello"}}  # no download


# -- redirects


def test_credentials_follow_from_http_to_https_of_the_same_host(
    make: Make, folder: Path, tmp_path: Path, site_tls: tuple[Any, str]
) -> None:
    context, ca = site_tls

    def plain(request: Request, wire: Wire) -> None:
        wire.head("301 x", {"Location": "https://site.test/f", "Content-Length": 0})

    def secure(request: Request, wire: Wire) -> None:
        if "authorization" in request.headers:
            send_good(request, wire, DATA)
        else:
            wire.head("401 x", {"Content-Length": 0})

    with HostileServer(plain) as one, HostileServer(secure, tls=context) as two:
        handler = make(allow=["site.test"], resolve=resolving(plain=one.port, tls=two.port), verify=ca)
        assert_file(folder, handler(FakeJob("http://user:pw@site.test/f")), DATA)
        with pytest.raises(DownloadError, match="answered 401"):  # but not to a port that is not https's own
            handler(FakeJob(f"http://user:pw@site.test:{one.port}/f", 2))


def test_credentials_of_a_location_are_used_there_and_not_shown(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.path == "/start":
            wire.head("302 x", {"Location": wire.server.url("/x").replace("//", "//u:swordfish@"), "Content-Length": 0})
        elif request.headers.get("authorization") == "Basic dTpzd29yZGZpc2g=":
            send_good(request, wire, DATA)
        else:
            wire.head("401 x")

    with HostileServer(script) as server:
        job = FakeJob(server.url("/start"))
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert "swordfish" not in repr((result, job.lines))


LOCATIONS = {
    "repeated": ["/z", "/z"],
    "not ASCII, raw": ["/\xc3\xbc"],
    "latin-1": ["/\xfc"],
    "with blanks around": ["  /z  "],
    "with a blank": ["/a b"],
    "with a tab": ["/a\tb"],
    "with a fragment": ["/z#part"],
    "relative up": ["../../z"],
    "a trailing dot": ["http://127.0.0.1.:{port}/z"],
    "upper case": ["HTTP://127.0.0.1:{port}/z"],
}


@pytest.mark.parametrize("name", LOCATIONS)
@pytest.mark.parametrize("status", [300, 302])
def test_every_form_of_location_is_followed(make: Make, folder: Path, name: str, status: int) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number:
            return send_good(request, wire, DATA)
        lines = [f"Location: {text.replace('{port}', str(wire.server.port))}" for text in LOCATIONS[name]]
        wire.send("\r\n".join([f"HTTP/1.1 {status} x", *lines, "Content-Length: 0", "", ""]).encode("latin-1"))

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url("/a/b/c"))), DATA)


def test_the_same_url_may_come_again_once_a_cookie_was_set(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        number = len(request.headers.get("cookie", "").split("; ")) if "cookie" in request.headers else 0
        if number < 10:
            wire.head("302 x", {"Location": "/f", "Set-Cookie": f"c{number}=1; Path=/", "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url("/f"))), DATA)
    assert len(server.requests) == 11


def test_a_source_needs_no_handler() -> None:
    with HostileServer(good(DATA)) as server:
        source = Source(DownloadRequest.parse({"url": server.url()}, None, ["*"]), Network(Guard(["*"]), QUICK), print)
        response = source.open()
        assert response.length == len(DATA)
        response.close()


@pytest.fixture
def site_tls(tmp_path: Path) -> tuple[Any, str]:
    """Return a TLS context for site.test, and the file that verifies it."""
    return _site(tmp_path)


def _site(place: Path) -> tuple[Any, str]:
    import subprocess

    cert, key = place / "site.pem", place / "site.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)
