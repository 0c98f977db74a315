"""Jobs of tasks in the hands of Node Kue: it creates, reads and works them as any others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

import kue
from tests.interop.harness.node import Node


@dataclass
class Picture:
    url: str
    taken: datetime


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    with Node() as process:
        yield process.open(redis_url)


def test_node_creates_a_job_of_a_task(queue: kue.Queue, node: Node) -> None:
    # Given a task that works here
    @queue.task()
    def describe(picture: Picture, width: int = 800) -> str:
        return f"{picture.url} {picture.taken:%Y} {width}"

    queue.work()
    # When Node creates jobs with what JSON.stringify makes of a Date, and a title, and one with a mistake
    picture = {"url": "u", "taken": "2026-11-27T22:50:17.123Z"}
    right = node.call("create", "describe", {"picture": picture, "title": "from Node"})
    wrong = node.call("create", "describe", {"picture": picture, "width": "wide"}, {"attempts": 3})
    # Then the function has its arguments, and the mistake is named
    assert queue.get(right).wait(10) == "u 2026 800"
    with pytest.raises(kue.JobFailed, match='task "describe": parameter "width": expected int, got str'):
        queue.get(wrong).wait(10)


def test_node_reads_and_works_a_job_of_a_task(queue: kue.Queue, node: Node) -> None:
    @queue.task(priority="high")
    def echo(picture: Picture) -> Picture:
        raise NotImplementedError("Node does this")

    sent = Picture("u", datetime(2026, 11, 27, 22, 50, tzinfo=UTC))
    job = echo.create(sent).save()
    assert node.call("get", job.id)["data"] == {"picture": {"url": "u", "taken": "2026-11-27T22:50:00Z"}}
    node.call("process", "echo", [[["return", {"url": "v", "taken": "2026-11-27T22:50:00.000Z"}]]])
    # What Node returns is of the declared type here
    assert job.wait(10) == Picture("v", sent.taken)
