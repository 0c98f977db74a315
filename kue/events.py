"""Events over pub/sub: one listener a queue hears what every process says, and tells those who asked here."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from . import green
from .connect import Connector
from .errors import KueError
from .fields import read_result
from .keys import Keys
from .pubsub import Subscription
from .states import COMPLETE, FAILED, TERMINAL_EVENTS

log = logging.getLogger("kue.events")

#: Jobs with listeners from which on it is looked whether they still live, and that one look takes.
SWEEP_FROM, SWEEP_BATCH = 1000, 500
#: Events kept while a save with listeners is under way.
CAPTURE_MAX = 100_000

#: The fields of a job that tell how it ended.
ENDING = ("type", "state", "started_at", "result", "exact_result", "error")

#: The beginning of a message as every Kue writes it; other JSON is read the long way.
_HEAD = re.compile(r'\{"id":(?:(\d+)|"([^"\\]*)"),"event":"([^"\\]*)","args":\[')


class Event:
    """Something that happened to a job: its ``id`` (None for "resync"), the ``event``'s name, and its ``args``."""

    __slots__ = ("_args", "_message", "event", "id")

    def __init__(self, id: int | str | None, event: str, args: list[Any] | None = None, message: str = "") -> None:
        self.id, self.event, self._args, self._message = id, event, args, message

    @property
    def args(self) -> list[Any]:
        """The arguments as on the wire, without the repeated event name; read when first asked for."""
        if self._args is None:
            self._args = _args_of(self._message, self.event)
        return self._args

    def __repr__(self) -> str:
        return f"Event(id={self.id!r}, event={self.event!r}, args={self.args!r})"


Handler = Callable[..., object]

#: Not from the wire: the connection was lost and is back, so events may have been missed.
RESYNC = Event(None, "resync", [])


