"""Event loop lag, and who causes it: the task that blocks the loop is named in the log while it does."""

from __future__ import annotations

import asyncio
import linecache
import logging
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from ...concurrency.essential import run_essential
from ...humanize import duration_text
from ..outcomes import is_own

log = logging.getLogger("kue.worker")

#: A task that runs for so many seconds without awaiting blocks the loop.
BLOCKED_S = 0.1
#: Seconds between two looks at the loop, while it has tasks.
LOOK_S = 0.025
#: A look that comes later than this, in LOOK_S, counts as one in time: the machine was busy, or another thread had the
#: interpreter. Unless the loop's thread itself has used the time, this share of it.
LATE, USED = 1.2, 0.8
#: The lag is the maximum of the last WINDOW_S, kept by PART_S.
WINDOW_S, PART_S = 15.0, 5.0
#: Frames of a stack that are logged, the innermost ones.
FRAMES_MAX = 20


class TimedSelector(selectors.DefaultSelector):
    """A selector that knows when its event loop was last here: what comes between two calls are the steps of tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.is_waiting = True
        #: When the loop began to run what was ready, monotonic s.
        self.ran_at = time.monotonic()
        #: When it had done so, monotonic s.
        self.paused_at = self.ran_at
        #: The longest run in each of the last parts, with the beginning of the part.
        self._parts: deque[tuple[float, float]] = deque(maxlen=int(WINDOW_S / PART_S))
        self._part_at = self._longest_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.paused_at = now = time.monotonic()
        if now - self._part_at > PART_S:
            self._parts.append((self._part_at, self._longest_s))
            self._part_at, self._longest_s = now, 0.0
        self._longest_s = max(self._longest_s, now - self.ran_at)
        self.is_waiting = True
        found = super().select(timeout)
        self.ran_at, self.is_waiting = time.monotonic(), False
        return found

    def lag_s(self) -> float:
        """Return how long a task that was ready waited at most, in the last WINDOW_S; from any thread."""
        now = time.monotonic()
        parts = [*list(self._parts), (self._part_at, self._longest_s)]
        if not self.is_waiting:
            parts.append((now, now - self.ran_at))
        return max((longest for began, longest in parts if now - began <= WINDOW_S + PART_S), default=0.0)


class Watchdog:
    """An OS thread that looks whether a task blocks the loop, while there are tasks; without, it sleeps.

    ``has_tasks()`` tells whether there are any; ``job_of(task)`` returns the id and type of the job that one works on,
    or None.
    """

    def __init__(
        self,
        selector: TimedSelector,
        loop: asyncio.AbstractEventLoop,
        has_tasks: Callable[[], bool],
        job_of: Callable[[asyncio.Task[Any]], tuple[object, str] | None],
    ) -> None:
        self._selector, self._loop, self._has_tasks, self._job_of = selector, loop, has_tasks, job_of
        self._wake = threading.Event()
        self._stopping = threading.Event()
        #: When the last look was, and the CPU time of the loop's thread then, s.
        self._looked_at = self._cpu_s = 0.0
        #: The run of the loop and its task at the last look, since when it is that task, and how much of that counts.
        self._seen: tuple[float, asyncio.Task[Any] | None] = (0.0, None)
        self._since = self._held_s = 0.0
        self._blamed: str | None = None

    def start(self, loop_thread_id: int) -> None:
        self._thread_id = loop_thread_id
        self._clock = time.pthread_getcpuclockid(loop_thread_id) if hasattr(time, "pthread_getcpuclockid") else None
        threading.Thread(
            target=run_essential, args=("watchdog of the event loop", self._run), name="kue watchdog", daemon=True
        ).start()

    def wake(self) -> None:
        """There are tasks."""
        if not self._wake.is_set():
            self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._blamed is None and not self._has_tasks():
                self._wake.clear()
                if not self._has_tasks() and not self._stopping.is_set():  # else it was set before it was cleared
                    self._wake.wait()
                self._looked_at = time.monotonic()
            self._stopping.wait(LOOK_S)
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        selector = self._selector
        ran_at = selector.ran_at
        task = None if selector.is_waiting else asyncio.current_task(self._loop)
        passed_s, self._looked_at = now - self._looked_at, now
        used_s = self._used_s()
        was_running = used_s >= USED * passed_s
        if task is None or self._seen != (ran_at, task):
            self._end_episode()
            self._held_s = 0.0
            if was_running:  # the loop's thread did not let this one look, so there was one long call
                self._held_s = max(0.0, passed_s - LOOK_S)
            elif self._seen[0] != ran_at:  # the first task that is seen in a run counts from its beginning
                self._held_s = min(now - ran_at, LOOK_S)
            self._since = max(ran_at, now - self._held_s)
            self._seen = (ran_at, task)
        else:
            self._held_s += passed_s if was_running else min(passed_s, LATE * LOOK_S)
        if task is not None and self._blamed is None and self._held_s >= BLOCKED_S:
            self._blame(task)

    def _used_s(self) -> float:
        """Return the CPU time that the loop's thread has used since the last look; 0 where that cannot be known."""
        before = self._cpu_s
        if self._clock is not None:
            try:
                self._cpu_s = time.clock_gettime(self._clock)
            except OSError:  # the thread has ended
                return 0.0
        return self._cpu_s - before

    def _blame(self, task: asyncio.Task[Any]) -> None:
        frame = sys._current_frames().get(self._thread_id)
        stack = "\n".join(_lines(frame)) if frame is not None else ""
        if (self._selector.ran_at, asyncio.current_task(self._loop)) != self._seen:
            return  # it went on meanwhile
        job = self._job_of(task)
        self._blamed = f"Task {task.get_name()}, of no job," if job is None else f"Job {job[0]} ({job[1]})"
        log.warning(
            "%s blocks the event loop for more than %g ms, and with it every other async handler. It is at:\n%s",
            self._blamed, BLOCKED_S * 1000, stack,
        )  # fmt: skip

    def _end_episode(self) -> None:
        if self._blamed is not None:
            ended_at = self._selector.paused_at
            if ended_at < self._since:  # another task runs, before the loop pauses
                ended_at = time.monotonic()
            lasted = duration_text((ended_at - self._since) * 1000)
            log.warning("%s blocked the event loop for %s", self._blamed, lasted)
            self._blamed = None


def _lines(frame: FrameType | None) -> list[str]:
    """Return the lines of a stack from the handler's frame on, innermost last."""
    frames: list[FrameType] = []
    while frame is not None and not is_own(frame):
        frames.append(frame)
        frame = frame.f_back
    lines = []
    for each in reversed(frames[:FRAMES_MAX]):
        code = each.f_code
        if code.co_filename.startswith("<frozen") or each.f_globals.get("__name__") in ("asyncio.events", "threading"):
            continue
        lines.append(f'  File "{code.co_filename}", line {each.f_lineno}, in {code.co_name}')
        if source := linecache.getline(code.co_filename, each.f_lineno, each.f_globals).strip():
            lines.append(f"    {source}")
    return lines
