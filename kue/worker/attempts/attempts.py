"""The attempts of this process, from the job's reservation until its acknowledgement."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ... import job as jobs
from ...errors import JobCancelled, JobInterrupt, JobTimeout, WorkerStopping
from ...storage.keys import id_of
from ...storage.script_values import Outcome, ReservedJob, ScriptResult
from ...storage.scripts import Scripts
from .engine_lock import EngineLock
from .execution import Context, Execution
from .executor import Executor
from .handler import Kind
from .log import log_interrupt, log_outcome
from .outcomes import not_runnable, released
from .slots import Slot, TypeSlots

log = logging.getLogger("kue.worker")

#: Seconds until a type's jobs are fetched again after no thread could be started for one.
NO_THREAD_S = 1.0
#: Maximum number of revocations kept for attempts not known yet.
EARLY_MAX = 1000


class Ended(NamedTuple):
    """An attempt that ended and needs an acknowledgement. ``type`` is that of its slot."""

    type: str
    outcome: Outcome


class Attempts:
    """Starts attempts, passes them to executors, and stops those that have lost their jobs.

    ``types`` and ``lock`` are the engine's. ``context(type)`` returns the ``ctx`` for handlers, ``executor(kind)`` the
    executor; ``isolates(execution)`` starts a suspect separately and returns whether it did. Fencing tokens of this
    process start with ``token_prefix``.
    """

    def __init__(
        self,
        types: Mapping[str, TypeSlots],
        lock: EngineLock,
        worker: str,
        token_prefix: str,
        *,
        make_job: Callable[[int | str, dict[str, str]], jobs.Job],
        context: Callable[[str], Context],
        executor: Callable[[Kind], Executor],
        isolates: Callable[[Execution], bool] = lambda execution: False,
    ) -> None:
        self._types, self._lock, self._worker, self._token_prefix = types, lock, worker, token_prefix
        self._make_job, self._context = make_job, context
        self._executor, self._isolates = executor, isolates
        #: The running attempts, by job id. An attempt not listed has ended, even if its handler still runs.
        self.running: dict[str, Execution] = {}
        #: Attempts that ended since this process began, by type and verb ("complete", "fail", "release").
        self.finished: Counter[tuple[str, str]] = Counter()
        self._ended: list[Ended] = []
        self._sent: list[Ended] = []
        self._lost: deque[Execution] = deque()
        #: Fencing tokens revoked before the reply that contains them was processed.
        self._early: dict[str, None] = {}

    # Queries; under the lock, except ``leases`` and ``busy``

    def running_ids(self) -> list[int | str]:
        return [execution.job.id for execution in self.running.values() if execution.job.id is not None]

    def holds(self, execution: Execution) -> bool:
        """Return whether an attempt has not ended."""
        return self.running.get(str(execution.job.id)) is execution

    def is_busy(self, job_type: str | None) -> bool:
        """Return whether an attempt (of a type) runs, or ended without an acknowledgement."""
        types = [execution.type for execution in self.running.values()]
        types += [each.type for each in (*self._ended, *self._sent)]
        return bool(types) if job_type is None else job_type in types

    def leases(self) -> dict[str, str]:
        """Return the fencing tokens of the leases to renew, by job id. The heartbeat's thread calls it, without a lock.

        A job may have two: an attempt not yet acknowledged and its next attempt, which takes precedence.
        """
        running = {job_id: execution.job._token for job_id, execution in list(self.running.items())}
        # In this order, since attempts move from the first list to the last meanwhile.
        unacknowledged = [*list(self._ended), *list(self._sent)]
        return {outcome.job_id: outcome.token for _, outcome in unacknowledged} | running

    def busy(self) -> Counter[str]:
        """Return how many attempts of each type run. No lock needed, like ``leases``."""
        return Counter(execution.type for execution in list(self.running.values()))

    # Acknowledgements; all under the lock

    @property
    def unacknowledged(self) -> int:
        """The number of ended attempts that no current call acknowledges."""
        return len(self._ended)

    def send(self, count: int) -> list[Ended]:
        """Return up to ``count`` ended attempts for a call to Redis."""
        ended = self._ended[:count]
        self._sent = [*self._sent, *ended]
        self._ended = self._ended[count:]
        return ended

    def acknowledged(self, sent: Sequence[Ended], codes: Sequence[int]) -> None:
        """Handle the reply to a call: a code for each attempt, or none if the call was repeated."""
        self._forget_sent(sent)
        for (_, outcome), code in zip(sent, codes, strict=False):
            if code < ScriptResult.DONE:
                log.warning("Job %s: outcome (%s) discarded, its lease was already lost", outcome.job_id, outcome.verb)

    def not_sent(self, sent: Sequence[Ended]) -> None:
        """A call failed: send its acknowledgements with the next one."""
        self._ended = [*sent, *self._ended]
        self._forget_sent(sent)

    def _forget_sent(self, sent: Sequence[Ended]) -> None:
        gone = set(map(id, sent))
        self._sent = [each for each in self._sent if id(each) not in gone]

    # Running

    def begin(
        self, reserved: ReservedJob, slots: dict[int, tuple[str, Slot]], now_ms: int, *, is_stopped: bool
    ) -> Execution | None:
        """Start an attempt in its reserved slot and remove the slot from ``slots``. Return None if it is already over.

        Called under the lock; ``spawn`` then runs it.
        """
        job_id, token = reserved.job_id, reserved.token
        name, slot = slots.get(reserved.slot, (reserved.fields.get("type", ""), None))
        if slot is None or is_stopped or self._types[name].draining:
            # The type was drained after the call was sent, or the field that identifies a lost reply was changed.
            self._ended.append(Ended(name, released(job_id, token, "its worker takes no more jobs")))
            return None
        try:
            job = self._make_job(id_of(f"|{job_id}"), reserved.fields)
            job.state, job.started_at, job._token = "active", now_ms, token
            job.worker_id = f"{self._worker}:{name}:{slot.number}"
            execution = Execution(job, name, slot, self._context(name))
        except Exception as exc:
            log.exception("Job %s cannot be read", job_id)
            self._ended.append(Ended(name, not_runnable(job_id, token, exc)))
            return None
        del slots[reserved.slot]
        if job_id in self.running:  # its lease expired unnoticed, and this process reserved it again
            self.lost({job_id: self.running[job_id].job._token})
            self._settle(self.running[job_id], None)
        self.running[job_id] = execution
        if token in self._early:  # already revoked
            del self._early[token]
            self._settle(execution, None)
            return None
        return execution

    def spawn(self, execution: Execution) -> None:
        """Run an attempt on its handler's executor."""
        try:
            if not self._isolates(execution):
                self._executor(execution.handler.kind).start(execution)
        except Exception as exc:  # no thread could be started
            log.error("Job %s: cannot start a thread (%s); released", execution.job.id, exc)
            execution.job._interrupt = WorkerStopping()
            self._settle(execution, released(str(execution.job.id), execution.job._token, "no thread for it"))
            self._types[execution.type].hold(NO_THREAD_S)

    def set_ready(self, job_type: str, is_ready: bool) -> None:
        """Record whether an executor can start attempts of a type. If not, its jobs are not fetched."""
        with self._lock:
            self._types[job_type].is_ready = is_ready
            self._lock.notify_all()

    def ended(self, execution: Execution, outcome: Outcome | None) -> None:
        """Receive an attempt's outcome from its executor; None if it has lost its job."""
        self.all_ended([(execution, outcome)])

    def all_ended(self, ended: Sequence[tuple[Execution, Outcome | None]]) -> None:
        """Receive the outcomes of several attempts at once."""
        now = time.monotonic()
        for execution, outcome in ended:
            if outcome is not None and self.running.get(str(execution.job.id)) is execution:
                self._log(execution, outcome, now - execution.started_at)
        with self._lock:
            for execution, outcome in ended:
                self._end(execution, outcome)
            self._lock.attempts_ended(self._types[name] for name in {execution.type for execution, _ in ended})

    def _log(self, execution: Execution, outcome: Outcome, run_s: float) -> None:
        try:
            log_outcome(execution.job, execution.type, outcome, execution.error, run_s)
        except Exception:  # a user's logging filter or another program's hash: no reason to fail the job
            log.exception("Job %s: cannot log its outcome", execution.job.id)

    def _settle(self, execution: Execution, outcome: Outcome | None) -> None:
        """End an attempt once, with an outcome or (if it lost its job) without, and free its slot."""
        with self._lock:
            self._end(execution, outcome)
            self._lock.notify_all()

    def _end(self, execution: Execution, outcome: Outcome | None) -> None:
        job_id = str(execution.job.id)
        if self.running.get(job_id) is not execution:
            return
        if outcome is not None:
            self.finished[execution.type, outcome.verb] += 1
            self._ended.append(Ended(execution.type, outcome))  # first: the heartbeat may renew the lease at any moment
        del self.running[job_id]
        self._types[execution.type].release(execution.slot)

    # Stopping

    def revoke(self, job_id: str, token: str, reason: str) -> None:
        """Stop the attempt with that fencing token: an operator, its ttl or a rescue took the job."""
        with self._lock:
            execution = self.running.get(job_id)
            if execution is None or execution.job._token != token:
                # Not the running attempt: one that has ended, or one about to start.
                if token.startswith(self._token_prefix):
                    self._early[token] = None
                    if len(self._early) > EARLY_MAX:
                        del self._early[next(iter(self._early))]
                return
        log_interrupt(execution.job, execution.type, reason, time.monotonic() - execution.started_at)
        self._stop(execution, JobTimeout("ttl exceeded") if reason == "timeout" else JobCancelled(reason))

    def lost(self, tokens: Mapping[str, str]) -> None:
        """Record lost leases. Called in the heartbeat's OS thread: must not wait for a green lock."""
        for job_id, token in tokens.items():
            execution = self.running.get(job_id)
            if execution is not None and execution.job._token == token and execution.job._interrupt is None:
                execution.job._interrupt = JobCancelled("the lease was lost")
                self._lost.append(execution)

    def stop_lost(self) -> None:
        """Stop the attempts with lost leases. Called periodically, in a thread of the engine's kind."""
        while self._lost:
            execution = self._lost.popleft()
            log_interrupt(execution.job, execution.type, "lost", time.monotonic() - execution.started_at)
            self._stop(execution, JobCancelled("the lease was lost"))

    def release(self) -> None:
        """Stop all running attempts and release their jobs."""
        with self._lock:
            running = list(self.running.values())
        for execution in running:
            self._settle(execution, released(str(execution.job.id), execution.job._token))
            self._interrupt(execution, WorkerStopping())

    def release_all(self, client: Any, scripts: Scripts) -> None:
        """Acknowledge ended attempts and release running ones immediately. Runs in an OS thread, without locks."""
        for _, outcome in (*list(self._sent), *list(self._ended)):
            scripts.acknowledge(client, outcome)
        for job_id, execution in list(self.running.items()):
            scripts.acknowledge(client, released(job_id, execution.job._token))

    def _stop(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop an attempt that has lost its job, and free its slot immediately."""
        self._settle(execution, None)
        self._interrupt(execution, exc)

    def _interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        execution.job._interrupt = exc
        self._executor(execution.handler.kind).interrupt(execution, exc)
