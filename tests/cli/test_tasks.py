"""`kue worker` runs the tasks declared on the queue, also by modules that its module imports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.queue import Queue

SHARED = """
import kue

queue = kue.create_queue()
"""
PICTURES = """
from shared import queue

@queue.task(concurrency=3)
def resize(url: str, width: int = 800) -> str:
    return f"{url} {width}"
"""
JOBS = """
from shared import queue
import pictures

@queue.task(name="email")
def send(to: str) -> None:
    pass

@queue.process("report")
def report(job):
    pass
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name, text in (("shared", SHARED), ("pictures", PICTURES), ("jobs", JOBS)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def output(process: Any) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=40)
    return process.returncode, out, err


def test_tasks_and_handlers_run_side_by_side(queue: Queue, start: Callable[..., Any], module: Path) -> None:
    resized = queue.create("resize", {"url": "u"}).save()
    queue.create_many([{"type": "email", "data": {"to": "ada"}}, {"type": "report"}])
    code, out, err = output(start("worker", "jobs:queue", "--burst", "-c", "email=7", cwd=module))
    assert code == 0, err
    assert out.startswith("Ready: running report (1), resize (3), email (7) of queue q, pid ")
    assert queue.card("complete") == 3 and resized.refresh().result == "u 800"


def test_only_takes_the_names_of_tasks(queue: Queue, start: Callable[..., Any], module: Path) -> None:
    queue.create_many([{"type": "email", "data": {"to": "ada"}}, {"type": "report"}])
    code, out, _ = output(start("worker", "jobs:queue", "--burst", "--only", "email", cwd=module))
    assert code == 0 and out.startswith("Ready: running email (1) of")
    assert [job.state for job in queue.get_many([1, 2]) if job] == ["complete", "inactive"]
    code, _, err = output(start("worker", "jobs:queue", "--only", "emial", cwd=module))
    assert code == 1 and "no handler for type emial; the module has handlers for email, report, resize\n" in err


def test_a_queue_with_nothing_to_run_is_an_error(start: Callable[..., Any], module: Path) -> None:
    code, _, err = output(start("worker", "shared:queue", cwd=module))
    assert code == 1
    assert "shared:queue has no handlers; its module must declare a @queue.task() or call queue.process(…)" in err
