"""The common part of sync and asyncio jobs: options before a job is saved, fields after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Never, Protocol, Self, TypeVar, cast

from . import backoff as backoffs
from .errors import InvalidJob, JobNotFound
from .storage.arguments import check_list, check_type
from .storage.codec import (
    check_ms,
    check_priority,
    check_whole,
    from_json,
    to_json,
)
from .storage.hash_fields import FIELDS, ON_DUPLICATE, UNTIL, JobOptions, Unique, read_options

#: The option methods; also the keyword options of ``create``.
OPTIONS = (
    "title", "priority", "attempts", "backoff", "delay", "ttl", "remove_on_complete", "search_keys", "events",
    "unique",
)  # fmt: skip
#: The members of the option ``unique`` as a mapping.
UNIQUE = ("key", "until", "for_ms", "on_duplicate")
#: What can happen to a job when one of its children fails.
ON_CHILD_FAILURE = ("fail", "ignore", "wait")


class Wait:
    """The type of ``WAIT``."""

    def __repr__(self) -> str:
        return "kue.WAIT"


#: Returned by a handler: run the job again when its children have ended. The attempt is not counted. Typed as Any, so
#: that functions with a declared result may return it.
WAIT: Final[Never] = cast(Never, Wait())


J = TypeVar("J", bound="BaseJob")


class JobOwner(Protocol[J]):
    """What a job needs from its queue; implemented in client/job_store.py."""

    #: The class of its jobs: Job, or in kue.aio AsyncJob.
    job_class: type[J]
    #: The Queue, for users: ``job.queue``.
    queue: Any
    #: Whether ``job.on`` of new jobs receives events.
    job_events: bool
    #: Backoff functions by name.
    backoffs: dict[str, backoffs.BackoffFunction]
    test_mode: Any
    #: Middleware around the creation and execution of jobs, outermost first: see kue/middleware.py.
    middlewares: list[Any]

    def create(self, made: Sequence[J]) -> None: ...
    def update(self, job: BaseJob) -> None: ...
    def read(self, job_id: int | str) -> dict[str, str]: ...
    def remove(self, job_id: int | str) -> None: ...
    def cancel(self, job_id: int | str) -> None: ...
    def create_flow(self, roots: Sequence[J], running: J | None = None, lane: str = "") -> None: ...
    def children(self, job_id: int | str) -> Iterator[list[tuple[int | str, str]]]: ...
    def children_page(self, job_id: int | str, after: int) -> tuple[list[tuple[int | str, str]], int | None]: ...
    def foremost_children(self, job_id: int | str, count: int) -> list[int | str]: ...
    def hashes(self, job_ids: Sequence[int | str]) -> list[dict[str, str]]: ...
    def listen(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None: ...
    def wait(self, job: BaseJob, timeout_s: float | None) -> Any: ...
    def log(self, job_id: int | str, token: str, line: str) -> None: ...
    def progress(self, job: BaseJob, token: str, percent: int, data: str, keep: bool) -> None: ...
    def found_by(self, job: BaseJob) -> str: ...


class BaseJob:
    """Options, fields and JSON form of a job. Nothing here calls Redis."""

    id: int | str | None
    type: str
    data: Any
    options: JobOptions
    state: str | None
    attempts_made: int
    created_at: int | None
    promote_at: int | None
    updated_at: int | None
    started_at: int | None
    failed_at: int | None
    duration: int | None
    result: Any
    error: str | None
    worker_id: str | None
    progress_percent: int
    progress_data: Any
    rescues: int
    #: Consecutive worker process deaths while running the job. After two it is a suspect, which runs alone.
    deaths: int
    attempt_log: list[dict[str, Any]]
    #: The schedule that created the job, and its scheduled time, epoch ms.
    schedule: str | None
    occurrence: int | None
    #: The job that this one is a copy of, and the copies of this one.
    copy_of: str | None
    copies: list[str]
    #: The ids of the jobs waiting for this one.
    parents: list[int | str]
    #: The number of jobs that this one waits for, or waited for, and how many of them have ended.
    children_total: int
    children_ended: int
    #: The trace that the job belongs to: ``traceparent``, ``tracestate``, ``baggage`` as in W3C Trace Context. May be
    #: replaced, as a whole, before the job is saved; {} for none.
    trace_context: dict[str, str]
    raw: dict[str, str]
    #: After ``save()`` of a unique job: whether it already existed. ``id`` and all fields are then the existing job's.
    duplicate = False
    _token = ""
    #: Identifies the call that saves it while the outcome is unknown, so that a second try is recognized.
    _call = ""
    #: Collected by test mode, not in Redis.
    _collected = False
    _interrupt: BaseException | None = None
    _children: list[Any] = []  # replaced, never added to: shared while empty
    _on_child_failure = "fail"
    _listeners: list[tuple[str, Callable[..., object]]] = []  # replaced, never added to: shared while empty

    def __init__(self, owner: JobOwner[Any], job_type: str, data: Any = None) -> None:
        check_type(job_type)
        self._owner = owner
        self.id = None
        self.type = job_type
        self.data = {} if data is None else data
        self.options = JobOptions(events=owner.job_events)
        self.raw = {}

    @classmethod
    def from_hash(cls, owner: JobOwner[Any], job_id: int | str, raw: dict[str, str]) -> Self:
        """Return the job of a hash read from Redis. Raises JobNotFound if the hash has no type."""
        if "type" not in raw:
            raise JobNotFound(job_id)
        job = cls.__new__(cls)
        job._owner, job.id, job.type, job.raw = owner, job_id, raw["type"], raw
        return job

    @classmethod
    def from_options(cls, owner: JobOwner[Any], job_type: str, data: Any, options: Mapping[str, Any]) -> Self:
        """Return an unsaved job; options are those of ``set_options``. Raises InvalidJob."""
        job = cls(owner, job_type, data)
        job.set_options(options)
        return job

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Set options given as keywords; None means not given. Raises InvalidJob for an unknown one."""
        if not isinstance(options, Mapping):
            raise InvalidJob(f'options must be a mapping such as {{"attempts": 3}}, not {options!r}')
        for name, value in options.items():
            if name not in OPTIONS:
                raise InvalidJob(f"a job has no option {name!r}; its options are {', '.join(OPTIONS)}")
            if name == "unique":
                if isinstance(value, Mapping):
                    if unknown := value.keys() - UNIQUE:
                        raise InvalidJob(f"unique takes {', '.join(UNIQUE)}, not {min(unknown)!r}")
                    self.unique(**value)
                elif value is not None and value is not False:
                    self.unique(None if value is True else value)
            elif value is not None:
                getattr(self, name)(value)

    @property
    def queue(self) -> Any:
        """The Queue that the job belongs to."""
        return self._owner.queue

    def __repr__(self) -> str:
        if self.id is None:
            return f"<Job {self.type}, not saved>"
        return f"<Job {self.id} {self.type}, {self.state or 'in no state'} when last read>"

    # Options

    def title(self, text: str) -> Self:
        """Set the title shown by the monitor. It is stored as ``data["title"]``, so the data must be a dict."""
        if not isinstance(text, str):
            raise InvalidJob(f'title must be a string such as "Welcome mail", not {text!r}')
        if not isinstance(self.data, dict):
            raise InvalidJob("a title is kept in the job's data, so the data must be a dict")
        self.data["title"] = text
        return self

    def priority(self, level: str | float) -> Self:
        """Set the priority: low, normal, medium, high, critical, or any number; lower runs sooner."""
        self.options.priority = check_priority(level)
        return self

    def attempts(self, count: int) -> Self:
        """Set the maximum number of attempts; 1 means no retry."""
        self.options.attempts = check_whole("attempts", count, 2**31)
        return self

    def backoff(self, backoff: Any) -> Self:
        """Set how long a failed attempt waits: see ``kue.backoff.check`` for the forms."""
        self.options.backoff = backoffs.check(backoff, self._owner.backoffs)
        return self

    def delay(self, delay: float | timedelta | datetime) -> Self:
        """Delay the job by ``delay`` (ms, or a timedelta) after it is saved, or until a datetime (naive: local).

        Fractions of a ms are stored but ignored, as in Node.

        Redis: field ``delay``; the score in ``q:jobs:delayed`` is ``created_at + delay``. Node Kue: Job#delay.
        """
        if isinstance(delay, datetime):
            self.options.delay_ms, self.options.delay_until = 0, int(delay.timestamp() * 1000)
        else:
            self.options.delay_ms, self.options.delay_until = check_ms("delay", delay), None
        return self

    def ttl(self, ttl_ms: float | timedelta) -> Self:
        """Set how long an attempt may run, in ms or as a timedelta; each ``progress`` restarts it. 0: no limit."""
        self.options.ttl_ms = check_ms("ttl", ttl_ms)
        return self

    def remove_on_complete(self, remove: bool = True) -> Self:
        """Remove the job from Redis as soon as it is complete."""
        self.options.remove_on_complete = bool(remove)
        return self

    def search_keys(self, keys: str | list[str]) -> Self:
        """Set the fields of the data to index for search (paths such as ``a.b[0]``). Default: all."""
        named = [keys] if isinstance(keys, str) else list(keys) if isinstance(keys, Iterable) else [keys]
        if not all(isinstance(key, str) for key in named):
            raise InvalidJob(f'search keys must be names of fields in the data, such as "title", not {keys!r}')
        self.options.search_keys = named
        return self

    def events(self, enabled: bool = True) -> Self:
        """Set whether ``on`` of this object receives events. Other processes are not affected."""
        self.options.events = bool(enabled)
        return self

    def unique(
        self,
        key: Any = None,
        *,
        until: str | None = None,
        for_ms: float | timedelta | None = None,
        on_duplicate: str = "return",
    ) -> Self:
        """Save the job only if none of its type has the same ``key`` (any JSON value; default: the data).

        ``until``: how long the existing job counts. "end": until it has completed or failed for good; "start": while it
        waits, so that one may wait while another runs; "success": until it has completed or is removed. ``for_ms`` (or
        a timedelta): at least this long after it was saved, even if it has ended.

        ``on_duplicate``: what ``save`` does if there is such a job. "return": become that job, with ``duplicate`` True.
        "reject": raise DuplicateJob. "replace": if it still waits, replace its data and options and restart its delay.
        "extend": only restart its delay. With the last two, ``until`` defaults to "start".

        Redis: ``q:unique``, and the job's fields ``unique…``.
        """
        if on_duplicate not in ON_DUPLICATE:
            raise InvalidJob(f"on_duplicate must be one of {', '.join(ON_DUPLICATE)}, not {on_duplicate!r}")
        if until is None:
            until = "start" if on_duplicate in ("replace", "extend") else "end"
        if until not in UNTIL:
            raise InvalidJob(f"until must be one of {', '.join(UNTIL)}, not {until!r}")
        to_json(key)
        lasts = None if for_ms is None else int(check_ms("for_ms", for_ms))
        self.options.unique = Unique(key, until, lasts, on_duplicate)
        return self

    # Flows

    def after(self, jobs: Self | Iterable[Self], *, on_failure: str = "fail") -> Self:
        """Make this job, the parent, wait until ``jobs``, its children, have completed.

        ``save`` then saves the parent and all its unsaved descendants atomically. Children that are already saved are
        only waited for. If the parent has a delay, it starts when they have ended.

        ``on_failure``: what happens if a child fails for good, is cancelled or removed. "fail": the parent fails; it
        waits again when the child is retried. "ignore": the child counts as ended. "wait": the parent waits until the
        child is retried and completes, or is removed.

        Redis: ``q:job:ID:children``; the parent is delayed meanwhile.
        """
        if on_failure not in ON_CHILD_FAILURE:
            raise InvalidJob(f"on_failure must be one of {', '.join(ON_CHILD_FAILURE)}, not {on_failure!r}")
        if self.id is not None:
            raise InvalidJob(f"{self!r} is already saved: call after() before save(), or add_children() in its handler")
        self._children = [*self._children, *self._jobs_of(jobs)]
        self._on_child_failure = on_failure
        return self

    @property
    def interrupted(self) -> BaseException | None:
        """What stopped this attempt: a JobTimeout, JobCancelled or WorkerStopping; None while it holds the job."""
        return self._interrupt

    # Representations

    def to_dict(self) -> dict[str, Any]:
        """Return Kue's JSON form: members in Node's order, without those that do not apply.

        Times, durations, ``delay``, ``ttl`` and ``progress`` are strings, as in Node's API.
        """
        raw = self.raw
        made, most = self.attempts_made, self.options.attempts
        form: dict[str, Any] = {"id": self.id, "type": self.type, "data": self.data}
        if "result" in raw:  # only truthy ones, as in Node; `result` has any value
            form["result"] = from_json(raw["result"])
        form["priority"] = self.options.priority
        form["progress"] = raw.get("progress", 0)
        if "progress_data" in raw:
            form["progress_data"] = self.progress_data
        names = ("state", "error", "created_at", "promote_at", "updated_at", "failed_at", "started_at", "duration",
                 "delay", "workerId", "ttl")  # fmt: skip
        form.update((name, raw[name]) for name in names if name in raw)
        form["attempts"] = {"made": made, "remaining": most - made if made else most or 1, "max": most or 1}
        return form

    # Internal

    def _raise_if_interrupted(self) -> None:
        """Raise the attempt's interrupt: a handler in an OS thread cannot be interrupted anywhere else."""
        if self._interrupt is not None:
            raise self._interrupt

    @classmethod
    def _jobs_of(cls, jobs: Any) -> list[Any]:
        """Return one job or several as a list. Raises InvalidJob for anything else."""
        found = [jobs] if isinstance(jobs, BaseJob) else check_list("jobs", jobs, "[queue.create(…)]")
        for each in found:
            if not isinstance(each, BaseJob):
                raise InvalidJob(f"a job can only wait for jobs, such as queue.create(…), not {each!r}")
        return found

    def _not_collected(self, what: str) -> None:
        if self._collected:
            raise InvalidJob(f"{self!r} is only collected; it cannot {what}: test_mode.enter(process=True) runs jobs")

    def _saved_id(self) -> int | str:
        if self.id is None:
            raise InvalidJob("the job is not saved yet: call save() first")
        return self.id

    def _fill(self, raw: dict[str, str]) -> Self:
        """Set the fields from a hash in Redis. Each is parsed at first access."""
        self.raw = raw
        self.type = raw.get("type", self.type)
        for name in FIELDS:
            self.__dict__.pop(name, None)
        if (options := self.__dict__.get("options")) is not None:
            read_options(raw, options)
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            read = FIELDS.get(name)
            if read is not None:
                value = read(self.raw)
            elif name == "options":
                value = read_options(self.raw, JobOptions(events=self._owner.job_events))
            else:
                raise AttributeError(f"a job has no {name!r}")
            self.__dict__[name] = value
            return value
