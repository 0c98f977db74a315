"""The JSON API answers as it was recorded: what a change of the code must not change unnoticed.

Times, durations and names of processes are replaced by what they are. After a change that was meant,
this records them anew, and the commit shows what is different:

    KUE_RECORD=1 make test ARGS=tests/web/api/test_recorded_answers.py
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import wait_until

RECORDED = Path(__file__).parent / "data" / "recorded_answers.json"

#: Headers that belong to the contract, beside status and body.
HEADERS = ("Content-Type", "Location", "Cache-Control", "Retry-After", "WWW-Authenticate", "Allow")

#: What is another one each time: found in any text, with what is written in its place.
PASSING = [
    (r"\b1[0-9]{12}\b", "<ms>"),
    (r"\b20\d\d-\d\d-\d\dT[0-9:.]+(Z|\+00:00)", "<time>"),
    (r"\b[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\b", "<uuid>"),
    (r"\bkue:[^:\s\"]+:\d+(:\w+:\d+)?", "<worker>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\"[^\"]*/[^\"]*\.py\", line \d+", '"<file>", line <number>'),
]
#: Fields whose value is another one each time.
PASSING_FIELDS = {"epoch", "duration", "workTime", "redis_ms"}


def normal(value: Any, field: str = "") -> Any:
    """Return a value without what passes."""
    if field in PASSING_FIELDS and value is not None and not isinstance(value, dict | list):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {name: normal(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [normal(each, field) for each in value]
    if isinstance(value, int) and value > 10**12:
        return "<ms as a number>"
    if isinstance(value, str):
        for pattern, replacement in PASSING:
            value = re.sub(pattern, replacement, value)
    return value


def shape(value: Any) -> Any:
    """Return only the names and kinds of a value: for what consists of figures."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.fixture
def jobs(queue: Any) -> Any:
    """Eight jobs: complete, failed, stopped by nobody, delayed, in every state, with all options."""

    def mail(job: Any) -> Any:
        job.log("to %s", job.data["to"])
        job.progress(3, 4, {"step": "sending"})
        return {"sent": True, "to": job.data["to"]}

    def bad(job: Any) -> Any:
        raise ValueError("no such address")

    options = {"priority": "high", "ttl": 60_000, "backoff": {"type": "exponential", "delay": 1000}}
    queue.create_many([{"type": "mail", "data": {"to": "tj", "title": "<b>A</b> & ü"}, **options}])
    queue.create_many([{"type": "bad", "data": {"n": 1.5, "list": [None, True, {"a": "b"}]}}])
    queue.create_many(
        [
            {"type": "idle", "data": {"title": "waits"}, "priority": "low"},
            {"type": "idle", "data": None, "priority": -15},
            {"type": "later", "data": {"url": "http://user:secret@example.org/a"}, "delay": 3_600_000_000},
            {"type": "stuck", "data": "a text"},
        ]
    )
    queue.set_state(6, "active")
    queue.process("mail", 1, mail)
    wait_until(lambda: queue.counts()["complete"] == 1)
    queue.process("bad", 1, bad)
    wait_until(lambda: queue.counts()["failed"] == 1)
    return queue


READ = [
    "/stats", "/job/types", "/jobs/0..-1", "/jobs/0..2", "/jobs/1..2/desc", "/jobs/2..1", "/jobs/x..y",
    "/jobs/complete/0..-1", "/jobs/failed/0..9/asc", "/jobs/delayed/0..9/desc", "/jobs/odd/0..9",
    "/jobs/idle/inactive/0..9", "/jobs/idle/inactive/0..9/desc", "/jobs/idle/inactive/stats", "/jobs/none/failed/0..9",
    "/job/1", "/job/2", "/job/3", "/job/4", "/job/5", "/job/6", "/job/77", "/job/x", "/job/1/log", "/job/2/log",
    "/job/77/log", "/job/search", "/job/search?q=waits",
    "/monitor/home", "/monitor/home?also=1,2", "/monitor/list/inactive", "/monitor/list/failed?order=desc",
    "/monitor/list/complete?type=mail", "/monitor/list/failed?from=x", "/monitor/list/odd",
    "/monitor/search?q=waits", "/monitor/search?q=", "/monitor/job/1", "/monitor/job/2", "/monitor/job/3",
    "/monitor/job/5", "/monitor/job/77", "/monitor/job/1/log?from=0", "/monitor/bulk/preview?state=failed",
    "/monitor/bulk/preview?state=odd", "/monitor/bulk/preview?q=waits&act=retry", "/monitor/bulk/none",
    "/monitor/downloads/limits", "/healthz", "/nothing",
]  # fmt: skip

#: Figures of this machine and of this moment.
SHAPES = {"/monitor/system"}

