"""Events over pub/sub: a queue's listener receives the events of all processes and calls handlers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

from ..concurrency import bridge, green
from ..connection.connector import Connector
from ..connection.subscription import UNREQUIRED_S, Subscription
from ..errors import KueError
from ..states import COMPLETE, FAILED, TERMINAL_EVENTS
from ..storage.codec import utf8
from ..storage.hash_fields import read_result
from ..storage.keys import Keys
from .handler_thread import Handlers, HandlerThread, Registration

#: Number of jobs with listeners at which ended ones are looked for, and batch size of that check.
SWEEP_FROM, SWEEP_BATCH = 1000, 500
#: Pause before a failed check is repeated, seconds: first and longest.
SWEEP_AGAIN_S, SWEEP_AGAIN_MAX_S = 0.5, 10.0
#: Maximum number of events kept during a save with listeners.
CAPTURE_MAX = 100_000

#: The fields of a job that describe how it ended.
ENDING = ("type", "state", "started_at", "result", "exact_result", "error")
#: Maximum number of digits of an id: Python refuses to parse numbers of thousands of digits.
ID_DIGITS_MAX = 18
#: Maximum nesting depth of an event's arguments.
DEPTH_MAX = 200

#: The start of a message as every Kue writes it; other JSON takes the slow path.
_HEAD = re.compile(r'\{"id":(?:(\d+)|"([^"\\]*)"),"event":"([^"\\]*)","args":\[')

#: A surrogate in JSON's notation.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Event:
    """Something that happened to a job: its ``id`` (None for "resync"), the ``event``'s name, and its ``args``."""

    __slots__ = ("_args", "_message", "event", "id")

    def __init__(self, id: int | str | None, event: str, args: list[Any] | None = None, message: str = "") -> None:
        self.id, self.event, self._args, self._message = id, event, args, message

    @property
    def args(self) -> list[Any]:
        """The arguments as on the wire, without the repeated event name. Parsed at first access."""
        if self._args is None:
            self._args = _args_of(self._message, self.event)
        return self._args

    def __repr__(self) -> str:
        return f"Event(id={self.id!r}, event={self.event!r}, args={self.args!r})"


Handler = Callable[..., object]

#: Not from the wire: the connection was lost and restored, so events may have been missed.
RESYNC = Event(None, "resync", [])


