"""The child processes of one handler: each runs one attempt at a time and is reused. Supervising thread only."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ....errors import JobInterrupt, JobTimeout
from ...attempts.execution import Execution
from ...attempts.handler import Handler
from ...isolation.options import exceeded
from ..memory import LOOK_S, WORN_SHARE, resident_bytes
from ..messages import Message
from .child_handle import ChildHandle, State, describe_end, setup_for
from .spawning import logging_setup, spawn_child

log = logging.getLogger("kue.worker")

#: Seconds from SIGTERM to SIGKILL for a child that does not exit.
GRACE_S = 5.0
#: Seconds that a child has to import its handler.
START_S = 60.0
#: Delay before another child is started after a failed start, seconds: first, and maximum.
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0


class Listener(Protocol):
    """Receives a pool's events; implemented in executors/process_executor.py."""

    def ended(self, execution: Execution, message: Message) -> None:
        """An attempt has ended; ``message`` is the child's report."""

    def died(self, execution: Execution, why: str, stderr: str) -> None:
        """The child died during an attempt. ``stderr``: the tail of its stderr."""

    def ready(self, job_type: str) -> None:
        """A child is ready to run attempts."""

    def not_ready(self, job_type: str) -> None:
        """No child is ready, and none can be started now."""

    def waits(self, execution: Execution) -> None:
        """An attempt with a ttl waits for a child."""

    def not_started(self, execution: Execution, why: str) -> None:
        """An attempt cannot start because no child can be started."""

    def asked(self, child: ChildHandle, execution: Execution, message: Message) -> None:
        """A handler made a request."""


