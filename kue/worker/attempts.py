"""The attempts of this process: from the reservation that took the job until Redis has been told how it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import job as jobs
from ..errors import JobCancelled, JobInterrupt, JobTimeout, WorkerStopping
from ..storage.keys import id_of
from ..storage.script_values import Outcome, ReservedJob, ScriptResult
from ..storage.scripts import Scripts
from .attempt_log import log_interrupt, log_outcome
from .execution import Context, Execution
from .executors.executor import Executor
from .handler import Kind
from .outcomes import not_runnable, released
from .slots import Slot, TypeSlots

log = logging.getLogger("kue.worker")

#: Seconds until jobs of a type are fetched again for which no thread could be started.
NO_THREAD_S = 1.0
#: Revocations kept for attempts that are not known yet.
EARLY_MAX = 1000


class Ended(NamedTuple):
    """An attempt that is over here, and of which Redis is to be told. ``type`` is that of its slot."""

    type: str
    outcome: Outcome


class Attempts:
    """Begins attempts, hands them to executors, and stops those that have lost their jobs.

    ``types`` and ``cond`` are the engine's; ``context(type)`` gives what a handler may steer, ``executor(kind)`` what
    runs it; ``isolates(execution)`` tells whether it is begun apart, as suspects are. Tokens of this process begin with
    ``token_prefix``.
    """

    def __init__(
        self,
        types: Mapping[str, TypeSlots],
        cond: threading.Condition,
        worker: str,
        token_prefix: str,
        *,
        make_job: Callable[[int | str, dict[str, str]], jobs.Job],
        context: Callable[[str], Context],
        executor: Callable[[Kind], Executor],
        isolates: Callable[[Execution], bool] = lambda execution: False,
    ) -> None:
        self._types, self._cond, self._worker, self._token_prefix = types, cond, worker, token_prefix
        self._make_job, self._context = make_job, context
        self._executor, self._isolates = executor, isolates
        #: The attempts that run, by job id. One that is not here has ended, whatever its handler still does.
        self.running: dict[str, Execution] = {}
        #: Attempts that ended since this process began, by type and verb ("complete", "fail", "release").
        self.finished: Counter[tuple[str, str]] = Counter()
        self._ended: list[Ended] = []
        self._sent: list[Ended] = []
        self._lost: deque[Execution] = deque()
        #: Tokens that were revoked before the reply that brought them was taken in.
        self._early: dict[str, None] = {}

    # What there is; under the lock, except ``leases`` and ``busy``

    def running_ids(self) -> list[int | str]:
        return [execution.job.id for execution in self.running.values() if execution.job.id is not None]

    def holds(self, execution: Execution) -> bool:
        """Tell whether an attempt has not ended."""
        return self.running.get(str(execution.job.id)) is execution

    def is_busy(self, job_type: str | None) -> bool:
        """Tell whether an attempt (of a type) runs, or ended without an acknowledgement."""
        types = [execution.type for execution in self.running.values()]
        types += [each.type for each in (*self._ended, *self._sent)]
        return bool(types) if job_type is None else job_type in types

    def leases(self) -> dict[str, str]:
        """Return the tokens whose leases are to be renewed, by job id. The heartbeat's OS thread asks, without a lock.

        A job may be here twice: in an attempt that was not acknowledged yet, and in its next one, which goes first.
        """
        running = {job_id: execution.job._token for job_id, execution in list(self.running.items())}
        # In this order, since attempts go from the first to the last meanwhile.
        unacknowledged = [*list(self._ended), *list(self._sent)]
        return {outcome.job_id: outcome.token for _, outcome in unacknowledged} | running

    def busy(self) -> Counter[str]:
        """Return how many attempts of each type run; without a lock, as ``leases``."""
        return Counter(execution.type for execution in list(self.running.values()))

    # Acknowledging; all under the lock

    @property
    def unacknowledged(self) -> int:
        """How many attempts have ended of which no call under way tells Redis."""
        return len(self._ended)

    def send(self, count: int) -> list[Ended]:
        """Return up to ``count`` ended attempts for a call to Redis."""
        ended = self._ended[:count]
        self._sent = [*self._sent, *ended]
        self._ended = self._ended[count:]
        return ended

    def acknowledged(self, sent: Sequence[Ended], codes: Sequence[int]) -> None:
        """The call was answered, with a code for each attempt; none if it was repeated."""
        self._forget_sent(sent)
        for (_, outcome), code in zip(sent, codes, strict=False):
            if code < ScriptResult.DONE:
                log.warning("Job %s: outcome (%s) discarded, its lease was already lost", outcome.job_id, outcome.verb)

    def not_sent(self, sent: Sequence[Ended]) -> None:
        """The call could not be made: what it carried goes with the next."""
        self._ended = [*sent, *self._ended]
        self._forget_sent(sent)

    def _forget_sent(self, sent: Sequence[Ended]) -> None:
        gone = set(map(id, sent))
        self._sent = [each for each in self._sent if id(each) not in gone]

    # Running

    def begin(
        self, reserved: ReservedJob, slots: dict[int, tuple[str, Slot]], now_ms: int, *, is_stopped: bool
    ) -> Execution | None:
        """Begin an attempt in the slot that it was reserved for, which leaves ``slots``; None if it is over already.

        Called under the lock; ``spawn`` then lets it run.
        """
        job_id, token = reserved.job_id, reserved.token
        name, slot = slots.get(reserved.slot, (reserved.fields.get("type", ""), None))
        if slot is None or is_stopped or self._types[name].draining:
            # The type was drained after the call had left; or a field was changed by which a lost reply is found again.
            self._ended.append(Ended(name, released(job_id, token, "its worker takes no more")))
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
        if token in self._early:  # revoked already
            del self._early[token]
            self._settle(execution, None)
            return None
        return execution

    def spawn(self, execution: Execution) -> None:
        """Let an attempt run by the executor of its handler."""
        try:
            if not self._isolates(execution):
                self._executor(execution.handler.kind).start(execution)
        except Exception as exc:  # no thread can be started
            log.error("Job %s: cannot start a thread (%s); released", execution.job.id, exc)
            execution.job._interrupt = WorkerStopping()
            self._settle(execution, released(str(execution.job.id), execution.job._token, "no thread for it"))
            known = self._types[execution.type]
            known.back_off(NO_THREAD_S, known.generation)

    def set_ready(self, job_type: str, is_ready: bool) -> None:
        """Note whether an executor can begin attempts of a type: if not, its jobs are not fetched."""
        with self._cond:
            self._types[job_type].is_ready = is_ready
            self._cond.notify_all()

    def ended(self, execution: Execution, outcome: Outcome | None) -> None:
        """Take in how an attempt ended, from its executor; None if there is nothing left to say about its job."""
        self.all_ended([(execution, outcome)])

    def all_ended(self, ended: Sequence[tuple[Execution, Outcome | None]]) -> None:
        """The same for several attempts, which are settled in one step."""
        now = time.monotonic()
        for execution, outcome in ended:
            if outcome is not None and self.running.get(str(execution.job.id)) is execution:
                self._log(execution, outcome, now - execution.started_at)
        with self._cond:
            for execution, outcome in ended:
                self._end(execution, outcome)
            self._cond.notify_all()

    def _log(self, execution: Execution, outcome: Outcome, run_s: float) -> None:
        try:
            log_outcome(execution.job, execution.type, outcome, execution.error, run_s)
        except Exception:  # of an application's filter, or a hash that another program wrote: no reason to fail the job
            log.exception("Job %s: cannot log its outcome", execution.job.id)

    def _settle(self, execution: Execution, outcome: Outcome | None) -> None:
        """End an attempt, once: with an outcome, or without if it lost its job. Its slot is free."""
        with self._cond:
            self._end(execution, outcome)
            self._cond.notify_all()

    def _end(self, execution: Execution, outcome: Outcome | None) -> None:
        job_id = str(execution.job.id)
        if self.running.get(job_id) is not execution:
            return
        if outcome is not None:
            self.finished[execution.type, outcome.verb] += 1
            self._ended.append(Ended(execution.type, outcome))  # first: the lease is renewed at any moment
        del self.running[job_id]
        self._types[execution.type].release(execution.slot)

    # Stopping

    def revoke(self, job_id: str, token: str, reason: str) -> None:
        """Stop the attempt with that token: an operator, a ttl or a rescue took its job."""
        with self._cond:
            execution = self.running.get(job_id)
            if execution is None or execution.job._token != token:
                # Not of the attempt that runs here: of one that ended, or of one that is about to begin.
                if token.startswith(self._token_prefix):
                    self._early[token] = None
                    if len(self._early) > EARLY_MAX:
                        del self._early[next(iter(self._early))]
                return
        log_interrupt(execution.job, execution.type, reason, time.monotonic() - execution.started_at)
        self._stop(execution, JobTimeout("ttl exceeded") if reason == "timeout" else JobCancelled(reason))

    def lost(self, tokens: Mapping[str, str]) -> None:
        """Note that leases are gone. Called in the heartbeat's OS thread: nothing here may wait for a green lock."""
        for job_id, token in tokens.items():
            execution = self.running.get(job_id)
            if execution is not None and execution.job._token == token and execution.job._interrupt is None:
                execution.job._interrupt = JobCancelled("the lease was lost")
                self._lost.append(execution)

    def stop_lost(self) -> None:
        """Stop the attempts whose leases are gone; called now and then, in a thread of the engine's kind."""
        while self._lost:
            execution = self._lost.popleft()
            log_interrupt(execution.job, execution.type, "lost", time.monotonic() - execution.started_at)
            self._stop(execution, JobCancelled("the lease was lost"))

    def release(self) -> None:
        """Stop all attempts that run; their jobs wait again."""
        with self._cond:
            running = list(self.running.values())
        for execution in running:
            self._settle(execution, released(str(execution.job.id), execution.job._token))
            self._interrupt(execution, WorkerStopping())

    def release_all(self, client: Any, scripts: Scripts) -> None:
        """Tell Redis at once of what has ended, and release what runs: in an OS thread, without any lock."""
        for _, outcome in (*list(self._sent), *list(self._ended)):
            scripts.acknowledge(client, outcome)
        for job_id, execution in list(self.running.items()):
            scripts.acknowledge(client, released(job_id, execution.job._token))

    def _stop(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop an attempt that has lost its job; its slot is free at once."""
        self._settle(execution, None)
        self._interrupt(execution, exc)

    def _interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        execution.job._interrupt = exc
        self._executor(execution.handler.kind).interrupt(execution, exc)