WRITE: list[tuple[str, str, Any]] = [
    ("POST", "/job", {"type": "new", "data": {"n": 1}, "options": {"priority": "high", "attempts": 3, "delay": 9e8}}),
    ("POST", "/job", [{"type": "new"}, {"type": "new", "options": {"searchKeys": ["n"], "removeOnComplete": True}}]),
    ("POST", "/job", [{"type": "new"}, {"data": 1}]),
    ("POST", "/job", {}),
    ("POST", "/job", "x"),
    ("POST", "/job", {"type": "new", "options": {"attempts": "many"}}),
    ("POST", "/job", {"type": "new", "options": {"odd": 1}}),
    ("PUT", "/job/3/priority/-10", None),
    ("PUT", "/job/3/priority/x", None),
    ("PUT", "/job/77/priority/1", None),
    ("PUT", "/job/2/state/inactive", None),
    ("PUT", "/job/3/state/odd", None),
    ("PUT", "/job/77/state/failed", None),
    ("DELETE", "/job/1", None),
    ("DELETE", "/job/1", None),
    ("DELETE", "/job/x", None),
    ("POST", "/monitor/job/3/priority", {"priority": "low"}),
    ("POST", "/monitor/job/3/priority", {}),
    ("POST", "/monitor/job/3/copy", {"data": {"n": 2}}),
    ("POST", "/monitor/job/3/retry", {}),
    ("POST", "/monitor/job/5/promote", {}),
    ("POST", "/monitor/job/4/cancel", {}),
    ("POST", "/monitor/job/4/remove", {}),
    ("POST", "/monitor/job/77/remove", {}),
    ("POST", "/monitor/job/3/odd", {}),
    ("POST", "/monitor/bulk", {"act": "retry", "state": "active"}),
    ("POST", "/monitor/bulk", {"act": "odd"}),
    ("POST", "/monitor/type/pause", {"type": "idle"}),
    ("POST", "/monitor/type/resume", {"type": "idle"}),
    ("POST", "/monitor/type/pause", {"type": ""}),
    ("POST", "/monitor/type/odd", {"type": "idle"}),
    ("POST", "/monitor/type/concurrency", {"type": "idle"}),
    ("POST", "/monitor/downloads/limits", {"rate": "5M"}),
    ("POST", "/monitor/downloads/limits", {"odd": "5M"}),
    ("DELETE", "/files/none", None),
    ("GET", "/stats", None),
    ("GET", "/jobs/0..-1", None),
]


def ask(http: Any, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Return what is compared of one answer."""
    answer = http.open(path, method=method, **({} if body is None else {"json": body}))
    told: dict[str, Any] = {"asked": f"{method} {path}", **({} if body is None else {"with": body})}
    told["status"] = answer.status_code
    told["headers"] = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    if answer.is_json:
        told["body"] = shape(answer.json) if path in SHAPES else normal(answer.json)
    return told


def compare(name: str, answers: list[dict[str, Any]]) -> None:
    """Hold the answers against the recorded ones, or record them."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    if os.environ.get("KUE_RECORD"):
        recorded[name] = answers
        RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        pytest.skip("recorded")
    assert [each["asked"] for each in answers] == [each["asked"] for each in recorded[name]]
    changed = [
        f"{answer['asked']} {change}"
        for answer, before in zip(answers, recorded[name], strict=True)
        for change in changes(before, answer)
    ]
    assert changed == []


def changes(before: Any, now: Any, where: str = "") -> list[str]:
    """Return each place at which two answers differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        return [
            change
            for name in names
            for change in changes(before.get(name, "(missing)"), now.get(name, "(missing)"), f"{where}.{name}")
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [change for at, (old, new) in pairs for change in changes(old, new, f"{where}[{at}]")]
    # 1, 1.0 and true are three things in JSON.
    return [] if (type(before), before) == (type(now), now) else [f"{where}: was {before!r}, is {now!r}"]


def test_changes_are_found_wherever_they_are() -> None:
    before = {"a": [1, {"b": None}], "c": "x"}
    assert changes(before, {"a": [1, {"b": None}], "c": "x"}) == []
    assert changes(before, {"a": [True, {"b": 0}], "d": 1}) == [
        ".a[0]: was 1, is True", ".a[1].b: was None, is 0", ".c: was 'x', is '(missing)'", ".d: was '(missing)', is 1",
    ]  # fmt: skip
    assert len(changes([1], [1, 2])) == len(changes({}, [])) == 1


def test_what_is_read_is_as_recorded(make_site: Callable[..., Any], jobs: Any) -> None:
    http = make_site().http()
    compare("read", [ask(http, "GET", path) for path in [*READ, *sorted(SHAPES)]])


def test_what_is_changed_is_answered_as_recorded(make_site: Callable[..., Any], jobs: Any) -> None:
    jobs.shutdown(5)
    http = make_site().http()
    compare("write", [ask(http, method, path, body) for method, path, body in WRITE])


def test_without_a_login_the_api_answers_as_recorded(make_site: Callable[..., Any], jobs: Any) -> None:
    http = make_site(KUE_AUTH="ada:secret").http()
    asked = [("GET", path) for path in ("/stats", "/job/1", "/monitor/home", "/healthz", "/openapi.json")]
    compare("no login", [ask(http, method, path) for method, path in [*asked, ("DELETE", "/job/1"), ("POST", "/job")]])
