"""Cookies on a chain of redirects: who gets them back, by the rules of RFC 6265."""

from __future__ import annotations

import warnings

import pytest

from kue.downloads.addresses.urls import split_url
from kue.downloads.http.cookies import MAX_COOKIES, Cookies

HERE = "http://a.example.com/x/y"


@pytest.mark.parametrize(
    ("set_at", "value", "asked", "sent"),
    [
        (HERE, "c=1", "http://a.example.com/x/z", True),
        (HERE, "c=1", "http://a.example.com:8080/x/", True),
        (HERE, "c=1", "https://a.example.com/x/z", True),
        (HERE, "c=1", "http://a.example.com/other", False),
        (HERE, "c=1", "http://b.example.com/x/z", False),
        (HERE, "c=1", "http://example.com/x/z", False),
        (HERE, "c=1; Path=/", "http://b.a.example.com/", False),
        (HERE, "c=1; Path=/; Domain=example.com", "http://b.example.com/", True),
        (HERE, "c=1; Path=/; Domain=example.com", "http://example.com/", True),
        (HERE, "c=1; Path=/; Domain=.example.com", "http://example.com/", True),
        (HERE, "c=1; Path=/; Domain=EXAMPLE.com", "http://b.example.com/", True),
        (HERE, "c=1; Path=/; Domain=example.com", "http://notexample.com/", False),
        (HERE, "c=1; Path=/; Domain=com", "http://evil.com/", False),
        (HERE, "c=1; Path=/; Domain=b.example.com", "http://b.example.com/", False),
        (HERE, "c=1; Path=/; Domain=other.net", "http://other.net/", False),
        (HERE, "c=1; Path=/x", "http://a.example.com/x", True),
        (HERE, "c=1; Path=/x", "http://a.example.com/xy", False),
        (HERE, "c=1; Path=/; Max-Age=0", "http://a.example.com/", False),
        (HERE, "c=1; Path=/; Max-Age=-5", "http://a.example.com/", False),
        (HERE, "c=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.example.com/", False),
        (HERE, "c=1; Path=/; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.example.com/", True),
        ("https://a.example.com/", "c=1; Secure", "http://a.example.com/", False),
        ("https://a.example.com/", "c=1; Secure", "https://a.example.com/", True),
        ("http://localhost/", "c=1", "http://localhost:3000/", True),
        ("http://127.0.0.1/", "c=1; Domain=127.0.0.1", "http://127.0.0.1/", True),
        ("http://127.0.0.1/", "c=1; Path=/", "http://127.0.0.2/", False),
        ("http://[::1]/", "c=1", "http://[::1]:8080/", True),
        # Attributes that are malformed or unknown are ignored, the cookie is not.
        *(
            (HERE, f"c=1; {attribute}", "http://a.example.com/x/z", True)
            for attribute in (
                "Max-Age=abc", "Max-Age=", "Max-Age", 'Max-Age="60"', "Max-Age=60.5", "Max-Age=99999999999999999999",
                "Domain=", "Domain", "Path=", "Path", "Path=x", "Expires=", "Expires=soon", "Version=abc", "Version=2",
                'Port="8080"', "HttpOnly=1", "Secured", "SameSite", "foo; =; ;;", "Comment", "Partitioned",
            )
        ),
    ],
)  # fmt: skip
def test_a_cookie_goes_back_where_it_belongs(set_at: str, value: str, asked: str, sent: bool) -> None:
    cookies = Cookies()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cookies.keep(split_url(set_at, ["*"]), [value])
    assert cookies.header(split_url(asked, ["*"]), False) == ("c=1" if sent else None)


def test_there_is_a_limit_of_cookies_and_the_newest_are_kept() -> None:
    cookies, here = Cookies(), split_url(HERE)
    for hop in range(3):
        cookies.keep(here, [f"c{hop}_{number}=1" for number in range(10_000)])
    cookies.keep(here, ["last=1", f"long={'x' * 10_000}"])
    sent = (cookies.header(here, False) or "").split("; ")
    assert len(sent) == MAX_COOKIES and "last=1" in sent and "c2_9999=1" in sent and "c0_0=1" not in sent


def test_a_job_s_own_cookies_give_way_to_those_of_the_server() -> None:
    cookies = Cookies("a=1; b=2")
    here = split_url(HERE)
    cookies.keep(here, ["b=3", "c=4; Path=/"])
    assert cookies.header(here, True) == "a=1; b=3; c=4"
    assert cookies.header(split_url("http://a.example.com/"), True) == "a=1; b=2; c=4"
    assert cookies.header(here, False) == "b=3; c=4"
