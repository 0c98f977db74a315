"""Compute how long a failed job waits before its next attempt. Pure functions."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from .durations import Duration, in_ms
from .errors import InvalidJob
from .storage.codec import check_ms, number_text

#: ``fn(attempts_made, delay_ms)``, registered by ``queue.backoff(name, fn)``; it returns ms, or a timedelta.
BackoffFunction = Callable[[int, int], Duration]


class Retry(NamedTuple):
    """What happens after a failed attempt, in the terms of ``fail.lua``."""

    retry: str  #: "now", "wait" or "never"
    delay: str = ""  #: ms; "" with "wait" keeps the old promote_at
    note: str = ""  #: a line for the job's log


def check(backoff: Any, names: Mapping[str, BackoffFunction] | None = None) -> dict[str, Any] | bool | None:
    """Return ``backoff`` in its stored form. Raises InvalidJob.

    Accepts None and False (no backoff), True (the job's own delay again), the name of a registered function, and
    ``{"type": "fixed" | "exponential", "delay": ms, "maxDelay": ms, "jitter": 0..1}``. All members are optional, and
    timedeltas are accepted for ms. Node Kue crashes on any other type, so a name is stored as ``{"type": "fixed",
    "name": …}``, which Node reads as fixed.
    """
    if backoff is None or backoff is False:
        return None
    if backoff is True:
        return True
    if isinstance(backoff, str):
        if backoff in ("fixed", "exponential"):
            return {"type": backoff}
        if names is not None and backoff in names:
            return {"type": "fixed", "name": backoff}
        raise InvalidJob(
            f'no backoff named {backoff!r}: use "fixed", "exponential", or register it with queue.backoff(name, fn)'
        )
    if not isinstance(backoff, Mapping):
        raise InvalidJob(
            f'backoff must be True, {{"type": "fixed" or "exponential", "delay": ms}} or a name, not {backoff!r}'
        )
    unknown = set(backoff) - {"type", "delay", "maxDelay", "jitter", "name"}
    if unknown:
        raise InvalidJob(
            f"unknown backoff member {sorted(map(str, unknown))[0]!r}; expected type, delay, maxDelay or jitter"
        )
    if backoff.get("type", "fixed") not in ("fixed", "exponential"):
        raise InvalidJob(f'backoff type must be "fixed" or "exponential", not {backoff["type"]!r}')
    checked = {str(name): value for name, value in backoff.items() if value is not None}
    for name in ("delay", "maxDelay"):
        if name in checked and isinstance(checked[name], timedelta):
            checked[name] = check_ms(f"backoff {name}", checked[name])
    for name, limit in (("delay", math.inf), ("maxDelay", math.inf), ("jitter", 1)):
        value = checked.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= limit
        ):
            raise InvalidJob(f"backoff {name} must be a number from 0 to {limit}, not {value!r}")
    checked.setdefault("type", "fixed")
    return checked


def decide(text: str | None, attempts_made: int, delay_ms: float | None, names: Mapping[str, BackoffFunction]) -> Retry:
    """Return what follows failed attempt number ``attempts_made`` (from 1) of a job with ``backoff`` field ``text``.

    ``delay_ms`` is the job's delay field. Text that is not JSON is JavaScript from a Node producer: it is never run,
    the job's own delay is used, and its log says so. Node Kue: ``Job#_getBackoffImpl``, lib/queue/job.js.
    """
    if not text:
        return Retry("now")
    own = "" if not delay_ms else _ms(delay_ms)
    try:
        backoff = json.loads(text)
    except (ValueError, RecursionError):
        return Retry(
            "wait", own, "The backoff is a JavaScript function, which Python cannot run; using the job's delay."
        )
    if not isinstance(backoff, dict):
        return Retry("wait", own)
    try:
        return _from_object(backoff, attempts_made, delay_ms or 0, own, names)
    except Exception as exc:  # the user's function may raise anything
        return Retry("wait", own, f"The backoff could not be computed ({exc}); using the job's delay.")


def _from_object(
    backoff: dict[str, Any], attempts_made: int, own_ms: float, own: str, names: Mapping[str, BackoffFunction]
) -> Retry:
    if "name" in backoff:
        fn = names.get(backoff["name"])
        if fn is None:
            return Retry(
                "wait",
                own,
                f"No backoff named {backoff['name']!r} is registered in this worker; using the job's delay.",
            )
        return Retry("wait", _ms(max(0, in_ms(fn(attempts_made, int(own_ms))))))
    delay = float(backoff.get("delay") or own_ms)
    if backoff.get("type") == "exponential":
        if not delay:
            return Retry("wait")
        longest = float(backoff.get("maxDelay") or math.inf)
        delay = min(longest - delay / 2, delay / 2 * (2.0 ** min(attempts_made, 1000) - 1))
        delay = math.floor(delay + 0.5)
    if not delay:
        return Retry("wait", own)
    jitter = float(backoff.get("jitter") or 0)
    if jitter:
        delay *= random.uniform(1 - jitter, 1 + jitter)
    return Retry("wait", _ms(max(0, delay)))


def _ms(value: float) -> str:
    """Format ms like JavaScript."""
    return number_text(float(value))
