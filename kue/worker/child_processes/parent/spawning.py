"""Starting a child process: a fresh interpreter, never a fork of this process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from multiprocessing import spawn
from pathlib import Path
from typing import Any, NamedTuple

from ....concurrency import green
from ....logs import JsonFormatter
from ..messages import CONTROL_FD, HEADER, SOCKET_FD

#: Descriptors from here on cannot collide with those above.
_FIRST_FREE_FD = 16
_PROGRAM = str(Path(__file__).parent.with_name("child") / "bootstrap.py")


class Spawned(NamedTuple):
    """A new child process and the parent's descriptors. ``pidfd`` is readable once it has ended; -1: not available."""

    pid: int
    sock: Any
    control_fd: int
    stderr_fd: int
    pidfd: int


def spawn_child(setup: dict[str, Any]) -> Spawned:
    """Start a child in its own process group, so that Ctrl-C only reaches the worker. Raises OSError.

    The kernel kills it when the calling thread ends, so that thread must outlive its children.
    """
    import fcntl  # not on Windows

    os_ = green.original("os")
    ours, theirs = green.original("socket").socketpair()
    control_read, control_write = os_.pipe()
    stderr_read, stderr_write = os_.pipe()
    given = []
    try:
        for fd in (theirs.fileno(), control_read, stderr_write):
            given.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD))
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, given[2], 2),
            (os.POSIX_SPAWN_DUP2, given[0], SOCKET_FD),
            (os.POSIX_SPAWN_DUP2, given[1], CONTROL_FD),
        ]
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        executable = os.fsdecode(spawn.get_executable())
        pid = os_.posix_spawn(
            executable, [executable, *flags, _PROGRAM], os.environ, file_actions=actions, setpgroup=0,
            setsigmask=(), setsigdef=(signal.SIGTERM, signal.SIGINT),
        )  # fmt: skip
    except BaseException:
        ours.close()
        os_.close(control_write)
        os_.close(stderr_read)
        raise
    finally:
        theirs.close()
        for fd in (control_read, stderr_write, *given):
            os_.close(fd)
    for fd in (control_write, stderr_read):
        os_.set_blocking(fd, False)
    body = json.dumps(setup).encode("ascii")
    ours.setblocking(True)  # a few kilobytes: fits into the socket's buffer
    try:
        ours.sendall(HEADER.pack(len(body)) + body)
    except OSError:
        pass  # it has died already; that is handled elsewhere
    ours.setblocking(False)
    pidfd = os_.pidfd_open(pid) if hasattr(os_, "pidfd_open") else -1
    return Spawned(pid, ours, control_write, stderr_read, pidfd)


def logging_setup() -> dict[str, Any] | None:
    """Return ``logging.basicConfig`` arguments for children to log like this process, None if not configured."""
    root = logging.getLogger()
    if not root.handlers:
        return None
    formatter = root.handlers[0].formatter
    if isinstance(formatter, JsonFormatter):
        return {"level": root.level, "json": True}
    form = {"format": formatter._fmt, "datefmt": formatter.datefmt} if formatter is not None else {}
    return {"level": root.level, **form}
