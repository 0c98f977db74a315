"""Measure event loop lag, and log the task that is blocking the loop, with its stack."""

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
from ...text.humanize import duration_text
from ..attempts.execution import Execution
from ..attempts.outcomes import is_own
from .blocked_loop import BlockedLoop

log = logging.getLogger("kue.worker")

#: A task that runs this long without awaiting is blocking the loop, seconds.
BLOCKED_S = 0.1
#: Interval of checking the loop while it has tasks, seconds.
LOOK_S = 0.025
#: A check more than LATE * LOOK_S after the last counts as LOOK_S only: the machine was busy, or another thread held
#: the interpreter lock. Unless the loop's own thread used at least the share USED of that time.
LATE, USED = 1.2, 0.8
#: The lag is the maximum of the last WINDOW_S, kept by PART_S.
WINDOW_S, PART_S = 15.0, 5.0
#: Maximum number of stack frames logged, innermost ones.
FRAMES_MAX = 20


class TimedSelector(selectors.DefaultSelector):
    """A selector that records when its event loop enters and leaves it: between two calls, tasks run."""

    def __init__(self) -> None:
        super().__init__()
        self.is_waiting = True
        #: When the loop started to run ready tasks, monotonic s.
        self.ran_at = time.monotonic()
        #: When it finished doing so, monotonic s.
        self.paused_at = self.ran_at
        #: (start of the part, longest run in it) for the last parts.
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
        """Return the longest time that a ready task waited in the last WINDOW_S, seconds; from any thread."""
        now = time.monotonic()
        parts = [*list(self._parts), (self._part_at, self._longest_s)]
        if not self.is_waiting:
            parts.append((now, now - self.ran_at))
        return max((longest for began, longest in parts if now - began <= WINDOW_S + PART_S), default=0.0)


class Watchdog:
    """An OS thread that checks whether a task is blocking the loop. It sleeps while there are no tasks.

    ``has_tasks()`` returns whether there are tasks; ``execution_of(task)`` returns the attempt that a task works on, or
    None; ``abandon(execution)`` abandons the loop because of an attempt.
    """

    def __init__(
        self,
        selector: TimedSelector,
        loop: asyncio.AbstractEventLoop,
        has_tasks: Callable[[], bool],
        execution_of: Callable[[asyncio.Task[Any]], Execution | None],
        abandon: Callable[[Execution], object],
    ) -> None:
        self._selector, self._loop, self._has_tasks, self._execution_of = selector, loop, has_tasks, execution_of
        self._blocked = BlockedLoop(self._is_running, abandon)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        #: Time of the last check, and the CPU time of the loop's thread then, s.
        self._looked_at = self._cpu_s = 0.0
        #: The loop's run and task at the last check, when that task was first seen, and how much of the time counts.
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
                if not self._has_tasks() and not self._stopping.is_set():  # otherwise it was set before being cleared
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
            if was_running:  # the loop's thread kept this one from checking: it was in one long call
                self._held_s = max(0.0, passed_s - LOOK_S)
            elif self._seen[0] != ran_at:  # the first task seen in a run counts from the start of the run
                self._held_s = min(now - ran_at, LOOK_S)
            self._since = max(ran_at, now - self._held_s)
            self._seen = (ran_at, task)
        else:
            self._held_s += passed_s if was_running else min(passed_s, LATE * LOOK_S)
        if task is not None and self._held_s >= BLOCKED_S:
            execution = self._execution_of(task)
            if self._blamed is None:
                self._blame(task, execution)
            if execution is not None:
                self._blocked.look(task, execution, self._thread_id, now)

    def _used_s(self) -> float:
        """Return the CPU time used by the loop's thread since the last check, seconds; 0 if unknown."""
        before = self._cpu_s
        if self._clock is not None:
            try:
                self._cpu_s = time.clock_gettime(self._clock)
            except OSError:  # the thread has ended
                return 0.0
        return self._cpu_s - before

    def _is_running(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a task is the one last seen, and has not awaited since."""
        return self._seen == (self._selector.ran_at, task) == (self._seen[0], asyncio.current_task(self._loop))

    def _blame(self, task: asyncio.Task[Any], execution: Execution | None) -> None:
        frame = sys._current_frames().get(self._thread_id)
        stack = "\n".join(_lines(frame)) if frame is not None else ""
        if not self._is_running(task):  # it has continued meanwhile
            return
        if execution is None:
            self._blamed = f"Task {task.get_name()} (not of a job)"
        else:
            self._blamed = f"Job {execution.job.id} ({execution.type})"
        log.warning(
            "%s has been blocking the event loop and all other async handlers for more than %g ms. Stack:\n%s",
            self._blamed, BLOCKED_S * 1000, stack,
        )  # fmt: skip

    def _end_episode(self) -> None:
        if self._blamed is not None:
            ended_at = self._selector.paused_at
            if ended_at < self._since:  # another task runs before the loop waits again
                ended_at = time.monotonic()
            lasted = duration_text((ended_at - self._since) * 1000)
            log.warning("%s blocked the event loop for %s", self._blamed, lasted)
            self._blamed = None


def _lines(frame: FrameType | None) -> list[str]:
    """Return the lines of a stack, starting at the handler's frame, innermost last."""
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
