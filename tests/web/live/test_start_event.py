"""What `start` takes and refuses: no server needed."""

from __future__ import annotations

import math

import pytest

from kue.web.live.start_event import DEFAULT_ATTEMPTS, MAX_URL, Refused, name_of, parse

URL = "http://example.com/a/file.bin"


def test_a_plain_request_becomes_a_download_named_after_its_url() -> None:
    request = parse(({"type": "download", "url": URL},))
    assert request.data == {"title": "file.bin", "url": URL}
    assert request.options["attempts"] == DEFAULT_ATTEMPTS
    assert "priority" not in request.options and "delay" not in request.options


def test_every_option_is_taken_as_number_or_as_the_text_of_a_form_field() -> None:
    asked = {
        "type": "download",
        "url": URL,
        "title": "tiêu đề",
        "priority": "high",
        "attempts": "5",
        "delay": 1500.0,
        "ttl": "60000",
        "sha256": "AB" * 32,
        "filename": "x.bin",
        "something": "of the page's own",
    }
    request = parse((asked,))
    assert request.data == {"title": "tiêu đề", "url": URL, "filename": "x.bin", "sha256": "ab" * 32}
    assert request.options["priority"] == -10
    assert (request.options["attempts"], request.options["delay"], request.options["ttl"]) == (5, 1500, 60_000)


def test_what_a_download_can_be_told_is_taken() -> None:
    asked = {"segments": "8", "md5": "AB" * 16, "sha1": "cd" * 20, "keep_partial": False, "unique": True}
    request = parse(({"type": "download", "url": URL, **asked},))
    assert request.data == {
        "title": "file.bin",
        "url": URL,
        "segments": 8,
        "md5": "ab" * 16,
        "sha1": "cd" * 20,
        "keep_partial": False,
    }
    assert request.unique and request.options["attempts"] == 5 and request.options["backoff"]["jitter"] == 0.3
    assert not parse(({"type": "download", "url": URL, "unique": "false"},)).unique


@pytest.mark.parametrize(
    "wrong",
    [{"segments": 0}, {"segments": 17}, {"segments": 1.5}, {"md5": "ab"}, {"sha1": 5}]
    + [{"keep_partial": "maybe"}, {"unique": 2}, {"unique": [True]}, {"unique": {}}],
)
def test_what_a_download_cannot_be_told_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        parse(({"type": "download", "url": URL, **wrong},))
    assert caught.value.answer["code"] == "bad_option"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/", "example.com"),
        ("https://bücher.example", "bücher.example"),
        ("https://☃.example", "☃.example"),
        ("http:\\\\example.com\\dir\\a.zip", "a.zip"),
        ("http://u／x:p@example.com/a.zip", "a.zip"),
        ("http://u[:p@example.com/a.zip", "a.zip"),
        ("https://example.com/a%20b/c%2Fd.txt?x=1#y", "c/d.txt"),
        ("https://example.com/%ff%00.bin", ".bin"),
        ("http://xn--bcher-kva.example/b%C3%BCcher.pdf", "bücher.pdf"),
    ],
)
def test_a_download_is_called_what_a_person_would_call_it(url: str, name: str) -> None:
    assert name_of(url) == name


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), "bad_request"),
        (({"type": "download", "url": URL}, 2), "bad_request"),
        ((None,), "bad_request"),
        (("download",), "bad_request"),
        (([{"type": "download"}],), "bad_request"),
        ((b"\0\1",), "bad_request"),
        (({},), "bad_type"),
        (({"url": URL},), "bad_type"),
        (({"type": "email", "url": URL},), "bad_type"),
        (({"type": ["download"], "url": URL},), "bad_type"),
        (({"type": {"a": {"b": []}}, "url": URL},), "bad_type"),
        (({"type": "download"},), "bad_url"),
        (({"type": "download", "url": ""},), "bad_url"),
        (({"type": "download", "url": None},), "bad_url"),
        (({"type": "download", "url": 7},), "bad_url"),
        (({"type": "download", "url": {"href": URL}},), "bad_url"),
        (({"type": "download", "url": "ftp://example.com/x"},), "bad_url"),
        (({"type": "download", "url": "file:///etc/passwd"},), "bad_url"),
        (({"type": "download", "url": "javascript:alert(1)"},), "bad_url"),
        (({"type": "download", "url": "//example.com/x"},), "bad_url"),
        (({"type": "download", "url": "http://"},), "bad_url"),
        (({"type": "download", "url": "http://[::1/x"},), "bad_url"),
        (({"type": "download", "url": "http://example.com:99999/"},), "bad_url"),
        (({"type": "download", "url": "http://example.com/\0x"},), "bad_url"),
        (({"type": "download", "url": "http://a b.example.com/"},), "bad_url"),
        (({"type": "download", "url": "http://127.0.0.1/x"},), "forbidden_address"),
        (({"type": "download", "url": "http://example.com/\ud800"},), "bad_url"),
        (({"type": "download", "url": "http://example.com/" + "x" * 1_000_000},), "bad_url"),
        (({"type": "download", "url": URL, "title": 3},), "bad_option"),
        (({"type": "download", "url": URL, "title": "x" * 501},), "bad_option"),
        (({"type": "download", "url": URL, "title": "a\0b"},), "bad_option"),
        (({"type": "download", "url": URL, "title": "\udfff"},), "bad_option"),
        (({"type": "download", "url": URL, "priority": "urgent"},), "bad_option"),
        (({"type": "download", "url": URL, "priority": True},), "bad_option"),
        (({"type": "download", "url": URL, "priority": math.nan},), "bad_option"),
        (({"type": "download", "url": URL, "priority": 10**400},), "bad_option"),
        (({"type": "download", "url": URL, "attempts": 0},), "bad_option"),
        (({"type": "download", "url": URL, "attempts": -1},), "bad_option"),
        (({"type": "download", "url": URL, "attempts": 1.5},), "bad_option"),
        (({"type": "download", "url": URL, "attempts": "٣"},), "bad_option"),
        (({"type": "download", "url": URL, "attempts": {}},), "bad_option"),
        (({"type": "download", "url": URL, "delay": -5},), "bad_option"),
        (({"type": "download", "url": URL, "delay": math.inf},), "bad_option"),
        (({"type": "download", "url": URL, "ttl": [1]},), "bad_option"),
        (({"type": "download", "url": URL, "sha256": "xyz"},), "bad_option"),
        (({"type": "download", "url": URL, "filename": 7},), "bad_option"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_code_and_a_short_sentence(args: tuple, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(args)
    assert refused.value.answer["code"] == code
    assert 10 < len(refused.value.answer["error"]) < 200


def test_the_longest_url_is_taken() -> None:
    url = "http://example.com/".ljust(MAX_URL, "x")
    assert parse(({"type": "download", "url": url},)).data["url"] == url
