"""Node Kue's own dashboard and JSON API over a queue that Python has filled."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.behaviour import Script
from tests.interop.node import Node
from tests.interop.sides import PythonSide
from tests.interop.tap import Tap

WORK: Script = [[["log", "đang gửi %s", "a@b.c"], ["progress", 1, 2, {"step": "half"}], ["return", {"sent": True}]]]


@pytest.fixture
def python(redis_url: str) -> Iterator[PythonSide]:
    """A queue with a job in every state."""
    side = PythonSide(redis_url)
    with Tap(redis_url) as tap:
        side.create("waiting", {"title": "Xin chào"}, priority="high")
        side.create("later", {"title": "mai"}, delay=60_000, ttl=5000)
        for job_type, script, event in [
            ("done", WORK, "complete"), ("broken", [[["fail", "hỏng"]]], "failed"), ("busy", [[["hang"]]], "start"),
        ]:  # fmt: skip
            side.work(job_type, script)
            tap.wait(side.create(job_type, {"title": job_type}), event)
    yield side
    side.close()


@pytest.fixture
def ask(redis_url: str) -> Iterator[Callable[[str], Any]]:
    """Get a path of Node Kue's server, parsed if it is JSON."""
    with Node() as node:
        port = node.open(redis_url).call("serve", 0)

        def get(path: str) -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                text = answer.read().decode()
                return json.loads(text) if "json" in answer.headers["Content-Type"] else text

        yield get


def test_it_shows_every_list_and_every_job_as_we_do(python: PythonSide, ask: Callable[[str], Any]) -> None:
    shown = [job.to_dict() for job in python.queue.range(0, -1)]
    assert len(shown) == 5
    assert ask("/jobs/0..99/asc") == shown
    assert ask("/jobs/0..99/desc") == shown[::-1]
    for job in shown:
        assert ask(f"/job/{job['id']}") == {**job, "id": str(job["id"])}
        assert ask(f"/job/{job['id']}/log") == python.queue.log(job["id"])
        assert ask(f"/jobs/{job['state']}/0..99/asc") == [job]
        assert ask(f"/jobs/{job['type']}/{job['state']}/0..99/asc") == [job]
    assert sorted(ask("/job/types")) == python.queue.types()


def test_it_counts_what_we_count(python: PythonSide, ask: Callable[[str], Any]) -> None:
    stats = ask("/stats")
    counts = {state: stats[f"{state}Count"] for state in ("inactive", "active", "complete", "failed", "delayed")}
    assert counts == python.queue.counts() == dict.fromkeys(counts, 1)
    assert stats["workTime"] == python.queue.work_time()


def test_its_pages_open(python: PythonSide, ask: Callable[[str], Any]) -> None:
    for page in ("/active", "/inactive", "/complete", "/failed", "/delayed"):
        assert "<html" in ask(page)
