"""Handlers for the tests of process isolation. The children import this module too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import kue

#: The handlers, by name.
HANDLERS: dict[str, Any] = {}


def handler(fn: Any) -> Any:
    HANDLERS[fn.__name__] = fn
    return fn


def register(queue: kue.Queue, name: str, concurrency: int = 1, **options: Any) -> None:
    """Let child processes run a handler, which import this module."""
    queue.process(name, concurrency, HANDLERS[name], isolation="process", **options)


@handler
def pid(job: kue.Job) -> int:
    return os.getpid()


@handler
def echo(job: kue.Job) -> Any:
    return job.data


@handler
def reports(job: kue.Job) -> dict[str, Any]:
    """Use all that a job can do in its attempt."""
    job.log("one %s", {"two": 3})
    job.progress(1, 4, {"at": "a quarter"})
    percent = job.refresh().progress_percent
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr)
    return {"percent": percent, "worker": job.worker_id, "state": job.state}


@handler
def fails(job: kue.Job) -> None:
    data = job.data
    if data == "later":
        raise kue.RetryLater(60_000, "in a minute", counts=False)
    if data == "never":
        raise kue.UnrecoverableError("it is no use")
    if data == "set":
        return {1, 2}  # type: ignore[return-value]
    raise ValueError("wrong")


@handler
def reports_done(job: kue.Job, done: Any) -> None:
    done(None, "by done")


@handler
def dies(job: kue.Job) -> None:
    how = job.data["how"]
    print("last words", file=sys.stderr)
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@handler
def waits(job: kue.Job) -> None:
    """Write what happens to it into the file that the job names."""
    path = Path(job.data["file"])
    how = job.data.get("how")
    path.write_text(f"{os.getpid()}\n")
    try:
        if how == "c":
            sum(range(10**12))  # a loop in C that holds the GIL and looks for no signal
        while True:
            try:
                while True:
                    if how != "busy":
                        time.sleep(0.05)
            except BaseException as exc:
                if how != "swallow":
                    with path.open("a") as file:
                        file.write(f"{type(exc).__name__}: {exc}\n")
                    raise
    finally:
        with path.open("a") as file:
            file.write("finally\n")


@handler
def allocates(job: kue.Job) -> int:
    """Hold memory: "step by step", "at once", or so many MB that stay behind."""
    if job.data == "step by step":
        held = []
        while True:
            held.append(b"x" * 2**20)
    if job.data == "at once":
        return len(bytearray(2**34))
    left_behind.append(b"x" * (job.data << 20))
    return os.getpid()


left_behind: list[bytes] = []


class Marking(kue.Middleware):
    """Marks what passes through it, with the process that it is in."""

    def execute(self, job: kue.Job, call_next: Any) -> Any:
        return {"marked": call_next(job), "pid": os.getpid()}


#: Tests that use it connect to another one, of the same prefix.
declaring = kue.create_queue("redis://127.0.0.1:1/0")
declaring.use(Marking())


@declaring.task()
def add(one: int, two: int) -> int:
    return one + two


HANDLERS["add"] = add.handler


@handler
async def async_waits(job: Any) -> str:
    await job.log("begun")
    try:
        await asyncio.sleep(job.data)
    finally:
        await job.log("cleaned up")
    return "slept"
