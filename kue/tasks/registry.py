"""The tasks declared on a queue, and which of them run in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from ..base_job import JobOwner
from ..errors import InvalidJob
from ..storage.arguments import check_callable, check_list, check_type
from ..storage.codec import check_concurrency
from .task import Declare, FunctionTask, Task


class TaskRegistry:
    """``process`` is ``Queue.process``; ``process_options`` are its options besides type, concurrency and handler."""

    def __init__(self, owner: JobOwner[Any], process: Callable[..., object], process_options: Iterable[str]) -> None:
        self._owner, self._process, self._process_options = owner, process, frozenset(process_options)
        self._lock = threading.Lock()
        self._working: set[str] = set()
        #: By name, in order of declaration.
        self.tasks: dict[str, Task[..., Any]] = {}

    def declare(
        self, name: str | None, concurrency: int, options: Mapping[str, Any], process_options: Mapping[str, Any]
    ) -> Declare:
        """Return the decorator that declares a task."""
        if name is not None:
            check_type(name)
        check_concurrency(concurrency)
        for each in process_options:
            if each not in self._process_options:
                raise InvalidJob(f"a task has no option {each!r}")

        def decorate(fn: Callable[..., Any]) -> FunctionTask[..., Any, Any]:
            check_callable(fn, "a task")
            task: FunctionTask[..., Any, Any] = FunctionTask(
                self._owner, fn, fn.__name__ if name is None else name, concurrency, options, process_options
            )
            with self._lock:
                other = self.tasks.setdefault(task.name, task)
            if other is not task:
                raise InvalidJob(
                    f'a task "{task.name}" is already declared on this queue, by {place(other)}; '
                    f"give that of {place(task)} another name"
                )
            return task

        return cast(Declare, decorate)

    def work(self, only: str | Iterable[str] | None) -> None:
        """Start the handlers of all tasks, or the named ones, that do not run in this process yet."""
        if only is None:
            wanted = list(self.tasks)
        else:
            wanted = [only] if isinstance(only, str) else check_list("only", only, '["email"]')
        for name in wanted:
            if name not in self.tasks:
                names = ", ".join(self.tasks) or "none"
                raise InvalidJob(f"there is no task {name!r} on this queue; its tasks are {names}")
        for name in wanted:
            with self._lock:
                if name in self._working:
                    continue
                self._working.add(name)
            task = self.tasks[name]
            self._process(name, task.concurrency, task.handler, **task.process_options)

    def after_fork(self) -> None:
        """Called in a forked child, where no task runs."""
        self._lock, self._working = threading.Lock(), set()


def place(task: Task[..., Any]) -> str:
    """Return where a task's function is defined, for display."""
    return f"{task.handler.__module__}.{task.handler.__qualname__}"
