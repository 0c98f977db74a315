"""The engine: reserve, execute, acknowledge. One a process, whatever the number of types.

Two pumps talk to Redis in turn: while the call of one is under way, attempts end and slots become free, and go out with
the call of the other. So ten busy handlers cost one round trip for several jobs, and Redis works while they do. A
waiter blocks on the tokens of the types that have free slots and, as far as is known, no jobs, and brings the first.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from redis.exceptions import RedisError, ResponseError

from .. import job as jobs
from ..backoff import BackoffFunction
from ..concurrency import green
from ..concurrency.essential import repeat, run_essential
from ..connection.connector import Connector
from ..connection.dedicated import DedicatedConnection
from ..connection.subscription import Subscription
from ..errors import JobCancelled, JobInterrupt, JobTimeout, WorkerStopping
from ..storage.codec import check_concurrency
from ..storage.keys import id_of
from ..storage.script_values import RENEW, RESUMED, FetchResult, Outcome, ReservedJob, ScriptResult
from ..storage.scripts import Scripts
from ..storage.worker_records import TypeInfo
from .error_reports import ErrorReports
from .execution import Context, Execution, arity, handed_back, not_runnable
from .heartbeat import Heartbeat
from .idle_wait import Waiter, until_paused_ends
from .registry import Registry
from .round_trip import Ask, Caller
from .slots import Slot, TypeSlots

log = logging.getLogger("kue.worker")

#: Seconds until a type that was found paused, or broken, is asked for again. ``resume`` tells workers at once.
PAUSED_S = 1.0
#: Calls to Redis that may be under way at once.
PUMPS = 2
#: Seconds between two looks whether the process is registered, before it takes its first job.
KNOWN_S = 0.002
#: Seconds that the first call for jobs waits at most for the subscription that tells of jobs taken away.
REVOCATIONS_S = 1.0
#: Process ids up to this are those of the kernel and of the first services, except in a container.
CONTAINER_PID_MAX = 300
#: Revocations kept for attempts that are not known yet.
EARLY_MAX = 1000
#: Acknowledgements that one call carries at most.
ACKS_MAX = 500
#: Seconds that a stop waits for Redis to take back what still ran.
RELEASE_S = 2.0


class Engine:
    """Runs the handlers of one queue in this process."""

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        *,
        make_job: Callable[[int | str, dict[str, str]], jobs.Job],
        backoffs: Mapping[str, BackoffFunction],
        lease_ms: int,
        on_error: Callable[[BaseException], object],
    ) -> None:
        self._scripts, self._make_job, self._backoffs = scripts, make_job, backoffs
        self._id, self._calls = uuid.uuid4().hex[:8], 0
        self.worker = worker_name(socket.gethostname(), os.getpid(), self._id)
        self._cond = threading.Condition()
        self._types: dict[str, TypeSlots] = {}
        self._slots = 0
        self._finished: list[tuple[str, Outcome]] = []  # each with the type of its slot
        self.running: dict[str, Execution] = {}
        self._given_away: deque[Execution] = deque()
        #: Tokens that were revoked before the answer that brought them was taken in.
        self._early: dict[str, None] = {}
        #: The calls that are under way.
        self._asks: list[Ask] = []
        self._started = self._stopped = False
        self._reports = ErrorReports(on_error)
        self._caller = Caller(connector, scripts, self.worker, lease_ms, self._reports)
        self._wake_name = f"{self.worker}:{self._id}"
        self._wake_key = scripts.keys.wake(self._wake_name)
        self._waiter = Waiter(
            self._caller,
            scripts.keys,
            self._wake_key,
            self._types,
            self._cond,
            self._ask_for_one,
            self._take,
            self._take_back,
        )
        self.registry = Registry(scripts, self.worker, self._describe)
        self.heartbeat = Heartbeat(connector, scripts, lease_ms, self._lost, self.registry.beat)
        self._revocations = Subscription(connector, scripts.keys.revoked, self._revoked, self._resync)

    # What the queue asks of it

    def process(self, job_type: str, concurrency: int, handler: Callable[..., Any]) -> None:
        """Add ``concurrency`` slots for a type; a second call for the same type adds to the first."""
        check_concurrency(concurrency)
        wanted = arity(handler)
        with self._cond:
            known = self._types.setdefault(job_type, TypeSlots(job_type))
            known.add(range(self._slots + 1, self._slots + 1 + concurrency), handler, wanted)
            self._slots += concurrency
            self._start()
            self._cond.notify_all()
        self.heartbeat.beat_soon()

    def concurrency(self, job_type: str, count: int | None = None) -> int:
        """Return how many slots a type has; with ``count``, change that first. Running jobs are left alone."""
        with self._cond:
            known = self._types[job_type]
            if count is not None:
                self._slots += known.resize(check_concurrency(count), self._slots + 1)
                self._cond.notify_all()
                self.heartbeat.beat_soon()
            return known.concurrency

    def types(self) -> dict[str, int]:
        """Return the types that this process works on, with their slots."""
        with self._cond:
            return {name: known.concurrency for name, known in self._types.items()}

    def running_ids(self) -> list[int | str]:
        with self._cond:
            return [execution.job.id for execution in self.running.values() if execution.job.id is not None]

    def pause(self, job_type: str) -> None:
        """Take no new job of a type in this process."""
        with self._cond:
            self._types[job_type].quiet = True
            self._waiter.expect_leave()
            self._cond.notify_all()
        self.heartbeat.beat_soon()

    def resume(self, job_type: str) -> None:
        with self._cond:
            self._types[job_type].quiet = False
            self._types[job_type].ask_again()
            self._cond.notify_all()
        self.heartbeat.beat_soon()

    def quiet(self, job_type: str | None = None) -> None:
        """Take no new job; what runs goes on. May be called twice."""
        with self._cond:
            for known in self._types.values():
                if job_type in (None, known.name):
                    known.quiet = True
            self._waiter.expect_leave()
            self._cond.notify_all()

    def drain(self, timeout_s: float | None, job_type: str | None = None) -> bool:
        """Wait until nothing runs and all is acknowledged; return whether that came true in time."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        with self._cond:
            while self._busy(job_type):
                left = 1.0 if give_up is None else give_up - time.monotonic()
                if left <= 0:
                    return False
                self._cond.wait(min(left, 1.0))
        return True

    def stop(self, timeout_s: float | None = 10.0) -> None:
        """Take no new job, wait for those that run, hand back what still runs after ``timeout_s``. Twice is fine."""
        self.quiet()
        if not self.drain(timeout_s):
            with self._cond:
                self._caller.give_up_at = time.monotonic() + RELEASE_S
                left = list(self.running.values())
            for execution in left:
                job = execution.job
                self._settle(execution, handed_back(str(job.id), job._token))
                execution.interrupt(WorkerStopping())
            self.drain(RELEASE_S)
        with self._cond:
            self._stopped = True
            self._cond.notify_all()
        self._waiter.stop()
        self.heartbeat.stop(self._leave)
        self._revocations.stop()

    def hand_back(self) -> bool:
        """Hand back what runs, for a process that is about to be ended: in a true thread, without any lock.

        Returns whether Redis has taken it.
        """
        connection = self._caller.connection(RELEASE_S)
        try:
            for job_id, token in list(self.heartbeat.tokens.items()):
                self._scripts.acknowledge(connection.client, handed_back(job_id, token))
            self._leave(connection.client)
        except (RedisError, OSError) as exc:
            log.error("jobs could not be handed back (%s); they run again when their leases lapse", exc)
            return False
        return True

    def _leave(self, client: Any) -> None:
        self.registry.leave(client)
        client.delete(self._wake_key)

    def _busy(self, job_type: str | None) -> bool:
        if job_type is not None:
            ended = [*self._finished, *(outcome for ask in self._asks for outcome in ask.outcomes)]
            return (
                any(e.type == job_type for e in self.running.values())
                or any(name == job_type for name, _ in ended)
                or any(job_type in ask.slots for ask in self._asks)
                or self._waiter.holds(job_type)
            )
        return bool(self.running or self._finished or self._asks) or self._waiter.holds(None)

    # The pumps

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        for _ in range(PUMPS):
            green.spawn(run_essential, "pump", self._pump)
        self._waiter.start()
        self._revocations.start(0, required=False)
        self.heartbeat.start()

    def _pump(self) -> None:
        connection = self._caller.connection()
        while not (self.heartbeat.known or self._stopped):
            green.sleep(KNOWN_S)  # a true thread cannot wake a green one
        self._revocations.wait(REVOCATIONS_S)
        repeat("the calls for jobs", lambda: self._step(connection))
        connection.disconnect()

    def _step(self, connection: DedicatedConnection) -> bool:
        wake, ask = self._next_ask()
        if wake:
            self._caller.wake(connection, self._wake_name)
        if ask is not None:
            try:
                turn = self._caller.call(connection, ask)
            except Exception:
                self._take_back(ask)
                raise
            self._take(ask, turn)
            green.sleep()  # short jobs are over by now and go out with the next call
        return wake or ask is not None

    def _next_ask(self) -> tuple[bool, Ask | None]:
        """Wait until there is something to say to Redis: to wake the waiter, a call, or both. Neither: stopped."""
        with self._cond:
            while not self._stopped:
                wake = self._waiter.claim_wake()
                share = self._share(len(self._finished))
                outcomes, self._finished = self._finished[:share], self._finished[share:]
                touched = {name for name, _ in outcomes}
                asking = [
                    known
                    for known in self._types.values()
                    if known.wants() or (known.name in touched and known.free and not known.quiet)
                ]
                if outcomes or asking:
                    slots = {known.name: known.lend(share if known.name in touched else None) for known in asking}
                    ask = self._make_ask(outcomes, slots)
                    self._asks.append(ask)
                    return wake, ask
                if wake:
                    return True, None
                self._cond.wait(until_paused_ends(self._types))
        return False, None

    def _ask_for_one(self, types: Iterable[TypeSlots]) -> Ask:
        """Return the waiter's question: one job of each type; called under the lock."""
        return self._make_ask([], {known.name: known.lend(1) for known in types})

    def _make_ask(self, outcomes: list[tuple[str, Outcome]], slots: dict[str, list[Slot]]) -> Ask:
        self._calls += 1
        signals = {name: self._types[name].signals for name in slots}
        return Ask(outcomes, slots, signals, f"{self._id}{self._calls:x}")

    def _share(self, finished: int) -> int:
        """Return how many acknowledgements the next call carries: half of them, if no other call is under way.

        With all of them in one call, the handlers would wait while Redis works, and Redis while they do.
        """
        return min(ACKS_MAX, finished if self._asks else (finished + 1) // 2)

    def _take_back(self, ask: Ask) -> None:
        """A call could not be made, by a fault of ours: what it carried goes with the next."""
        with self._cond:
            self._finished[:0] = ask.outcomes
            for name, lent in ask.slots.items():
                for slot in lent:
                    self._types[name].give_back(slot)
                self._types[name].ask_again()
            self._asks = [each for each in self._asks if each is not ask]
            self._cond.notify_all()

    def _take(self, ask: Ask, turn: FetchResult) -> None:
        """Take in the answer: forget what was acknowledged, start what was reserved, give back the slots left over."""
        starting: list[Execution] = []
        with self._cond:
            slots = {slot.number: (name, slot) for name, lent in ask.slots.items() for slot in lent}
            try:
                for at, (_, outcome) in enumerate(ask.outcomes):
                    self.heartbeat.forget(outcome.job_id, outcome.token)
                    if at < len(turn.codes) and turn.codes[at] < ScriptResult.DONE:
                        log.warning("%s job %s: the attempt had lost it", outcome.verb, outcome.job_id)
                for reserved in turn.jobs:
                    execution = self._begin(reserved, slots, turn.now_ms)
                    if execution is not None:
                        starting.append(execution)
                for name, before in ask.signals.items():
                    known = self._types[name]
                    if name in turn.paused or name in turn.broken:
                        known.hold_off(PAUSED_S, before)
                    else:
                        known.take_answer(name in turn.more, before)
            finally:
                for name, slot in slots.values():
                    self._types[name].give_back(slot)
                self._asks = [each for each in self._asks if each is not ask]
                for execution in starting:  # before the pumps wake: they come after the handlers then
                    self._spawn(execution)
                self._cond.notify_all()
        for name, wrong in turn.broken.items():
            if wrong:
                self._reports.tell(f"jobs of type {name} cannot be taken", ResponseError(wrong))

    def _begin(self, reserved: ReservedJob, slots: dict[int, tuple[str, Slot]], now_ms: int) -> Execution | None:
        """Begin an attempt in the slot that it was reserved for, which leaves ``slots``; None if it is over already."""
        job_id, token = reserved.job_id, reserved.token
        self.heartbeat.tokens[job_id] = token
        name, slot = slots.get(reserved.slot, (reserved.fields.get("type", ""), None))
        if slot is None or self._stopped or self._types[name].quiet:
            # It was told to be quiet after it had asked; or a field was changed by which a lost answer is found again.
            self._finished.append((name, handed_back(job_id, token, "its worker takes no more")))
            return None
        try:
            job = self._make_job(id_of(f"|{job_id}"), reserved.fields)
            job.state, job.started_at, job._token = "active", now_ms, token
            job.worker_id = f"{self.worker}:{name}:{slot.number}"
            context = Context(lambda: self.pause(name), lambda: self.resume(name))
            execution = Execution(job, name, slot, slot.handler, slot.arity, context)
        except Exception as exc:
            log.exception("job %s cannot be read", job_id)
            self._finished.append((name, not_runnable(job_id, token, exc)))
            return None
        del slots[reserved.slot]
        self.running[job_id] = execution
        if token in self._early:  # taken away again already
            del self._early[token]
            self._settle(execution, None)
            return None
        return execution

    def _spawn(self, execution: Execution) -> None:
        try:
            execution.task = green.spawn(self._execute, execution)
        except Exception as exc:  # no thread can be started
            log.error("start job %s: %s; it is handed back", execution.job.id, exc)
            execution.job._interrupt = WorkerStopping()
            self._settle(execution, handed_back(str(execution.job.id), execution.job._token, "no thread for it"))
            self._types[execution.type].hold_off(PAUSED_S, self._types[execution.type].signals)

    def _execute(self, execution: Execution) -> None:
        try:
            outcome = execution.run(self._backoffs)
        except BaseException as exc:  # of what comes after the handler: its slot must not be lost
            if green.is_kill(exc):
                raise
            log.exception("job %s: its end cannot be told", execution.job.id)
            outcome = not_runnable(str(execution.job.id), execution.job._token, exc)
        self._settle(execution, outcome)

    def _settle(self, execution: Execution, outcome: Outcome | None) -> None:
        """An attempt is over, with an outcome to tell or, if it lost its job, without: its slot is free. Only once."""
        with self._cond:
            if execution.settled:
                return
            execution.settled = True
            job_id = str(execution.job.id)
            if self.running.get(job_id) is execution:
                del self.running[job_id]
            if outcome is not None:
                self._finished.append((execution.type, outcome))
            else:
                self.heartbeat.forget(job_id, execution.job._token)
            self._types[execution.type].give_back(execution.slot)
            self._cond.notify_all()

    # Jobs that are taken away while they run

    def _lost(self, job_ids: list[str]) -> None:
        """The heartbeat, in its true thread, found leases gone: nothing here may wait for a green lock."""
        for job_id in job_ids:
            execution = self.running.get(job_id)
            if execution is not None and execution.job._token == self.heartbeat.tokens.pop(job_id, None):
                execution.job._interrupt = JobCancelled("the lease was lost")
                self._given_away.append(execution)

    def let_go(self) -> None:
        """Stop the attempts whose lease the heartbeat found gone; called by the upkeep, in a thread of the engine's."""
        while self._given_away:
            execution = self._given_away.popleft()
            log.warning("stop job %s: its lease was lost", execution.job.id)
            self._stop_attempt(execution, JobCancelled("the lease was lost"))

    def _describe(self) -> dict[str, TypeInfo]:
        """Tell of each type for the registry, without a lock, since the heartbeat's true thread asks."""
        busy = Counter(execution.type for execution in list(self.running.values()))
        return {
            name: TypeInfo(slots=known.concurrency, busy=busy[name], paused=known.quiet)
            for name, known in list(self._types.items())
        }

    def _revoked(self, messages: list[str]) -> None:
        for message in messages:
            if message == RESUMED:
                self._resumed()
                continue
            if message == RENEW:
                self.heartbeat.beat_soon()
                continue
            job_id, _, rest = message.partition(" ")
            token, _, reason = rest.partition(" ")
            with self._cond:
                execution = self.running.get(job_id)
                if execution is None or execution.job._token != token:
                    # Not of the attempt that runs here: of one that ended, or of one that is about to begin.
                    if token.startswith(self._id):
                        self._early[token] = None
                        if len(self._early) > EARLY_MAX:
                            del self._early[next(iter(self._early))]
                    continue
            self._stop_attempt(execution, JobTimeout("ttl exceeded") if reason == "timeout" else JobCancelled(reason))

    def _resumed(self) -> None:
        """A type may be paused no more: ask for all at once."""
        with self._cond:
            for known in self._types.values():
                known.ask_again()
            self._cond.notify_all()

    def _resync(self) -> None:
        """Messages were lost: learn from the heartbeat what was taken away, and ask for what may be paused no more."""
        self.heartbeat.beat_soon()
        self._resumed()

    def _stop_attempt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop the attempt at a job that is no longer this worker's; its slot is free at once."""
        self._settle(execution, None)
        execution.interrupt(exc)


def worker_name(host: str, pid: int, unique_id: str) -> str:
    """Return the name of a worker process, as Node's workers have it.

    In a container a process id is small, and another container may have the same host name: there ``unique_id``
    follows the process id.
    """
    return f"kue:{host}:{pid}" + (f".{unique_id}" if pid <= CONTAINER_PID_MAX else "")
