"""The overview: what an operator sees first over an ordinary queue."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from kue.management.history import MINUTE_S
from kue.web.pages import figures
from kue.web.present.job_detail import traceback_of
from tests.support import wait_until

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def text_of(page: str) -> str:
    """Return what a page says, without its markup."""
    main = page.partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


@pytest.fixture
def dashboard(make_site: Callable[..., Any]) -> Any:
    return make_site(downloads=False).http()


def test_where_no_downloads_are_worked_on_the_first_page_is_the_overview(dashboard: Any, site: Any) -> None:
    page = dashboard.get("/").text
    assert "<h1>Overview</h1>" in page and "Download a file" not in page and "button_start" not in page
    assert 'href="/files"' not in page and 'href="/active"' in page
    assert "Download limits" not in dashboard.get("/system").text
    page = site.http().get("/").text
    assert "Download a file" in page and 'id="button_start"' in page and 'href="/overview"' in page
    assert "Download limits" in site.http().get("/system").text


def test_it_shows_types_times_throughput_the_oldest_job_and_errors(dashboard: Any, queue: Any) -> None:
    # Given an hour of which two minutes are known, a queue with an old job, and failures
    minute = int(time.time() // MINUTE_S)
    span = {"complete": 60, "failed": 20, "waiting": 3, "wait_mid": 40, "wait_slow": 900, "run_mid": 2_000,
            "run_slow": 8_000}  # fmt: skip
    for at in (minute - 1, minute - 2):
        queue.history.record("minutes", at, span)
    queue.create_many([{"type": "mail", "priority": "high"}, {"type": "mail"}, {"type": "report"}])
    before = int(time.time() * 1000) - 7_200_000
    queue.session.call(lambda client: client.hset("q:job:2", mapping={"created_at": before, "promote_at": before}))

    def fail(job: Any) -> None:
        raise ValueError(f"no invoice {job.id}")

    queue.process("bill", 3, fail)
    queue.create_many([{"type": "bill"} for _ in range(3)])
    wait_until(lambda: queue.counts()["failed"] == 3)

    # When the page is read
    text = text_of(dashboard.get("/overview").text)

    # Then all of it is there, with units
    assert "Completed 120 60.0 per min" in text and "25.0 %" in text
    assert "Queue time (median) 40 ms p95 0.9 s" in text and "Run time (median) 2.0 s p95 8.0 s" in text
    assert "Oldest waiting job 2 h #2 mail" in text
    assert "mail 2 0 0 0 0 no worker" in text
    assert re.search(r"in the newest 3 failed jobs .* 3 bill ValueError: no invoice [456] just now #6", text)


def test_a_new_queue_says_that_there_is_nothing_yet(dashboard: Any) -> None:
    text = text_of(dashboard.get("/overview").text)
    for words in ("No jobs have been created yet.", "no job is waiting", "No failed jobs.", "No data yet."):
        assert words in text


def test_the_oldest_waiting_job_is_looked_for_in_each_priority(queue: Any) -> None:
    assert queue.oldest_waiting() is None
    queue.create_many([{"type": "a", "priority": n} for n in (5, 0, -5)])
    queue.session.call(lambda client: client.hset("q:job:1", "created_at", 1_000))
    assert queue.oldest_waiting().id == 1
    queue.set_state(1, "active")
    assert queue.oldest_waiting().id == 2


def test_errors_that_differ_in_numbers_are_counted_together(queue: Any) -> None:
    queue.create_many([{"type": "a"} for _ in range(5)])
    errors = ["port 80 refused", "port 8080 refused\n  File x", "timeout", "port 1 refused", ""]
    for job_id, error in enumerate(errors, start=1):
        queue.set_state(job_id, "failed")
        queue.session.call(lambda client, key=f"q:job:{job_id}", text=error: client.hset(key, "error", text))
    found = queue.recent_errors()
    assert [(each["count"], each["error"], each["id"]) for each in found] == [
        (3, "port 1 refused", 4), (1, "", 5), (1, "timeout", 3),
    ]  # fmt: skip
    assert sum(each["count"] for each in queue.recent_errors(2)) == 2


def test_without_redis_it_says_so(dashboard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kue.errors import QueueUnavailable

    def away(*_args: object) -> None:
        raise QueueUnavailable("away")

    monkeypatch.setattr(figures, "types", away)
    answer = dashboard.get("/overview")
    assert answer.status_code == 503 and "Redis is not responding." in answer.text
    assert dashboard.get("/monitor/overview", headers=HTML).status_code == 503


def test_a_traceback_is_shown_without_the_librarys_frames_and_only_if_any_are_left() -> None:
    error = (
        "ValueError: no lines\n"
        '  File "/srv/app/handlers.py", line 3, in report\n    raise ValueError("no lines")\n'
        '  File "/venv/lib/python3.12/site-packages/kue/job.py", line 9, in progress\n    self._write(x)'
    )
    shown = traceback_of(error)
    assert "handlers.py" in shown and 'raise ValueError("no lines")' in shown and "kue/job.py" not in shown
    assert "self._write" not in shown
    own_bug = 'KeyError: 1\n  File "/opt/kue/downloads/http/fetch.py", line 9, in open\n    found[1]'
    assert traceback_of(own_bug) == own_bug
    assert traceback_of("just a message") == traceback_of(None) == ""
    assert "at work" in traceback_of("Error: x\n    at work (/srv/app.js:1:2)")
