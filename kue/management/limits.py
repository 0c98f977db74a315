"""Limits across all workers: how many jobs of a type, or of each key of it, may start in a time and run at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict

from ..errors import InvalidJob
from ..storage.arguments import check_type
from ..storage.codec import from_json, number, number_or_float, to_json
from ..storage.keys import check_id, zid
from ..storage.session import Session

#: Units of a rate, ms.
_UNITS: Final = {
    "ms": 1, "s": 1000, "sec": 1000, "second": 1000, "m": 60_000, "min": 60_000, "minute": 60_000, "h": 3_600_000,
    "hour": 3_600_000, "d": 86_400_000, "day": 86_400_000,
}  # fmt: skip
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*([a-z]+)\s*")
_PATH = re.compile(r"data((?:\.[^.|]+)*)(\|host)?")
#: Without ``burst``, the delay that may be caught up, ms: a late worker does not lower the rate.
BURST_MS = 50
#: Maximum number of weights per limit, and the smallest and largest weight.
WEIGHTS_MAX, WEIGHT_RANGE = 1000, (0.01, 100)
#: Largest numbers: Lua counts in doubles.
COUNT_MAX, PERIOD_MAX_MS = 10**9, 366 * 86_400_000


class Limit(TypedDict):
    """A limit as ``Queue.limits`` returns it. ``by`` None: of the type as a whole."""

    type: str
    by: str | None
    rate: str | None
    """Jobs that may start per period, such as ``100/min``."""
    burst: int | None
    """Jobs that may start at once after a pause; None without a rate."""
    concurrency: int | None
    """Jobs that may run at once."""
    weights: dict[str, float]
    """Turns of a key for each turn of an unlisted key, by key."""
    waiting: int
    """Waiting jobs: all of the type, or with ``by`` those waiting for their key's turn."""
    keys: int
    """Keys with jobs waiting for their turn."""
    running: int
    """Running jobs of the type."""
    admitted: int
    """Jobs of the type started since it was first limited."""
    held_ms: int
    """Time left during which no job of the type starts because a handler raised RateLimited, ms."""


class Limits:
    """Reads and changes the limits of a queue. ``collects`` returns whether test mode only collects jobs."""

    def __init__(self, session: Session, collects: Callable[[], bool] = lambda: False) -> None:
        self._session, self._keys, self._scripts = session, session.keys, session.scripts
        self._collects = collects
        #: In test mode: the limit and its weights, by type and part.
        self._collected: dict[tuple[str, str], tuple[dict[str, Any], dict[str, str]]] = {}

    def limit(
        self,
        job_type: str,
        *,
        rate: str | None = None,
        burst: int | None = None,
        concurrency: int | None = None,
        by: str | None = None,
        weight: Mapping[str, float] | None = None,
    ) -> None:
        """Limit how many jobs of a type may start per period, or run at once, across all worker processes.

        ``rate``: jobs that may start per period, such as ``"100/min"`` (units s, min, h, day; ``"5/10s"``); ``burst``:
        how many may start at once after a pause. ``concurrency``: jobs that may run at once. ``by``: the path of a
        job's key in its data, such as ``"data.host"`` or ``"data.url|host"`` (the host of a URL); the limit then
        applies to each key separately, keys take turns, and a key with ``weight`` 2 gets two turns for one of the
        others.

        A type may have one limit with ``by`` and one without. Each call replaces the previous limit immediately. Raises
        InvalidJob.
        """
        check_type(job_type)
        value, weights = _read(rate, burst, concurrency, by, weight)
        flat = [part for pair in weights.items() for part in pair]
        part = "all" if by is None else "key"
        if self._collects():
            self._collected[job_type, part] = value, weights
            return
        self._session.call(lambda client: self._scripts.set_limit(client, job_type, part, to_json(value), flat))

    def unlimit(self, job_type: str, *, by: bool | None = None) -> bool:
        """Remove the limits of a type; return whether there were any.

        ``by``: remove only the limit by key (True), or only the limit of the whole type (False).
        """
        check_type(job_type)
        if by not in (None, True, False):
            raise InvalidJob(f"by must be True (the limit by key), False (that of the type), or None, not {by!r}")
        parts = [part for part, of_key in (("all", False), ("key", True)) if by in (None, of_key)]
        if self._collects():
            return any([self._collected.pop((job_type, part), None) is not None for part in parts])

        def lift(client: Any) -> bool:
            return any([self._scripts.set_limit(client, job_type, part, "", []) for part in parts])

        return bool(self._session.call(lift))

    def limits(self) -> list[Limit]:
        """Return the limits by type; for each type, the limit of the whole type comes first."""
        if self._collects():
            return [_limit(name, value, weights) for (name, _), (value, weights) in sorted(self._collected.items())]
        return self._limits()

    def _limits(self) -> list[Limit]:
        keys = self._keys
        found = sorted(self._session.read_one("HGETALL", keys.limits, default={}).items())
        commands: list[tuple[object, ...]] = []
        for name, _ in found:
            commands += [("ZCARD", keys.limit(part, name)) for part in ("turns", "ready", "full", "aside")]
            commands += [("ZCARD", keys.type_state(name, state)) for state in ("inactive", "active")]
            commands += [("HGETALL", keys.limit(part, name)) for part in ("state", "weights")]
        *answers, time = self._session.read_each([*commands, ("TIME",)], default={})
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        limits: list[Limit] = []
        for at, (name, text) in enumerate(found):
            counts, (state, weights) = answers[8 * at : 8 * at + 6], answers[8 * at + 6 : 8 * at + 8]
            turns, ready, full, aside, inactive, active = (each or 0 for each in counts)  # a key of another kind: {}
            value = from_json(text)
            value = value if isinstance(value, dict) else {}
            held_ms = max(0, (number(state.get("hold")) or 0) - max(now_ms, number(state.get("held_at")) or 0))
            parts = [part for part in ("all", "key") if isinstance(value.get(part), dict)]
            for part in parts or ["all"] * bool(held_ms):
                of_key = part == "key"
                limit = _limit(name, value.get(part) or {}, weights if of_key else {})
                limit["waiting"] = aside if of_key else inactive + aside
                limit["keys"] = turns + ready + full if of_key else 0
                limit["running"], limit["held_ms"] = active, held_ms
                limit["admitted"] = number(state.get("admitted")) or 0
                limits.append(limit)
        return limits

    def limit_place(self, job_id: int | str) -> tuple[str, int] | None:
        """Return the key whose turn a job waits for, and its position among that key's jobs, from 1; else None."""
        check_id(job_id)
        if self._collects():
            return None
        name, key = self._session.call(lambda client: client.hmget(self._keys.job(job_id), "type", "limit_key"))
        if name is None or key is None:
            return None
        rank = self._session.read_one("ZRANK", self._keys.limit_line(name, key), zid(job_id), default=None)
        return None if rank is None else (key, rank + 1)


