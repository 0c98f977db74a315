"""Which URLs are accepted, and how they are displayed."""

from __future__ import annotations

import pytest

from kue.downloads import InvalidUrl, check_url, redact_url
from kue.downloads.addresses.urls import split_url


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "https://example.com/a b.bin", "http://u p:w@example.com/", "HTTP://EXAMPLE.com:8080/x?y#z", "https://bücher.example/ü"]
    + ["http://user:pw@example.com/", "http://8.8.8.8/", "http://[2606:4700::1111]/", "  http://example.com/ "]
    + ["http://example.com/" + "x" * 8000, "http://xn--bcher-kva.example/", "https://example.com?x=http://10.0.0.1/"],
)
def test_a_usual_url_is_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [None, 5, "", "   ", "example.com/x", "ftp://example.com/x", "file:///etc/passwd", "javascript:alert(1)"]
    + ["javascript:1", "tel:123", "data:1,x", "http://a.example/ http://b.example/", "x http://a.example http://b.example"]
    + ["gopher://x", "http://", "http:///", "http:\\\\", "http://?x", "https://#", "data:,x", "//example.com"]
    + ["http://exa\0mple.com/", "http://example.com\x7f/", "http://example.com/\ud800", "http://[::1/", "http://*.x/"]
    + ["http://example.com:0/", "http://example.com:99999/", "http://example.com:abc/", "http://exam ple.com/"]
    + ["http://.x/", "http://example.com/a\nhttp://example.com/b", "http://http://example.com/", "hxxp://example.com/x"]
    + ["http//example.com/x", "http://example.com/" + "x" * 8192, "http://example.com/" + "ü" * 4096, "x" * 1_000_000],
)
def test_a_url_that_cannot_work_is_refused(url: object) -> None:
    with pytest.raises(InvalidUrl) as caught:
        check_url(url)
    assert caught.value.code == "bad_url"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.1", "[::1]", "[::ffff:127.0.0.1]", "[::7f00:1]", "169.254.169.254"]
    + [
        "10.0.0.1",
        "0",
        "0.0.0.0",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25eth0]",
        "127.0.0.1.",
    ],
)
def test_an_address_that_is_not_public_is_refused_at_once(host: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        check_url(f"http://{host}/x")
    for url in (f"http:/{host}/x", f"http:\\\\{host}\\x", f"http:{host}/x", f"[x](http://u@{host}?x)", f"http://{host[:2]}\n{host[2:]}/"):
        with pytest.raises(InvalidUrl, match="Refused"):
            check_url(url)
    assert caught.value.code == "forbidden_address"


def test_what_the_operator_opened_is_taken() -> None:
    check_url("http://127.0.0.1:3000/sample", ["127.0.0.1:3000"])
    with pytest.raises(InvalidUrl):
        check_url("http://127.0.0.1:3001/sample", ["127.0.0.1:3000"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pw@example.com/a", "http://example.com/a"),
        ("http://token@example.com/a?b=c#d", "http://example.com/a?b=c"),
        ("https://example.com/?token=abc&x=1", "https://example.com/?token=***&x=1"),
        (
            "https://s3/?X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Date=3",
            "https://s3/?X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Date=3",
        ),
        (
            "https://x/?apikey=1&api_key=2&sig=3&password=4&monkey=5",
            "https://x/?apikey=***&api_key=***&sig=***&password=***&monkey=5",
        ),
        ("https://x/a%20b?q=a%20b", "https://x/a%20b?q=a%20b"),
    ],
)
def test_what_is_shown_of_a_url_lets_nobody_in(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_a_url_that_cannot_be_parsed_is_shown_without_credentials_too() -> None:
    assert "pw" not in redact_url("http://user:pw@[bad/x")


def test_the_parts_of_a_url_with_credentials() -> None:
    parts = split_url("https://us%40er:p%3Aw@Example.com/x")
    assert parts.credentials == ("us@er", "p:w")
    assert str(parts) == "https://example.com/x"
    assert parts.origin == ("https", "example.com", 443)
