"""Which functions are handlers, and of which kind."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

import pytest

from kue.concurrency import green
from kue.worker.attempts.handler import Kind, read_handler
from tests.support import ROOT


class Object:
    def __call__(self, job: Any) -> None: ...

    def method(self, job: Any, done: Any) -> None: ...


class AsyncObject:
    async def __call__(self, job: Any) -> None: ...

    async def method(self, job: Any) -> None: ...


async def async_function(job: Any, size: int = 1) -> None: ...


def decorated(fn: Any) -> Any:
    @functools.wraps(fn)
    async def wrapper(*args: Any, **options: Any) -> Any:
        return await fn(*args, **options)

    return wrapper


@pytest.mark.parametrize(
    "fn, arity",
    [
        (lambda job: None, 1),
        (lambda job, done: None, 2),
        (lambda job, ctx, done: None, 3),
        (lambda *args: None, 1),
        (Object(), 1),
        (Object().method, 2),
        (functools.partial(Object().method, done=None), 1),
        (print, 1),
    ],
)
def test_functions_run_in_threads(fn: Any, arity: int) -> None:
    assert read_handler(fn)[:3] == (fn, arity, Kind.THREAD)


@pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")
@pytest.mark.parametrize(
    "fn",
    [
        async_function,
        functools.partial(async_function, size=2),
        AsyncObject(),
        AsyncObject().method,
        functools.partial(AsyncObject()),
        decorated(async_function),
    ],
)
def test_what_returns_a_coroutine_runs_on_the_event_loop(fn: Any) -> None:
    assert read_handler(fn)[:3] == (fn, 1, Kind.ASYNCIO)


PATCHED = """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import kue
queue = kue.create_queue("redis://127.0.0.1:1/0")
async def mail(job): ...
try:
    queue.process("mail", mail)
except kue.KueError as exc:
    print(exc)
print(queue.processing())
"""


def test_in_a_process_patched_by_eventlet_an_async_handler_is_refused_with_a_remedy() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PATCHED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said == (
        "an async handler cannot run in a process patched by eventlet: run it in a separate process "
        "with `kue worker module:queue`, without --green\n{}\n"
    )