def _limit(job_type: str, value: Mapping[str, Any], weights: Mapping[str, str]) -> Limit:
    """Return a limit without statistics."""
    return {
        "type": job_type,
        "by": value.get("by"),
        "rate": value.get("rate"),
        "burst": value.get("burst"),
        "concurrency": value.get("concurrency"),
        "weights": {key: float(number_or_float(text) or 1) for key, text in weights.items()},
        "waiting": 0,
        "keys": 0,
        "running": 0,
        "admitted": 0,
        "held_ms": 0,
    }


def _read(
    rate: str | None, burst: int | None, concurrency: int | None, by: str | None, weight: Mapping[str, float] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a limit in the scripts' form, and the weights of its keys. Raises InvalidJob."""
    value: dict[str, Any] = {}
    if rate is not None:
        count, period_ms = parse_rate(rate)
        value |= {"rate": rate, "count": count, "period": period_ms}
        value["burst"] = max(1, count * BURST_MS // period_ms) if burst is None else _whole("burst", burst)
    elif burst is not None:
        raise InvalidJob('burst needs a rate, such as "100/min": it is how many of its jobs may start at once')
    if concurrency is not None:
        value["concurrency"] = _whole("concurrency", concurrency)
    if not value:
        raise InvalidJob('a limit needs a rate such as "100/min", a concurrency, or both')
    if by is not None:
        value |= parse_by(by)
    elif weight is not None:
        raise InvalidJob('weight applies to keys: also give the path of the key, such as by="data.host"')
    return value, _weights(weight or {})


def parse_rate(rate: object) -> tuple[int, int]:
    """Return the number of jobs and the period in ms of a rate such as "100/min" or "5/10s". Raises InvalidJob."""
    match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if match is None or match[3] not in _UNITS:
        raise InvalidJob(f'rate must be a number of jobs per period, such as "100/min" or "5/10s", not {rate!r}')
    count, period_ms = int(match[1]), int(match[2] or 1) * _UNITS[match[3]]
    if not 0 < count <= COUNT_MAX or not 0 < period_ms <= PERIOD_MAX_MS:
        raise InvalidJob(f"rate must be 1 to 10^9 jobs per period of 1 ms to 366 days, not {rate!r}")
    return count, period_ms


def parse_by(by: object) -> dict[str, Any]:
    """Return a limit's members for the path of a job's key. Raises InvalidJob."""
    match = _PATH.fullmatch(by) if isinstance(by, str) else None
    if match is None:
        raise InvalidJob(f'by must be a path in the data, such as "data.host" or "data.url|host", not {by!r}')
    path = match[1].split(".")[1:]
    return {"by": by, "path": path} | ({"of_url": True} if match[2] else {})


def _weights(weight: Mapping[str, float]) -> dict[str, str]:
    if not isinstance(weight, Mapping) or len(weight) > WEIGHTS_MAX:
        raise InvalidJob(f"weight must be a mapping of at most {WEIGHTS_MAX} keys to numbers")
    least, most = WEIGHT_RANGE
    for key, each in weight.items():
        is_number = isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each)
        if not isinstance(key, str) or not is_number or not least <= each <= most:
            raise InvalidJob(f"the weight of a key must be a number from {least} to {most}, not {key!r}: {each!r}")
    return {key: json.dumps(each) for key, each in weight.items()}


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= COUNT_MAX:
        raise InvalidJob(f"{name} must be a whole number from 1 to 10^9, not {value!r}")
    return value
