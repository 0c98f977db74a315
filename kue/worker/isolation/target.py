"""How a child process finds a handler: the modules to import, and the handler's name there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import InvalidJob

_PACKAGE = __name__.partition(".")[0]


class Target(NamedTuple):
    """What a child imports. ``registered_in``: the module that called ``queue.process`` and so has the queue."""

    module: str
    qualname: str
    registered_in: str
    #: How to set up a fresh interpreter like this one, as for multiprocessing's spawn: JSON values.
    preparation: dict[str, Any]


def find_target(fn: Callable[..., object], *, required: bool) -> Target | None:
    """Return how a child finds a handler. If it cannot be imported: None, or InvalidJob if ``required``."""
    if not hasattr(os, "posix_spawn"):
        if not required:
            return None
        raise InvalidJob("process isolation requires a POSIX system, such as Linux or macOS")
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
        if not required:
            return None
        raise InvalidJob(
            f"a handler with process isolation must be a function at the top level of a module that a child process "
            f"can import; {fn!r} cannot be imported"
        )
    preparation = _preparation()
    registered_in = _caller() or module
    if "__main__" in (module, registered_in) and not _has_main(preparation):
        if not required:
            return None
        raise InvalidJob(
            "a handler with process isolation must be in a file that a child process can import, not in an interactive "
            "session"
        )
    return Target(module, qualname, registered_in, preparation)


def _preparation() -> dict[str, Any]:
    """Return the data for ``multiprocessing.spawn.prepare``, with the working directory; also in a main module."""
    found = {"sys_path": [each or os.getcwd() for each in sys.path], "sys_argv": list(sys.argv), "dir": os.getcwd()}
    main = sys.modules["__main__"]
    if name := getattr(getattr(main, "__spec__", None), "name", None):
        return {**found, "init_main_from_name": name}
    if path := getattr(main, "__file__", None):
        return {**found, "init_main_from_path": os.path.abspath(path)}
    return found


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
