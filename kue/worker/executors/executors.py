"""The executors of one engine: one for each kind of handler, created when first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...backoff import BackoffFunction
from ..attempts.attempts import Attempts
from ..attempts.deadlines import Deadlines
from ..attempts.executor import Executor
from ..attempts.handler import Kind
from .asyncio_executor import AsyncioExecutor, HandlerJobs
from .process_executor import ProcessExecutor
from .threads import ThreadExecutor


class Executors:
    """Creates and keeps the executors. ``prefix``: the queue's; ``handler_jobs()``: creates the async job factory."""

    def __init__(
        self,
        prefix: str,
        attempts: Attempts,
        deadlines: Deadlines,
        backoffs: Mapping[str, BackoffFunction],
        handler_jobs: Callable[[], HandlerJobs],
    ) -> None:
        self._prefix, self._attempts, self._deadlines = prefix, attempts, deadlines
        self._backoffs, self._handler_jobs = backoffs, handler_jobs
        self._made: dict[Kind, Executor] = {}
        #: Executors whose event loop is blocked.
        self._abandoned: list[Executor] = []
        self._after_delivery: list[Callable[[], object]] = []

    def get(self, kind: Kind) -> Executor:
        """Return the executor for a kind of handler."""
        executor = self._made.get(kind)
        if executor is None:
            executor = self._made[kind] = self._new(kind)
        return executor

    def delivered(self) -> None:
        """Start the attempts queued by a delivery; called without the engine's lock."""
        for begin in list(self._after_delivery):
            begin()

    def has_leftovers(self) -> bool:
        """Return whether a handler is still running after its attempt has ended."""
        return any(executor.has_leftovers() for executor in (*self._made.values(), *self._abandoned))

    def stop(self) -> None:
        for executor in list(self._made.values()):
            executor.stop()

    def _new(self, kind: Kind) -> Executor:
        attempts = self._attempts
        if kind is Kind.ASYNCIO:
            executor = AsyncioExecutor(
                attempts.all_ended, self._backoffs, attempts.holds, self._handler_jobs(), self._abandon
            )
            self._after_delivery.append(executor.begin_started)
            return executor
        if kind is Kind.PROCESS:
            return ProcessExecutor(
                self._prefix, attempts.ended, self._backoffs, attempts.set_ready, self._deadlines.wait
            )
        return ThreadExecutor(attempts.all_ended, self._backoffs, attempts.holds)

    def _abandon(self, executor: AsyncioExecutor) -> None:
        """An executor's event loop is blocked: the next attempt creates a new executor."""
        self._abandoned.append(executor)
        self._made.pop(Kind.ASYNCIO, None)
        self._after_delivery.remove(executor.begin_started)
