"""The system page, the charts behind it, and search."""

from __future__ import annotations

import collections
from typing import Any

import pytest

from kue.web import search as search_module
from kue.web.chart import HEIGHT, WIDTH, chart
from kue.web.history import History
from tests.support import wait_until


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def test_the_matrix_links_each_count_to_its_list(http: Any, queue: Any) -> None:
    queue.create_many([{"type": "a b/<c>"}, {"type": "mail"}, {"type": "mail"}])
    text = http.get("/system").text
    assert 'href="/inactive?type=a%20b/%3Cc%3E">1</a>' in text and 'href="/inactive?type=mail">2</a>' in text
    assert "2 jobs of type mail wait and none is running: is there a worker for it?" in text
    assert http.get("/monitor/system").headers["X-Kue-Mark"]


def test_a_type_is_paused_for_everybody_and_resumed(http: Any, queue: Any) -> None:
    queue.create("mail").save()
    assert http.post("/monitor/type/pause", json={"type": "mail"}).status_code == 200
    assert queue.paused() == ["mail"]
    assert "1 job of type mail wait because the type is paused." in http.get("/system").text
    assert http.post("/monitor/type/resume", json={"type": "mail"}).status_code == 200
    assert queue.paused() == []


def test_concurrency_is_changed_while_running(http: Any, queue: Any) -> None:
    queue.process("mail", 2, lambda job: None)
    asked = {"type": "mail", "count": 7}
    # Right after process() all slots may be out with a reservation; the engine then has none to copy the handler from.
    wait_until(lambda: http.post("/monitor/type/concurrency", json=asked).status_code == 200)
    assert queue.processing() == {"mail": 7}
    for body in ({"type": "mail", "count": 0}, {"type": "mail", "count": "7"}, {"type": "other", "count": 1}, {}, []):
        assert http.post("/monitor/type/concurrency", json=body).status_code == 400
    assert http.post("/monitor/type/explode", json={"type": "mail"}).status_code == 404


def test_history_counts_what_happened_in_each_minute() -> None:
    heard: collections.Counter[str] = collections.Counter()
    waiting = {"inactive": 4}
    history = History(lambda: waiting, heard)
    minute = history._minute
    heard.update({"complete": 3, "failed": 1, "failed attempt": 2})
    history.tick(minute * 60 + 30)
    history.tick((minute + 1) * 60)
    heard["complete"] += 5
    waiting["inactive"] = 9
    assert [(each["complete"], each["failed"], each["waiting"]) for each in history.minutes()] == [(3, 3, 4), (5, 0, 9)]
    assert sum(each["complete"] for each in history.day()) == 8
    for number in range(2, 3000):
        history.tick((minute + number) * 60)
    assert len(history.minutes(10**6)) == 1441 and len(history.minutes(60)) == 60


def test_a_chart_stays_in_its_frame() -> None:
    points = [{"at": n, "complete": n, "failed": 60 - n, "waiting": n * n} for n in range(60)]
    drawn = chart(points, 60)  # type: ignore[arg-type]
    assert drawn["most"] == 60
    for bar in drawn["bars"]:
        assert 0 <= bar["x"] <= WIDTH - bar["width"] and 0 <= bar["failed_y"] <= bar["complete_y"] <= HEIGHT
    assert chart([], 60)["bars"] == []


def test_search_looks_at_id_type_title_data_and_error_in_every_state(http: Any, queue: Any) -> None:
    queue.create("mail", {"title": "Thư mời họp", "to": "anna@example.com"}).save()
    queue.create("Video", {"deep": [{"url": "http://example.com/Clip.mp4"}]}).save()
    queue.set_state(2, "failed")

    def ids(words: str) -> list[int]:
        return [row["id"] for row in http.get("/monitor/search", query_string={"q": words}).json["rows"]]

    assert ids("2") == [2] and ids("#1") == [1] and ids("thư HỌP") == [1] and ids("clip.mp4") == [2]
    assert ids("video") == [2] and ids("example.com") == [2, 1] and ids("anna clip") == [] and ids("  ") == []
    page = http.get("/search", query_string={"q": "<script>thư"}).text
    assert "No job holds all of these words." in page and "<script>thư" not in page


def test_search_says_how_far_it_looked(http: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "CHUNK", 10)
    monkeypatch.setattr(search_module, "MAX_LOOK", 20)
    queue.create_many([{"type": "t", "data": {"n": f"n{n}."}} for n in range(45)])
    answer = http.get("/monitor/search?q=n40.").json
    assert [row["id"] for row in answer["rows"]] == [41] and (answer["looked"], answer["total"]) == (20, 45)
    assert http.get("/monitor/search?q=n3.").json["rows"] == []
    assert "Looked through 20 of 45 jobs." in http.get("/search?q=n3.").text
