"""Where a child process finds a handler: the modules that it imports, and the handler's name there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any, NamedTuple

from ...errors import InvalidJob

_PACKAGE = __name__.partition(".")[0]


class Target(NamedTuple):
    """What a child imports. ``registered_in``: the module that called ``queue.process``, which has the queue."""

    module: str
    qualname: str
    registered_in: str
    #: What makes a fresh interpreter like this one, as multiprocessing's spawn has it: JSON values.
    preparation: dict[str, Any]


def find_target(fn: Callable[..., object], *, required: bool) -> Target | None:
    """Return where a child finds a handler. None if it cannot be imported, or with ``required`` InvalidJob."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
        if not required:
            return None
        raise InvalidJob(
            f"a handler with process isolation is a function at the top level of a module, which a child process "
            f"imports; {fn!r} cannot be imported"
        )
    prepared = spawn.get_preparation_data("kue")
    preparation = {name: prepared[name] for name in _PREPARED if name in prepared}
    registered_in = _caller() or module
    if "__main__" in (module, registered_in) and not _has_main(preparation):
        if not required:
            return None
        raise InvalidJob(
            "a handler with process isolation must be in a file, which a child process imports, not in an interactive "
            "session"
        )
    return Target(module, qualname, registered_in, preparation)


_PREPARED = ("sys_path", "sys_argv", "dir", "init_main_from_name", "init_main_from_path")


def _has_main(preparation: dict[str, Any]) -> bool:
    return "init_main_from_name" in preparation or "init_main_from_path" in preparation


def _caller() -> str | None:
    """Return the name of the module that called the library."""
    frame = sys._getframe()
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] != _PACKAGE:
            return name
        frame = frame.f_back  # type: ignore[assignment]
    return None
