"""In a child process, ``queue.process`` starts no worker but records the handler for the child."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ....base_job import JobOwner


class Recorded(NamedTuple):
    """A handler registered by an imported module, and its queue's JobOwner."""

    prefix: str
    type: str
    fn: Callable[..., Any]
    owner: JobOwner[Any]


_recorded: list[Recorded] = []


def record(prefix: str, job_type: str, fn: Callable[..., Any], owner: JobOwner[Any]) -> None:
    _recorded.append(Recorded(prefix, job_type, fn, owner))


def handler_of(prefix: str, job_type: str, module: str, qualname: str) -> Recorded | None:
    """Return the handler of that name; if there are several, the one registered for that queue and type."""
    named = [each for each in _recorded if (each.fn.__module__, each.fn.__qualname__) == (module, qualname)]
    return next((each for each in named if (each.prefix, each.type) == (prefix, job_type)), None)


def owner_of(prefix: str) -> JobOwner[Any] | None:
    """Return a queue's JobOwner, if an imported module registered a handler there."""
    return next((each.owner for each in _recorded if each.prefix == prefix), None)
