"""Pasted URLs, and what is sent on the wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kue.downloads import DownloadHandler, DownloadRequest, InvalidUrl
from kue.downloads.addresses.pasted import clean_url
from kue.downloads.addresses.urls import split_url
from kue.web.live.start_event import Refused, parse
from tests.downloads.hostile import FakeJob, HostileServer, good

Make = Callable[..., DownloadHandler]
URL = "http://example.com/x.zip"


@pytest.mark.parametrize(
    "pasted",
    [URL, f" {URL} ", f"{URL}\n", f"\t{URL}", f"\r\n{URL}\r\n", f"<{URL}>", f'"{URL}"', f"'{URL}'", f"“{URL}”"]
    + [f"«{URL}»", f"({URL})", f"[{URL}]", f"`{URL}`"]
    + [f"{URL}\u00a0", f"{URL}\u200b", f"\ufeff{URL}", f"\u2060{URL}\u200e"]
    + [f"<{URL}", f"{URL}\u3000", f"\u202a{URL}\u202c", f'<"{URL}">']
    + [f"URL:{URL}", f"<URL: {URL}>", f"{URL}\0", f"{URL}\u2028", f"‹{URL}›", f"「{URL}」", f"《{URL}》"]
    + [f"[a file]({URL})", f"![]({URL})", f'[a]({URL} "title")', f"[1]: {URL}", f"- {URL}", f"• {URL}", f"12. {URL}"]
    + [f"({URL}).", f"<{URL}>.", f'"{URL}",', f"`{URL}`.", f"'{URL}',", f"“{URL}”.", f"[a]({URL}).", f"（{URL}）。"]
    + [f"＜{URL}＞", f"【{URL}】", f"»{URL}«", f"> {URL}", f"> * {URL}", f"**{URL}**", f"_{URL}_", f"<{URL}|a file>"]
    + [f"\x1b[36m{URL}\x1b[0m", URL.replace("/", "\\/")]
    + ["http://example.com/\tx.zip", "http://exam\nple.com/x\r\n.zip", "ht\ntp://example.com/x.zip"],
)
def test_what_surrounds_a_pasted_url_is_removed(pasted: str) -> None:
    assert DownloadRequest.parse({"url": pasted}).url == URL
    assert parse(({"type": "download", "url": pasted},)).data["url"] == URL


def test_brackets_that_belong_to_a_url_stay() -> None:
    for url in ("http://x.example/a<b>", 'http://x.example/"a"', "http://x.example/a_(b)", "http://x.example/a'", "http://x.example/?q=[1]"):
        assert clean_url(url) == url
    for url in ("http://x.example/a)", "http://x.example/a;", "http://x.example/a!", "http://x.example/a**"):
        assert clean_url(url) == url


TARGETS = [
    ("/%7Eu/a%2db?sig=%2d%7e", "/%7Eu/a%2db?sig=%2d%7e"),
    ("/a%2fb", "/a%2fb"),
    ("/a b.zip", "/a%20b.zip"),
    ("/a%20b?x=a b", "/a%20b?x=a%20b"),
    ("/ü/é?q=ñ", "/%C3%BC/%C3%A9?q=%C3%B1"),
    ("/100%.txt", "/100%25.txt"),
    ("/%zz?a=%", "/%25zz?a=%25"),
    ("/a|b[c]~!$&'()*+,;=:@", "/a|b[c]~!$&'()*+,;=:@"),
    ('/"<>`{}', "/%22%3C%3E%60%7B%7D"),
    ("/?a={b}|`'", "/?a={b}|`'"),
    ("/a/%2e%2e/b/./c", "/b/c"),
    ("/a/../../../b", "/b"),
    ("/a/b/..", "/a/"),
    ("/a/.", "/a/"),
    ("/a/%2E", "/a/"),
    ("/a//b///c", "/a//b///c"),
    ("/a/...", "/a/..."),
    ("/?x=/a/../b", "/?x=/a/../b"),
    ("/a\\b", "/a/b"),
    ("?x", "/?x"),
    ("", "/"),
    ("/a#b?c", "/a"),
    ("/a?b#c", "/a?b"),
    ("/a?", "/a?"),
    ("/a\x01b\x7fc\u2028d", "/a%01b%7Fc%E2%80%A8d"),
]


@pytest.mark.parametrize(("written", "sent"), TARGETS)
def test_a_target_goes_out_as_given_but_for_what_is_invalid(make: Make, written: str, sent: str) -> None:
    with HostileServer(good(b"x")) as server:
        make(server)(FakeJob(server.url(written)))
        assert server.requests[0].path == sent


@pytest.mark.parametrize(("written", "sent"), [pair for pair in TARGETS if pair[0][:1] == "/"])
def test_so_does_that_of_a_redirect(make: Make, written: str, sent: str) -> None:
    def script(request: object, wire: object) -> None:
        if getattr(request, "number") == 0:  # noqa: B009
            location = written.encode().decode("latin-1")
            wire.head("302 x", {"Location": location, "Content-Length": 0})  # type: ignore[attr-defined]
        else:
            good(b"x")(request, wire)  # type: ignore[arg-type]

    with HostileServer(script) as server:
        make(server)(FakeJob(server.url("/start")))
        assert server.requests[1].path == sent


@pytest.mark.parametrize(
    ("pasted", "proposal"),
    [
        ("h/x.zip", "https://h/x.zip"),
        ("example.com/x.zip", "https://example.com/x.zip"),
        ("www.example.com", "https://www.example.com"),
        ("example.com:8080/x", "https://example.com:8080/x"),
        ("//example.com/x", "https://example.com/x"),
        ("http//example.com/x", "http://example.com/x"),
        ("https;//example.com/x", "https://example.com/x"),
        ("hxxps://example.com/x", "https://example.com/x"),
        ("http://https://example.com/x", "https://example.com/x"),
        ("https:https://example.com/x", "https://example.com/x"),
        ("ttps://example.com/x", "https://example.com/x"),
        ("http:://example.com/x", "http://example.com/x"),
        ("http ://example.com/x", "http://example.com/x"),
        ("https: //example.com/x", "https://example.com/x"),
        ("http%3A%2F%2Fexample.com%2Fx", "http://example.com/x"),
        ("wget http://example.com/x", "http://example.com/x"),
        ('<a href="http://example.com/x">', "http://example.com/x"),
        ("view-source:http://example.com/x", "http://example.com/x"),
    ],
)
def test_a_missing_scheme_is_refused_with_a_proposal(pasted: str, proposal: str) -> None:
    with pytest.raises(InvalidUrl, match="Did you mean") as caught:
        DownloadRequest.parse({"url": pasted})
    assert caught.value.suggestion == proposal and proposal in str(caught.value)
    with pytest.raises(Refused) as refused:
        parse(({"type": "download", "url": pasted},))
    assert refused.value.answer == {"error": str(caught.value), "code": "bad_url", "suggestion": proposal}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://☃.net/x", "xn--n3h.net"),
        ("http://münchen_x.example/x", "xn--mnchen_x-65a.example"),
        ("http://faß.de/", "xn--fa-hia.de"),
        ("http://a_b.example/", "a_b.example"),
        ("http://EXAMPLE.com./x", "example.com."),
        ("http://ex%61mple.com/", "example.com"),
        ("http://例え。テスト/", "xn--r8jz45g.xn--zckzah"),
        ("http://👍.example/", "xn--yp8h.example"),
        ("http://example.com:/x", "example.com"),
        ("http:/example.com/x", "example.com"),
        ("http:example.com/x", "example.com"),
        ("http:///example.com/x", "example.com"),
        ("http:\\\\example.com\\x", "example.com"),
        ("http://example.com\\@evil.example/", "example.com"),
    ],
)
def test_host_names_are_encoded_as_browsers_do(url: str, host: str) -> None:
    assert split_url(url).host == host


@pytest.mark.parametrize(
    "host",
    ["a..b", "x" * 64 + ".example", "a%2fb", "a b", "[1.2.3.4]", "a*b", "ex^ample.com"]
    + ["256.1.1.1", "1.2.3.4.5", "4294967296", "08.1.1.1", "a.1", "foo.0x1", "0x", "1.2.3.4.."],
)
def test_a_host_that_cannot_exist_is_refused_at_once(host: str) -> None:
    with pytest.raises(InvalidUrl):
        split_url(f"http://{host}/")
