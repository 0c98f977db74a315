"""What is hidden in URLs, what is not, and that redaction takes linear time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kue.text.redaction import restore, safe, safe_text

SECRET = "hunt" + "er2"
#: `~` stands for the secret.
FORMS = r"""
http:/user:~@example.com/x
https:user:~@example.com/x
http:\\user:~@example.com\x
http:///user:~@example.com/x
see http:/user:~@example.com/x, or https:user:~@example.com
http://user:~@host/
http://~@host/
HTTP://U:~@H/
ftp://u:~@h/
redis://:~@h:1/0
//user:~@host
http://u:p@~@h/
http://u:~@[::1]:80/
http://u%3A~@h/
http://user:x'~@host/
http://user:x"~@host/
http://user:x`~@host/
http://user:x{~}@host/
http://user:x|~@host/
http://user:x^~@host/
http://user:x<~>@host/
http://user:x\~@host/
http://user:x ~@host/
http://user:x/~@host/
http://user:x?~@host/
http://user:x#~@host/
http://h/?token=~
http://h/?TOKEN=~
http://h/?a=1&sig=~
http://h/?a='&token=~
http://h/?a="x"&token=~
http://h/?a=1|2&sig=~
http://h/?a={}&token=~
http://h/?a=^&token=~
http://h/?a=<b>&token=~
http://h/?a=\&token=~
http://h/?a=`&token=~
http://h/?a=b c&token=~
http://h/?token=x'~
http://h/?token=x ~
http://h/?token={~}
http://h/?accessToken=~
http://h/?publicKey=~
http://h/?user[password]=~
http://h/?%74oken=~
http://h/?api_key=~&x=1#part
http://h/p?X-Amz-Signature=~&part=1
http://h/p?X-Amz-Credential=~&part=1
http://h/p?X-Amz-Security-Token=~
http://h/p?X-Goog-Signature=~
http://h/?sv=2020&sig=~&se=x
http://h/?Policy=~&Key-Pair-Id=~&Signature=~
http://h/?jwt=~
http://h/?auth=~
http://h/?code=~
http://h/?session_id=~
http://[::1]:80/?key=~
http://h/#access_token=~
http://h/#a=1&id_token=~
http://h/x;token=~
http://h/x;jsessionid=~
http://h/?next=https%3A%2F%2Fu%3A~%40h%2F
http://h/?next=https%3A%2F%2Fh%2F%3Ftoken%3D~
http://h/?n=https%253A%252F%252Fh%252F%253Ftoken%253D~
http://h/?x=http://u:~@h/
http://h/?x=http://h/?token=~
http%3A%2F%2Fu%3A~%40h
see http://h/?token=~ failed
see (http://h/?token=~).
get http://u:x ~@h/ now
a http://u:~@h/ b http://v:~@i/#x c
{"url":"http://h/?token=~","x":1}
{"url": "http://u:~@h/", "mail": "a@b.example"}
x=1&token=~
""".strip().splitlines()

HARMLESS = """
mail anna@example.com at http://x/
http://Example.com/x?a=b#part
http://localhost:3000 by bob@x.example
http://x and mail bob@x.example
http://example.com/@user/x
https://h/a?monkey=1&page=2
http://host: see me@x.example
// TODO: mail me@x.example
{"a":"http://host","b":"user@x.example"}
http://h/?q=a@b&x=1
http://[::1]:8080/a@b
no url at all
50 % of = nothing
""".strip().splitlines()


@pytest.mark.parametrize("form", FORMS)
def test_no_part_of_a_secret_is_shown(form: str) -> None:
    url = form.replace("~", SECRET)
    shown = safe_text(url)
    assert SECRET not in shown, shown
    assert safe_text(shown) == shown  # hiding twice hides nothing more
    assert SECRET not in str(safe({"a": [url], url: {"b": (url,)}}))
    assert restore(safe({"a": [url, 1]}), {"a": [url, 1]}) == {"a": [url, 1]}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text
    value = {"a": [text], "b": text}
    assert safe(value) is value


@given(st.text(st.sampled_from("/:@?&#=%;a2F3 \"'{}[]\n\ud800")))
def test_any_text_is_taken(text: str) -> None:
    safe_text(text)


def test_depth_does_not_matter() -> None:
    value: Any = "http://u:p@h/"
    for _ in range(5000):
        value = [value]
    shown = safe(value)
    while isinstance(shown, list):
        shown = shown[0]
    assert shown == "http://h/"


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["://", "http:", "//u:x", "//u:x@", "&token=a ", "%3A%2F%2F", "//a b:c@d ", "?=&", '" ']
)
@pytest.mark.parametrize("end", ["", "#@", "&a=b"])
def test_a_long_text_takes_seconds_at_the_most(piece: str, end: str) -> None:
    text = piece * (300_000 // len(piece)) + end
    begun = time.process_time()
    safe_text(text)
    assert time.process_time() - begun < 3  # anything quadratic takes minutes


def test_a_proxy_without_a_scheme_is_shown_without_its_user_and_can_be_restored() -> None:
    data = {"url": "http://example.com/", "proxy": "user:swordfish@proxy:3128"}
    shown = safe(data)
    assert shown == {"url": "http://example.com/", "proxy": "proxy:3128"}
    assert restore(shown, data) == data
    assert safe({"url": "x", "proxy": "proxy:3128"})["proxy"] == "proxy:3128"
