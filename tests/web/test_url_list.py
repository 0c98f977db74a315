"""Many URLs at once: checked line by line, started together."""

from __future__ import annotations

import json
from typing import Any

import pytest

LINES = [
    "http://a.example/1.zip", "", "# comment", "example.com/x", " http://a.example/1.zip ", "http://127.0.0.1/x",
    "<http://b.example/2.zip?token=swordfish>", "nonsense here",
]  # fmt: skip


def ask(site: Any, **body: Any) -> tuple[int, Any]:
    answer = site.http().post(  # not json=, which would hide secrets
        "/monitor/downloads/list", data=json.dumps(body), content_type="application/json"
    )
    return answer.status_code, answer.get_json()


def test_a_list_is_counted_and_each_problem_is_named(site: Any) -> None:
    status, answer = ask(site, text="\n".join(LINES))
    assert status == 200 and site.queue.counts()["inactive"] == 0
    assert (answer["usable"], answer["invalid"], answer["duplicates"], answer["ids"]) == (2, 3, 1, [])
    assert [(each["line"], each["error"].split(".")[0]) for each in answer["problems"]] == [
        (4, "The URL has no scheme"), (5, "Duplicate of line 1"), (6, "Refused: 127"), (8, "This is not a URL"),
    ]  # fmt: skip


def test_the_usable_lines_are_started_together_with_the_options(site: Any) -> None:
    options = {"priority": "high", "headers": "X-Key: swordfish", "segments": "2"}
    status, answer = ask(site, text="\r\n".join(LINES), options=options, start=True)
    assert status == 200 and len(answer["ids"]) == 2
    first, second = site.queue.get_many(answer["ids"])
    assert first.data == {
        "title": "1.zip", "url": "http://a.example/1.zip", "segments": 2, "headers": {"X-Key": "swordfish"},
    }  # fmt: skip
    assert second.data["url"] == "http://b.example/2.zip?token=swordfish" and second.options.priority == -10
    assert "swordfish" not in site.http().get(f"/job/{second.id}", headers={"Accept": "application/json"}).text
    assert "swordfish" not in site.http().get(f"/job/{second.id}", headers={"Accept": "text/html"}).text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": 5},
        {"text": "http://a.example/", "options": []},
        {"text": "http://a.example/", "options": {"segments": 99}},
    ]
    + [{"text": "http://a.example/\n" * 10_001}],
)
def test_a_list_that_cannot_be_used_is_refused_and_starts_nothing(site: Any, body: dict[str, Any]) -> None:
    status, answer = ask(site, **body, start=True)
    assert status == 400 and len(answer["error"]) < 200 and site.queue.counts()["inactive"] == 0


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"url": "example.com/x"}, "Did you mean https://example.com/x?"),
        ({"url": "http://127.0.0.1:1/"}, "Refused: 127.0.0.1 is a loopback address"),
        ({"url": "http://a.example/", "segments": 99}, "segments must be"),
        ({}, "The URL is missing"),
        (None, 'A download needs an object with a "url"'),
    ],
)
def test_the_json_api_says_of_a_download_what_the_worker_would(site: Any, data: Any, sentence: str) -> None:
    answer = site.http().post("/job", json={"type": "startdownload", "data": data})
    assert answer.status_code == 400 and sentence in answer.get_json()["error"]


def test_the_files_of_a_list_can_be_put_into_one_archive(site: Any) -> None:
    status, answer = ask(site, text="\n".join(LINES), start=True, archive=True)
    assert status == 200 and len(answer["ids"]) == 2
    parent = site.queue.get(answer["archive"])
    assert (parent.type, parent.data["title"]) == ("archive", "Archive of 2 downloads")
    assert [child.id for child in parent.children()] == answer["ids"] and parent.state == "delayed"
    site.queue.cancel(answer["ids"][0])
    assert parent.refresh().state == "delayed" and parent.children_ended == 1
    site.queue.cancel(answer["ids"][1])
    assert parent.refresh().state == "inactive"
    assert ask(site, text="", start=True, archive=True)[1]["archive"] is None


def test_a_unique_download_that_waits_already_is_awaited_by_the_archive(site: Any) -> None:
    text = "http://a.example/1\nhttp://a.example/2"
    _, first = ask(site, text="http://a.example/1", start=True)
    status, answer = ask(site, text=text, start=True, archive=True, options={"unique": "true"})
    assert status == 200 and answer["ids"][0] == first["ids"][0]
    assert [child.id for child in site.queue.get(answer["archive"]).children()] == answer["ids"]
