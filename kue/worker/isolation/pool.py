"""The children of one handler: each runs one attempt at a time, and is kept for the next. Supervising thread only."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ...errors import JobInterrupt, JobTimeout
from ..execution import Execution
from ..handler import Handler
from .child_handle import ChildHandle, State, describe_end, setup_for
from .memory import LOOK_S, WORN_SHARE, resident_bytes
from .messages import Message
from .options import exceeded
from .spawning import logging_setup, spawn_child

log = logging.getLogger("kue.worker")

#: Seconds from SIGTERM to SIGKILL, for a child that does not end.
GRACE_S = 5.0
#: Seconds in which a child must have imported its handler.
START_S = 60.0
#: Seconds until another child is started after one that could not start: first, and at most.
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0


class Listener(Protocol):
    """Whom a pool tells; see executors/process_executor.py."""

    def ended(self, execution: Execution, message: Message) -> None:
        """An attempt has ended as the child said."""

    def died(self, execution: Execution, why: str, stderr: str) -> None:
        """The child has died in an attempt. ``stderr``: the end of what it wrote there."""

    def ready(self, job_type: str) -> None:
        """There is a child to run attempts."""

    def not_ready(self, job_type: str) -> None:
        """There is none, and none can be started now."""

    def waits(self, execution: Execution) -> None:
        """An attempt with a ttl waits for a child."""

    def not_started(self, execution: Execution, why: str) -> None:
        """An attempt cannot begin, since no child can be started."""

    def asked(self, child: ChildHandle, execution: Execution, message: Message) -> None:
        """A handler requests something."""


class Pool:
    """``adopt(child)`` has a new child watched. ``size`` is how many children there are when none has ended."""

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
        self._handler = handler  # kept, since pools are known by its identity
        self._listener, self._adopt = listener, adopt
        self._children: list[ChildHandle] = []
        self._waiting: deque[Execution] = deque()
        self._failures, self._retry_at, self._why = 0, 0.0, ""
        self._is_stopping = False

    @property
    def is_prestarted(self) -> bool:
        """Whether children are started ahead of the first attempt."""
        return self._isolation.prestart

    # What the executor asks

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
                # Of those that are to end at most as many stay as may run, whatever their handlers do.
                ending = [each for each in self._children if each.state is State.ENDING and not each.is_killed]
                for surplus in ending[: max(0, len(ending) + 1 - max(1, self.size))]:
                    surplus.kill()
                child.interrupt(exc, time.monotonic() + GRACE_S)
                if isinstance(exc, JobTimeout):
                    log.warning("stop job %s: ttl exceeded, its process ends", execution.job.id)

    def stop(self, kill_at: float) -> None:
        """End all children, those that still run something at ``kill_at``."""
        self._is_stopping, self.size = True, 0
        for child in self._children:
            if child.state is State.STARTING:
                child.kill()
            else:
                child.end(kill_at)

    # Children

    def wanted(self) -> int:
        """Return how many children are to be started now."""
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
        """Return when another child is to be tried, monotonic s, if one could not be started."""
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
        """End idle children that are too many."""
        live = [each for each in self._children if each.state is not State.ENDING]
        surplus = len(live) - self.size - len(self._waiting)
        for child in live:
            if surplus <= 0:
                return
            if child.state is State.IDLE:
                child.end(time.monotonic() + GRACE_S)
                surplus -= 1

    def received(self, child: ChildHandle, message: Message) -> None:
        """Take in a message of a child. Raises ValueError or KeyError for what is none."""
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
        """Kill a child that needs too much for its attempt; return when to look again, None if it has no limit."""
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
        """A child is gone, and all that it had sent is taken in."""
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
        log.error("No child process for %s; another is started in %g s: %s", self._type, pause_s, why)
        if not self._has_ready():
            if self.size:
                self._listener.not_ready(self._type)
            self._give_up()

    def _has_ready(self) -> bool:
        return any(each.state in (State.IDLE, State.BUSY) for each in self._children)

    def _give_up(self) -> None:
        while self._waiting:
            self._listener.not_started(self._waiting.popleft(), self._why)