def parse(message: str) -> Event | None:
    """Return the event in a message of the channel, or None if it is not one."""
    head = _HEAD.match(message)
    if head is not None:
        number, text, event = head.groups()
        return Event(_id(number or text), event, None, message)
    try:
        value = json.loads(message)
        job_id, event = value["id"], value["event"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if isinstance(job_id, str):
        job_id = _id(job_id)
    if not isinstance(event, str) or isinstance(job_id, bool) or not isinstance(job_id, (int, str)):
        return None
    if utf8(event) != event or utf8(str(job_id)) != str(job_id):
        return None
    return Event(job_id, event, None, message)


def _args_of(message: str, event: str) -> list[Any]:
    """Return a message's arguments; none if they cannot be parsed or re-encoded. NaN and Infinity become None."""
    try:
        args = json.loads(message, parse_constant=lambda _: None, parse_float=_finite).get("args")
        if message.count("[") + message.count("{") > DEPTH_MAX and not _is_shallow(args):
            return []
        if _SURROGATE.search(message):  # a lone surrogate, which cannot be encoded as UTF-8
            args = json.loads(json.dumps(args, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []
    if not isinstance(args, list):
        return []
    return args[1:] if args and args[0] == event else args


def _is_shallow(value: Any) -> bool:
    """Return whether a value is shallow enough for any JSON encoder."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _id(text: str) -> int | str:
    """Return an id in the library's form: Node's API writes numbers as strings."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX else text


class Listener:
    """The subscription of one queue. It starts with the first listener.

    The thread that reads the subscription runs no user handlers: these run in a separate thread, one after another,
    without the lock. So a slow handler only delays other handlers, and handlers may call anything.
    """

    def __init__(
        self, connector: Connector, channel: str, ended: Callable[[list[int | str]], list[Event]]
    ) -> None:
        self._subscription = self._new_subscription(connector, channel)
        self._handlers = self._new_handlers()
        self._lock = threading.RLock()
        self._all: list[Registration] = []
        self._by_event: dict[str, list[Registration]] = {}
        self._by_job: dict[int | str, list[Registration]] = {}
        #: Callbacks of ``wait``, called immediately by the reading thread.
        self._waits: dict[int | str, list[Handler]] = {}
        self._captures: list[list[Event]] = []
        #: Returns the last events of those jobs with the given ids that have ended.
        self._ended = ended
        self._sweep_at = SWEEP_FROM

    def start(self) -> None:
        """Subscribe if needed; return after Redis has confirmed. Raises QueueUnavailable."""
        self._subscription.start()

    def stop(self) -> None:
        self._subscription.stop()

    # Overridden for asyncio

    def _new_subscription(self, connector: Connector, channel: str) -> Subscription:
        return Subscription(connector, channel, self.dispatch, self._resync)

    def _new_handlers(self) -> Handlers:
        return HandlerThread(self._resync)

    def _spawn(self, fn: Callable[..., object], *args: object) -> None:
        green.spawn(fn, *args)

    # Registering

    def subscribe(self, fn: Callable[[Event], object], required: bool = True) -> Callable[[], None]:
        """Call ``fn(event)`` for every event of the queue; return a function that unsubscribes."""
        if required:
            self.start()
        else:
            self._subscription.start(UNREQUIRED_S, required=False)
        registration = Registration("*", fn)
        with self._lock:
            self._all = [*self._all, registration]

        def unsubscribe() -> None:
            registration.active = False
            with self._lock:
                self._all = [each for each in self._all if each is not registration]

        return unsubscribe

    def on(self, event: str, fn: Handler) -> None:
        """Call ``fn(id, *args)`` for each ``event`` of any job."""
        self.start()
        with self._lock:
            self._by_event[event] = [*self._by_event.get(event, ()), Registration(event, fn)]

    def on_job(self, job_id: int | str, event: str, fn: Handler) -> None:
        """Call ``fn(*args)`` for each ``event`` ("*": any, with the event first) of one job, up to its last."""
        self.start()
        with self._lock:
            self._by_job.setdefault(job_id, []).append(Registration(event, fn))
            self._sweep_if_many()

    @contextmanager
    def waiting(self, job_id: int | str, fn: Handler) -> Iterator[None]:
        """Call ``fn(event, *args)`` for each event of one job, immediately in the reading thread: it must be quick."""
        self.start()
        with self._lock:
            self._waits[job_id] = [*self._waits.get(job_id, ()), fn]
        try:
            yield
        finally:
            with self._lock:
                left = [each for each in self._waits[job_id] if each is not fn]
                if left:
                    self._waits[job_id] = left
                else:
                    del self._waits[job_id]

    @contextmanager
    def capture(self) -> Iterator[Callable[[int | str, list[tuple[str, Handler]]], None]]:
        """Keep events while a job is created, so that handlers registered before its id is known miss none.

        Yields ``attach(job_id, handlers)``, which delivers the kept events of that job and registers the handlers.
        """
        self.start()
        kept: list[Event] = []
        with self._lock:
            self._captures.append(kept)

        def attach(job_id: int | str, handlers: list[tuple[str, Handler]]) -> None:
            with self._lock:  # the lock keeps new events behind the kept ones
                self._by_job.setdefault(job_id, []).extend(Registration(event, fn) for event, fn in handlers)
                self._sweep_if_many()
                for event in kept:
                    if event.id == job_id and job_id in self._by_job:
                        self._dispatch_to_job(event)

        try:
            yield attach
        finally:
            with self._lock:
                self._captures = [each for each in self._captures if each is not kept]

    # Dispatching

    def dispatch(self, messages: Iterable[str]) -> None:
        """Parse the channel's messages and call the handlers of their events."""
        waits: list[tuple[Handler, Event]] = []
        with self._lock:
            for message in messages:
                event = parse(message)
                if event is not None:
                    self._dispatch_event(event)
                    waits += [(fn, event) for fn in self._waits.get(event.id, ())] if event.id is not None else []
        for fn, event in waits:
            fn(event.event, *event.args)

    def _resync(self) -> None:
        with self._lock:
            for registration in self._all:
                self._handlers.put(registration, RESYNC)
            for handlers in self._by_job.values():
                for registration in handlers:
                    if registration.event == "*":
                        self._handlers.put(registration, RESYNC.event)
            waits = [fn for each in self._waits.values() for fn in each]
            sweep = bool(self._by_job)
        for fn in waits:
            fn(RESYNC.event)
        if sweep:
            self._spawn(self._sweep, True)

    def _sweep_if_many(self) -> None:
        """Forget jobs whose last event was missed, whenever the number of jobs with listeners has doubled."""
        if len(self._by_job) >= self._sweep_at:
            self._sweep_at = 2 * len(self._by_job)
            self._spawn(self._sweep, False)

    def _sweep(self, tell: bool) -> None:
        """Check which jobs with listeners have ended. With ``tell``, deliver their lost last event."""
        with self._lock:
            ids = list(self._by_job)
        pause_s = SWEEP_AGAIN_S
        while ids:
            try:
                found = self._ended(ids[:SWEEP_BATCH])
            except KueError:
                if not tell or self._subscription.stopping:
                    break  # checked again when there are more jobs
                bridge.sleep(pause_s)  # nothing else would deliver the lost events
                pause_s = min(2 * pause_s, SWEEP_AGAIN_MAX_S)
                continue
            ids = ids[SWEEP_BATCH:]
            with self._lock:
                for event in found:
                    if tell and event.id in self._by_job:
                        self._dispatch_to_job(event)
                    elif event.id is not None:
                        self._by_job.pop(event.id, None)
        with self._lock:
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._by_job))

    def _dispatch_event(self, event: Event) -> None:
        for kept in self._captures:
            if len(kept) < CAPTURE_MAX:
                kept.append(event)
        if self._handlers.overflows():
            return  # the handlers get "resync" when they have caught up
        for registration in self._all:
            self._handlers.put(registration, event)
        for registration in self._by_event.get(event.event, ()):
            self._handlers.put(registration, event.id, args_of=event)
        if event.id in self._by_job:
            self._dispatch_to_job(event)

    def _dispatch_to_job(self, event: Event) -> None:
        assert event.id is not None
        for registration in self._by_job[event.id]:
            if registration.event == event.event:
                self._handlers.put(registration, args_of=event)
            elif registration.event == "*":
                self._handlers.put(registration, event.event, args_of=event)
        if event.event in TERMINAL_EVENTS:
            self._by_job.pop(event.id, None)


def last_events(client: Any, keys: Keys, job_ids: list[int | str]) -> list[Event]:
    """Return the last event of each of these jobs that has ended, rebuilt from the job's hash."""
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
    """Return the message of a stored error: its first line, without the exception's name, if any."""
    line = (error or "").partition("\n")[0]
    name, colon, message = line.partition(": ")
    return message if colon and name.isidentifier() else line
