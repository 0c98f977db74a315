"""The schedules that a program declares: in a list, and by decorators beside its handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from ..errors import InvalidJob
from .definition import Schedule
from .store import Schedules

F = TypeVar("F")

#: The owner of the schedules of ``declare_schedules``, unless it is given another.
OWNER = "code"


class DeclaredSchedules:
    """What one program declares of one queue."""

    def __init__(self, store: Schedules[Any]) -> None:
        self._store = store
        self._listed: list[Schedule] = []
        self._owner: str | None = None
        #: Handlers or tasks with the arguments of their schedule.
        self._decorated: list[tuple[Any, dict[str, Any]]] = []
        self._types: list[tuple[Any, str]] = []
        self._to_write: list[Schedule] | None = None

    def handles(self, fn: Any, job_type: str) -> None:
        """Remember the type of which a function is the handler."""
        self._types.append((fn, job_type))

    def scheduled(self, /, *, name: str | None = None, data: Any = None, **rule: Any) -> Callable[[F], F]:
        """Schedule the jobs of a handler or task: a decorator, above ``@queue.task(…)`` or ``@queue.process(…)``.

        ``rule``: what ``kue.Schedule`` takes, such as ``cron`` and ``timezone``, ``every``, ``overlap``, job options.
        ``name`` is that of the job type unless given; a handler may have several schedules with a name each. They are
        written by `kue worker` and ``queue.work()`` at their start, and by ``declare_schedules``. Raises InvalidJob.
        """
        Schedule(name or "name", "type", data, **rule)  # refuses what could not be declared, here where it is written

        def declare(target: F) -> F:
            self._decorated.append((target, {"name": name, "data": data, **rule}))
            return target

        return declare

    def declare_schedules(self, schedules: Iterable[Schedule] = (), *, owner: str = OWNER) -> list[str]:
        """Make the schedules in Redis those of the code, in one step; return the names of those that were removed.

        The code's are ``schedules`` and those of ``@queue.scheduled``. Whatever else the same ``owner`` declared before
        is removed; schedules of other owners, or made by hand, stay. An unchanged one keeps its next time. Programs
        that share a queue and declare different schedules each need an owner of their own. Raises InvalidJob.
        """
        listed = list(schedules)
        removed = self._store.declare([*listed, *self._of_handlers()], owner)
        self._listed, self._owner = listed, owner
        return removed

    def write_at_start(self, owner: str = "") -> None:
        """Let the worker of this process declare the program's schedules as soon as it reaches Redis.

        ``owner`` holds for a program that has not called ``declare_schedules`` itself; unless given, it is the name of
        the script with its folder. Raises InvalidJob.
        """
        declared = self._store.check_declared([*self._listed, *self._of_handlers()])
        self._owner = self._owner or owner or "/".join(Path(sys.argv[0]).absolute().parts[-2:]) or OWNER
        self._to_write = declared

    def write(self) -> None:
        """Write what ``write_at_start`` left to be written."""
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
        raise InvalidJob(f"{target!r} is scheduled, but is no handler: give it to queue.process(type) as well")
