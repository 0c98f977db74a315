"""A maintenance task that begins with a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .scripts import Scripts


class ScriptTask:
    """A task that begins with a script; of several that are due, all scripts are sent in one round trip.

    ``script()`` returns the script's name and arguments; ``read(client, reply)`` does the rest and returns the seconds
    until the next run. Calling the task does both, for tests and for tasks that run alone.
    """

    def __init__(
        self,
        name: str,
        scripts: Scripts,
        script: Callable[[], Sequence[Any]],
        read: Callable[[Any, Any], float],
    ) -> None:
        self.name, self.script, self.read, self._scripts = name, script, read, scripts

    def __call__(self, client: Any) -> float:
        return self.read(client, self._scripts.run(client, *self.script()))


def first_replies(scripts: Scripts, client: Any, tasks: Sequence[object]) -> list[Any]:
    """Send the scripts with which tasks begin; return a reply, an exception, or None for each task."""
    replies: list[Any] = [None] * len(tasks)
    calls: dict[int, Sequence[Any]] = {}
    for at, task in enumerate(tasks):
        if isinstance(task, ScriptTask):
            try:
                calls[at] = task.script()
            except Exception as exc:
                replies[at] = exc
    if calls:
        for at, reply in zip(calls, scripts.run_all(client, list(calls.values())), strict=True):
            replies[at] = reply
    return replies
