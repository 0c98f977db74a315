"""The fields of a job's hash. Each is parsed at first access, since most handlers need only the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..errors import InvalidJob
from ..states import COMPLETE
from . import trace_context
from .codec import MS_MAX, check_text, from_json, number, number_or_float, number_text, option_text, to_json
from .keys import id_of
from .script_values import Claim

#: The values of ``until`` and ``on_duplicate`` of unique jobs.
UNTIL: Final = ("end", "start", "success")
ON_DUPLICATE: Final = ("return", "reject", "replace", "extend")


class Unique(NamedTuple):
    """The arguments of ``Job.unique``. ``key`` None: the job's data. ``of_data``: the key is derived from the data."""

    key: Any
    until: str = "end"
    for_ms: int | None = None
    on_duplicate: str = "return"
    of_data: bool = False

    def claim(self, data: Any) -> Claim:
        """Return the claim of a job with that data. Raises InvalidJob for a key that is not JSON."""
        rest = self.until, self.for_ms, self.of_data or self.key is None, self.on_duplicate
        if self.key is not None:
            return Claim(f"={_same_json(self.key)}", *rest)
        return Claim("#" + hashlib.sha1(_same_json(data).encode(), usedforsecurity=False).hexdigest(), *rest)


def _same_json(value: Any) -> str:
    """Return JSON that is identical for equal values: with the members of objects sorted by name."""
    try:
        return json.dumps(json.loads(to_json(value)), separators=(",", ":"), sort_keys=True)
    except RecursionError as exc:
        raise InvalidJob(f"not JSON: {exc}") from exc


@dataclass
class JobOptions:
    """A job's options. Times are in ms; 0 means none."""

    priority: int | float = 0
    attempts: int = 1
    backoff: dict[str, Any] | bool | None = None
    delay_ms: int | float = 0
    delay_until: int | None = None  #: epoch ms, instead of delay_ms
    ttl_ms: int | float = 0
    remove_on_complete: bool = False
    search_keys: list[str] | None = None
    events: bool = True
    unique: Unique | None = None


def read_options(raw: Mapping[str, str], options: JobOptions) -> JobOptions:
    """Set ``options`` from a job's hash, and return it."""
    options.priority = number_or_float(raw.get("priority"))
    options.attempts = number(raw.get("max_attempts")) or 0
    backoff = from_json(raw.get("backoff"))
    options.backoff = backoff if isinstance(backoff, (dict, bool)) else None
    options.delay_ms, options.delay_until = number_or_float(raw.get("delay")), None
    options.ttl_ms = number_or_float(raw.get("ttl"))
    options.remove_on_complete = bool(raw.get("removeOnComplete"))
    return options


def option_fields(options: JobOptions) -> dict[str, str]:
    """Return the hash fields of a job's options. "" omits a field; "@" precedes the epoch ms of a date."""
    delay = f"@{options.delay_until}" if options.delay_until is not None else option_text(options.delay_ms)
    return {
        "priority": number_text(options.priority),
        "max_attempts": option_text(options.attempts),
        "delay": delay,
        "ttl": option_text(options.ttl_ms),
        "backoff": to_json(options.backoff) if options.backoff else "",
        "removeOnComplete": "true" if options.remove_on_complete else "",
    }


def saved_fields(job_type: str, data: Any, options: JobOptions) -> dict[str, str]:
    """Return the fields that a save writes, in the order of ``create.lua``'s arguments. Raises InvalidJob."""
    text = to_json({} if data is None else data)
    return {"type": check_text("type", job_type), "data": text, **option_fields(options)}


def with_context(remove: str, context: Mapping[str, str]) -> str:
    """Return the last value of a job for ``create.lua``: with its trace context, if any, else ``remove``."""
    fields = {"removeOnComplete": remove} if remove else {}
    fields |= {name: check_text(name, context[name]) for name in trace_context.FIELDS if context.get(name)}
    return to_json([part for pair in fields.items() for part in pair]) if context else remove


def read_result(raw: Mapping[str, str]) -> Any:
    """Return a job's result. ``raw`` must have ``state``, ``started_at``, ``result`` and ``exact_result``, if set.

    Node only stores truthy results, in ``result``. Others are in ``exact_result``, after the start time of their
    attempt: they are invalid once any program has started another attempt.
    """
    started_at, _, exact = raw.get("exact_result", "").partition("|")
    if exact and raw.get("state") == COMPLETE and started_at == raw.get("started_at"):
        return from_json(exact)
    return from_json(raw.get("result"))


#: The members of an ``attempt_log`` entry that are strings, and those that are numbers.
_ATTEMPT_TEXTS, _ATTEMPT_NUMBERS = ("worker", "outcome", "error", "stack"), ("started_at", "ended_at")


def _attempt_log(raw: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the attempts written by the scripts. Invalid entries are omitted; invalid members are None."""
    found = from_json(raw.get("attempt_log"))
    attempts: list[dict[str, Any]] = []
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, dict):
            attempt = {name: value for name in _ATTEMPT_TEXTS if isinstance(value := entry.get(name), str)}
            times = {name: _whole(entry.get(name)) for name in _ATTEMPT_NUMBERS if name in entry}
            attempts.append({"number": _whole(entry.get("number")) or len(attempts) + 1, **times, **attempt})
    return attempts


def _whole(value: Any) -> int | None:
    """Return the whole part of a JSON number within JavaScript's exact range; None for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) <= MS_MAX else None


#: A job's attributes, and how each is read from its hash.
FIELDS: Final[dict[str, Callable[[Mapping[str, str]], Any]]] = {
    "data": lambda raw: from_json(raw.get("data", "{}")),
    "state": lambda raw: raw.get("state"),
    "attempts_made": lambda raw: number(raw.get("attempts")) or 0,
    "created_at": lambda raw: number(raw.get("created_at")),
    "promote_at": lambda raw: number(raw.get("promote_at")),
    "updated_at": lambda raw: number(raw.get("updated_at")),
    "started_at": lambda raw: number(raw.get("started_at")),
    "failed_at": lambda raw: number(raw.get("failed_at")),
    "duration": lambda raw: number(raw.get("duration")),
    "result": read_result,
    "error": lambda raw: raw.get("error"),
    "worker_id": lambda raw: raw.get("workerId"),
    "progress_percent": lambda raw: number(raw.get("progress")) or 0,
    "progress_data": lambda raw: from_json(raw.get("progress_data")),
    "rescues": lambda raw: number(raw.get("rescues")) or 0,
    "deaths": lambda raw: number(raw.get("deaths")) or 0,
    "attempt_log": _attempt_log,
    "schedule": lambda raw: raw.get("schedule"),
    "occurrence": lambda raw: number(raw.get("occurrence")),
    "copy_of": lambda raw: raw.get("copy_of"),
    "parents": lambda raw: [id_of(f"|{each}") for each in raw.get("parents", "").split(",") if each],
    "children_total": lambda raw: number(raw.get("children")) or 0,
    "children_ended": lambda raw: number(raw.get("children_ended")) or 0,
    "trace_context": trace_context.read,
    "copies": lambda raw: [each for each in raw.get("copies", "").split(",") if each],
}