def parse(message: str) -> Event | None:
    """Return the event in a message of the channel, or None if it is not one."""
    head = _HEAD.match(message)
    if head is not None:
        number, text, event = head.groups()
        return Event(int(number) if number else _id(text), event, None, message)
    try:
        value = json.loads(message)
        job_id, event = value["id"], value["event"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if isinstance(job_id, str):
        job_id = _id(job_id)
    if not isinstance(event, str) or not isinstance(job_id, (int, str)):
        return None
    return Event(job_id, event, None, message)


def _args_of(message: str, event: str) -> list[Any]:
    try:
        args = list(json.loads(message).get("args") or [])
    except (ValueError, TypeError, RecursionError):
        return []
    return args[1:] if args and args[0] == event else args


def _id(text: str) -> int | str:
    """Return an id as the library knows it: Node's API writes numbers as text."""
    return int(text) if text.isdecimal() else text


class Listener:
    """The subscription of one queue. It starts with the first interest, and runs handlers one after another."""

    def __init__(self, connector: Connector, channel: str) -> None:
        self._subscription = Subscription(connector, channel, self.dispatch, self._resync)
        self._lock = threading.RLock()
        self._all: list[Callable[[Event], object]] = []
        self._by_event: dict[str, list[Handler]] = {}
        self._by_job: dict[int | str, list[tuple[str, Handler]]] = {}
        self._captures: list[list[Event]] = []
        #: Gives the last event of each job, of those with these ids, that has ended; set by the queue.
        self.ended: Callable[[list[int | str]], list[Event]] | None = None
        self._sweep_at = SWEEP_FROM

    def start(self) -> None:
        """Subscribe, if that is not done yet; return when Redis has confirmed it. Raises QueueUnavailable."""
        self._subscription.start()

    def stop(self) -> None:
        self._subscription.stop()

    # Interest

    def subscribe(self, fn: Callable[[Event], object]) -> Callable[[], None]:
        """Call ``fn(event)`` for every event of the queue; return a function that ends it."""
        self.start()
        with self._lock:
            self._all = [*self._all, fn]

        def unsubscribe() -> None:
            with self._lock:
                self._all = [each for each in self._all if each is not fn]

        return unsubscribe

    def on(self, event: str, fn: Handler) -> None:
        """Call ``fn(id, *args)`` for each ``event`` of any job."""
        self.start()
        with self._lock:
            self._by_event[event] = [*self._by_event.get(event, ()), fn]

    def on_job(self, job_id: int | str, event: str, fn: Handler) -> None:
        """Call ``fn(*args)`` for each ``event`` ("*": any, with the event first) of one job, until its last."""
        self.start()
        with self._lock:
            self._by_job.setdefault(job_id, []).append((event, fn))
            self._sweep_if_many()

    def off_job(self, job_id: int | str, fn: Handler) -> None:
        with self._lock:
            left = [(event, each) for event, each in self._by_job.get(job_id, ()) if each is not fn]
            if left:
                self._by_job[job_id] = left
            else:
                self._by_job.pop(job_id, None)

    @contextmanager
    def capture(self) -> Iterator[Callable[[int | str, list[tuple[str, Handler]]], None]]:
        """Keep events while a job is being created, so that handlers given before its id was known miss none.

        Yields ``attach(job_id, handlers)``, which hands over what was kept of that job and registers for the rest.
        """
        self.start()
        kept: list[Event] = []
        with self._lock:
            self._captures.append(kept)

        def attach(job_id: int | str, handlers: list[tuple[str, Handler]]) -> None:
            with self._lock:  # the lock keeps new events behind the old ones
                self._by_job.setdefault(job_id, []).extend(handlers)
                self._sweep_if_many()
                for event in kept:
                    if event.id == job_id and job_id in self._by_job:
                        self._tell_job(event)

        try:
            yield attach
        finally:
            with self._lock:
                self._captures = [each for each in self._captures if each is not kept]

    # Telling

    def dispatch(self, messages: Iterable[str]) -> None:
        """Tell messages of the channel to those who asked."""
        with self._lock:
            for message in messages:
                event = parse(message)
                if event is not None:
                    self._tell(event)

    def _resync(self) -> None:
        with self._lock:
            self._tell(RESYNC)
            for handlers in list(self._by_job.values()):
                for wanted, fn in list(handlers):
                    if wanted == "*":
                        self._call(fn, RESYNC.event)
            if self._by_job:
                green.spawn(self._sweep, True)

    def _sweep_if_many(self) -> None:
        """Let go of jobs that have ended unheard, each time that the number of those listened to has doubled."""
        if len(self._by_job) >= self._sweep_at:
            self._sweep_at = 2 * len(self._by_job)
            green.spawn(self._sweep, False)

    def _sweep(self, tell: bool) -> None:
        """Look which of the jobs have ended; with ``tell``, their last event was lost and is made up for."""
        with self._lock:
            ids = list(self._by_job)
        try:
            for at in range(0, len(ids), SWEEP_BATCH):
                ended = self.ended(ids[at : at + SWEEP_BATCH]) if self.ended is not None else []
                with self._lock:
                    for event in ended:
                        if tell and event.id in self._by_job:
                            self._tell_job(event)
                        elif event.id is not None:
                            self._by_job.pop(event.id, None)
        except KueError:
            pass  # Redis is away again; it looks again when that is over
        with self._lock:
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._by_job))

    def _tell(self, event: Event) -> None:
        for kept in self._captures:
            if len(kept) < CAPTURE_MAX:
                kept.append(event)
        for fn in self._all:
            self._call(fn, event)
        for handler in self._by_event.get(event.event, ()):
            self._call(handler, event.id, *event.args)
        if event.id in self._by_job:
            self._tell_job(event)

    def _tell_job(self, event: Event) -> None:
        assert event.id is not None
        for wanted, fn in list(self._by_job[event.id]):
            if wanted == event.event:
                self._call(fn, *event.args)
            elif wanted == "*":
                self._call(fn, event.event, *event.args)
        if event.event in TERMINAL_EVENTS:
            self._by_job.pop(event.id, None)

    @staticmethod
    def _call(fn: Handler, *args: object) -> None:
        try:
            fn(*args)
        except Exception:
            log.exception("a handler of job events failed")


def last_events(client: Any, keys: Keys, job_ids: list[int | str]) -> list[Event]:
    """Return the last event of each of these jobs that has ended, made from what Redis holds of it."""
    pipe = client.pipeline(transaction=False)
    for job_id in job_ids:
        pipe.hmget(keys.job(job_id), ENDING)
    events = []
    for job_id, values in zip(job_ids, pipe.execute(), strict=True):
        raw = {name: value for name, value in zip(ENDING, values, strict=True) if value is not None}
        if "type" not in raw:
            events.append(Event(job_id, "remove", []))
        elif raw.get("state") == COMPLETE:
            events.append(Event(job_id, "complete", [read_result(raw), None]))
        elif raw.get("state") == FAILED:
            events.append(Event(job_id, "failed", [first_line(raw.get("error")), None]))
    return events


def first_line(error: str | None) -> str:
    """Return the message of a stored error: its first line, without the exception's name if there is one."""
    line = (error or "").partition("\n")[0]
    name, colon, message = line.partition(": ")
    return message if colon and name.isidentifier() else line
