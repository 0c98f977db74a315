"""The schedules declared by a program, in a list and by decorators on its handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from ..errors import InvalidJob
from ..storage.arguments import check_list
from .definition import Schedule
from .store import Schedules

F = TypeVar("F")

#: Default owner of the schedules of ``declare_schedules``.
OWNER = "code"


class DeclaredSchedules:
    """The declarations of one program for one queue."""

    def __init__(self, store: Schedules[Any]) -> None:
        self._store = store
        self._listed: list[Schedule] = []
        self._owner: str | None = None
        #: Handlers or tasks with their schedule's arguments.
        self._decorated: list[tuple[Any, dict[str, Any]]] = []
        self._types: list[tuple[Any, str]] = []
        self._to_write: list[Schedule] | None = None

    def handles(self, fn: Any, job_type: str) -> None:
        """Record the job type of a handler function."""
        self._types.append((fn, job_type))

    def scheduled(self, /, *, name: str | None = None, data: Any = None, **rule: Any) -> Callable[[F], F]:
        """Schedule the jobs of a handler or task: a decorator, above ``@queue.task(…)`` or ``@queue.process(…)``.

        ``rule``: arguments of ``kue.Schedule``, such as ``cron`` and ``timezone``, ``every``, ``overlap``, job options.
        ``name`` defaults to the job type; a handler may have several schedules with different names. They are saved by
        `kue worker` and ``queue.work()`` at startup, and by ``declare_schedules``. Raises InvalidJob.
        """
        Schedule(name or "name", "type", data, **rule)  # raises for an invalid schedule right here

        def declare(target: F) -> F:
            self._decorated.append((target, {"name": name, "data": data, **rule}))
            return target

        return declare

    def declare_schedules(self, schedules: Iterable[Schedule] = (), *, owner: str = OWNER) -> list[str]:
        """Atomically replace the schedules in Redis with those in the code; return the names of removed ones.

        Those in the code are ``schedules`` and those of ``@queue.scheduled``. All others previously declared by the
        same ``owner`` are removed; schedules of other owners, or created by hand, are kept. An unchanged schedule keeps
        its next time. Programs that share a queue but declare different schedules each need a different owner. Raises
        InvalidJob.
        """
        listed = check_list("schedules", schedules, "[kue.Schedule(name, type, …)]")
        removed = self._store.declare([*listed, *self._of_handlers()], owner)
        self._listed, self._owner = listed, owner
        return removed

    def write_at_start(self, owner: str = "") -> None:
        """Make this process's worker declare the program's schedules as soon as it reaches Redis.

        ``owner`` is for programs that have not called ``declare_schedules`` themselves; default: the script's name with
        its folder. Raises InvalidJob.
        """
        declared = self._store.check_declared([*self._listed, *self._of_handlers()])
        self._owner = self._owner or owner or "/".join(Path(sys.argv[0]).absolute().parts[-2:]) or OWNER
        self._to_write = declared

    def write(self) -> None:
        """Save what ``write_at_start`` prepared."""
        if self._to_write is not None and self._owner is not None:
            self._store.declare(self._to_write, self._owner)
            self._to_write = None

    def _of_handlers(self) -> list[Schedule]:
        made = []
        for target, arguments in self._decorated:
            job_type = self._type_of(target)
            rest = {name: value for name, value in arguments.items() if name not in ("name", "data")}
            job = job_type if isinstance(target, FunctionType) else target
            made.append(Schedule(arguments["name"] or job_type, job, arguments["data"], **rest))
        return made

    def _type_of(self, target: Any) -> str:
        name: Any = getattr(target, "name", None)
        if isinstance(name, str):
            return name
        for fn, job_type in self._types:
            if fn is target:
                return job_type
        raise InvalidJob(f"{target!r} is scheduled, but is not a handler: also register it with queue.process(type)")
