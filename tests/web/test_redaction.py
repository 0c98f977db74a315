"""Passwords in a job's URL are never shown: on a page, in the API, in an event, or by a search."""

from __future__ import annotations

from typing import Any

import pytest

from kue.text.redaction import restore, safe, safe_text
from kue.web.live.relay import plain_event
from tests.support import wait_until

URL = "https://anna:hunter2@files.example/a.zip?X-Amz-Signature=hunter2&part=1"
SHOWN = "https://files.example/a.zip?X-Amz-Signature=***&part=1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, SHOWN),
        (f"Error: cannot read {URL}, giving up", f"Error: cannot read {SHOWN}, giving up"),
        (f'{{"url":"{URL}"}}', f'{{"url":"{SHOWN}"}}'),
        ("redis://:hunter2@host:1/0", "redis://host:1/0"),
        ("http://user@host/p#part", "http://host/p"),
        ("x://" + "a" * 50 + "@h", "x://h"),
        ("http://Example.com/x?a=b#part", "http://Example.com/x?a=b#part"),
        ("mail anna@example.com at http://x/", "mail anna@example.com at http://x/"),
        ("no url", "no url"),
        ("", ""),
    ],
)
def test_what_is_secret_in_a_url_is_left_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert safe_text(text) == shown
    assert safe_text(shown) == shown


def test_every_text_in_a_value_is_made_safe() -> None:
    assert safe({"a": [URL, 1, None], URL: {"b": "x"}}) == {"a": [SHOWN, 1, None], SHOWN: {"b": "x"}}
    value = {"a": [1, "x", {"y": None}]}
    assert safe(value) is value


def test_what_was_not_shown_comes_back_when_it_is_edited() -> None:
    kept = {"url": URL, "list": [URL, "x"], "n": 1}
    shown = {**safe(kept), "n": 2, "new": SHOWN}
    assert restore(shown, kept) == {"url": URL, "list": [URL, "x"], "n": 2, "new": SHOWN}
    assert restore({"url": "https://other.example/"}, kept) == {"url": "https://other.example/"}
    assert restore([SHOWN, SHOWN], [URL]) == [URL, SHOWN] and restore("x", 5) == "x"


def test_no_answer_of_the_server_holds_a_password(site: Any, queue: Any) -> None:
    def work(job: Any) -> Any:
        job.log("fetching %s", URL)
        job.progress(1, 2, {"from": URL})
        if job.data["fail"]:
            raise RuntimeError(f"cannot read {URL}")
        return {"from": URL}

    queue.process("a", 1, work)
    for fail in (False, True):
        queue.create("a", {"title": f"read {URL}", "url": URL, "fail": fail}).save()
    queue.create("b", {"url": URL}).delay(60_000).save()
    wait_until(lambda: queue.counts()["complete"] == queue.counts()["failed"] == 1)
    http = site.http()
    for path in (
        "/", "/job/1", "/job/2", "/job/3", "/job/1/log", "/jobs/0..9", "/jobs/a/failed/0..9", "/complete", "/failed",
        "/delayed", "/monitor/home", "/monitor/list/failed", "/monitor/job/1", "/search?q=a", "/monitor/search?q=a",
        "/system", "/metrics",
    ):  # fmt: skip
        for accept in ("text/html", "application/json"):
            text = http.get(path, headers={"Accept": accept}).text
            assert "hunter2" not in text and "anna:" not in text, path
    assert SHOWN in http.get("/job/1").json["data"]["url"]
    assert queue.get(1).data["url"] == URL
    page = site.socketio.test_client(site.app, headers={"Host": site.url.removeprefix("http://")})
    assert "hunter2" not in str(page.emit("watch", {}, callback=True))
    told = plain_event(type("Event", (), {"id": 1, "event": "failed attempt", "args": [f"no {URL}", 1]})())
    assert told == ("failed attempt", {"id": 1, "error": f"no {SHOWN}", "attempts": 1})


def test_a_search_does_not_find_by_what_is_not_shown(site: Any, queue: Any) -> None:
    queue.create("b", {"url": URL}).save()
    find = site.http().get
    assert [row["id"] for row in find("/monitor/search?q=files.example").json["rows"]] == [1]
    assert find("/monitor/search?q=hunter2").json["rows"] == []


def test_a_job_with_a_password_in_its_url_runs_as_new_with_it(site: Any, queue: Any) -> None:
    queue.create("b", {"url": URL, "n": 1}).save()
    shown = site.http().get("/job/1").json["data"]
    answer = site.http().post("/monitor/job/1/copy", json={"data": {**shown, "n": 2}})
    assert queue.get(answer.json["id"]).data == {"url": URL, "n": 2}