class Pool:
    """The child processes of one handler. ``adopt(child)`` starts watching a child; ``size`` is the number to keep."""

    def __init__(
        self,
        job_type: str,
        handler: Handler,
        prefix: str,
        listener: Listener,
        adopt: Callable[[ChildHandle, Pool], None],
    ) -> None:
        assert handler.isolation is not None and handler.target is not None
        self.size = 0
        self._type, self._target, self._isolation, self._prefix = job_type, handler.target, handler.isolation, prefix
        self._handler = handler  # kept alive: pools are looked up by its identity
        self._listener, self._adopt = listener, adopt
        self._children: list[ChildHandle] = []
        self._waiting: deque[Execution] = deque()
        self._failures, self._retry_at, self._why = 0, 0.0, ""
        self._is_stopping = False

    @property
    def is_prestarted(self) -> bool:
        """Whether children are started before the first attempt."""
        return self._isolation.prestart

    # Called by the executor

    def start(self, execution: Execution) -> None:
        self._waiting.append(execution)
        self.assign()
        if execution in self._waiting and self._retry_at > time.monotonic() and not self._has_ready():
            self._give_up()
        elif execution in self._waiting and execution.job.options.ttl_ms:
            self._listener.waits(execution)

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        if execution in self._waiting:
            self._waiting.remove(execution)
        for child in self._children:
            if child.execution is execution and child.state is State.BUSY:
                # At most ``size`` stopped handlers may linger; kill the surplus, whatever they do.
                ending = [each for each in self._children if each.state is State.ENDING and not each.is_killed]
                for surplus in ending[: max(0, len(ending) + 1 - max(1, self.size))]:
                    surplus.kill()
                child.interrupt(exc, time.monotonic() + GRACE_S)
                if isinstance(exc, JobTimeout):
                    log.warning("Job %s: ttl exceeded; stopping its process", execution.job.id)

    def stop(self, kill_at: float) -> None:
        """End all children. Those still busy at ``kill_at`` are killed."""
        self._is_stopping, self.size = True, 0
        for child in self._children:
            if child.state is State.STARTING:
                child.kill()
            else:
                child.end(kill_at)

    # Children

    def wanted(self) -> int:
        """Return how many children to start now."""
        if self._is_stopping or time.monotonic() < self._retry_at:
            return 0
        live = [each for each in self._children if each.state is not State.ENDING]
        free = sum(each.state is not State.BUSY for each in live)
        return max(self.size - len(live), len(self._waiting) - free, 0)

    @property
    def is_waited_for(self) -> bool:
        """Whether attempts wait for a child."""
        return bool(self._waiting)

    def starting(self) -> int:
        return sum(each.state is State.STARTING for each in self._children)

    def retry_at(self) -> float | None:
        """Return when to retry a failed start, monotonic s, or None."""
        return self._retry_at if self._retry_at > time.monotonic() else None

    def start_child(self) -> None:
        isolation = self._isolation
        setup = setup_for(
            self._target, self._prefix, self._type, isolation.memory_limit_bytes, logging_setup()
        )
        try:
            child = ChildHandle(spawn_child(setup))
        except OSError as exc:
            self._start_failed(str(exc))
            return
        child.kill_at = time.monotonic() + START_S
        self._children.append(child)
        self._adopt(child, self)

    def assign(self) -> None:
        """Give waiting attempts to idle children."""
        for child in self._children:
            if not self._waiting:
                return
            if child.state is State.IDLE:
                child.run(self._waiting.popleft())

    def trim(self) -> None:
        """End surplus idle children."""
        live = [each for each in self._children if each.state is not State.ENDING]
        surplus = len(live) - self.size - len(self._waiting)
        for child in live:
            if surplus <= 0:
                return
            if child.state is State.IDLE:
                child.end(time.monotonic() + GRACE_S)
                surplus -= 1

    def received(self, child: ChildHandle, message: Message) -> None:
        """Handle a message from a child. Raises ValueError or KeyError if it is malformed."""
        if "ask" in message:
            if child.execution is not None and message["run"] == child.runs:
                self._listener.asked(child, child.execution, message)
        elif "ended" in message:
            execution, child.execution = child.execution, None
            if execution is not None and message["ended"] == child.runs:
                self._listener.ended(execution, message)
            if child.state is State.BUSY:
                child.state = State.IDLE
                if child.runs == self._isolation.max_jobs or message.get("spent") or self._is_worn(child):
                    child.end(time.monotonic() + GRACE_S)
            self.assign()
        elif "ready" in message:
            self._failures, child.kill_at = 0, None
            if child.state is State.STARTING:
                child.state = State.IDLE
            self.assign()
            if self.size:
                self._listener.ready(self._type)
        else:
            child.killed_for = str(message["unusable"])

    def watch_memory(self, child: ChildHandle, now: float) -> float | None:
        """Kill a child above its memory limit; return when to check again, None if it has no limit."""
        limit_bytes = self._isolation.memory_limit_bytes
        if limit_bytes is None or child.state is not State.BUSY:
            return None
        if now >= child.look_at:
            child.look_at = now + LOOK_S
            if resident_bytes(child.pid) > limit_bytes:
                child.kill(exceeded(limit_bytes))
        return child.look_at

    def _is_worn(self, child: ChildHandle) -> bool:
        limit_bytes = self._isolation.memory_limit_bytes
        return limit_bytes is not None and resident_bytes(child.pid) > WORN_SHARE * limit_bytes

    def died(self, child: ChildHandle, code: int) -> None:
        """Handle a child's end, after all its messages have been processed."""
        self._children.remove(child)
        why = describe_end(code, child.killed_for)
        if not child.runs and (child.state is not State.ENDING or child.killed_for):
            self._start_failed(why)
        execution, child.execution = child.execution, None
        if execution is not None:
            self._listener.died(execution, why, child.stderr_tail())

    def _start_failed(self, why: str) -> None:
        if self._is_stopping:
            return
        pause_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._retry_at, self._why = time.monotonic() + pause_s, why
        log.error("Cannot start a child process for %s; retrying in %g s: %s", self._type, pause_s, why)
        if not self._has_ready():
            if self.size:
                self._listener.not_ready(self._type)
            self._give_up()

    def _has_ready(self) -> bool:
        return any(each.state in (State.IDLE, State.BUSY) for each in self._children)

    def _give_up(self) -> None:
        while self._waiting:
            self._listener.not_started(self._waiting.popleft(), self._why)
