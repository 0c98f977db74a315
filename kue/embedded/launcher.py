"""Start a server so that it ends with the process that asked for it, however that process ends.

Run by path with ``python -I -S``, not imported: it becomes the server (Linux) or stands beside it (elsewhere), and it
has to start fast. Usage::

    python -I -S launcher.py PARENT_PID LOCK SOCKET STARTED MODE BINARY [ARGUMENT …]

LOCK     a file; the server holds its lock until it is really gone, and the next server waits for that. "" for none.
SOCKET   a Unix socket's path; one that a dead server left is removed. "" for none.
STARTED  a file descriptor that is closed at the moment the server's program starts. "" for none.
MODE     "deathsig": the kernel ends the server (Linux). "watch": this process stays and looks after it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
#: How often a watcher looks whether its parent still lives.
WATCH_S = 0.2


def main(parent_pid: int, lock: str, socket_path: str, started: str, mode: str, command: list[str]) -> None:
    """Wait for the lock, clear the stale socket, and become (or watch) ``command``."""
    # Its own session: Ctrl-C in the terminal is for the program, which needs its server until it has released its jobs.
    os.setsid()
    if started:
        os.set_inheritable(int(started), False)
    if mode == "deathsig":
        end_with_parent()
    # The parent may have died before the line above: then nobody is left to tell us.
    if os.getppid() != parent_pid:
        sys.exit(0)
    if lock:
        hold(lock, parent_pid)
    if socket_path:
        try:
            os.unlink(socket_path)
        except FileNotFoundError:
            pass
    if mode == "deathsig":
        become(command)
    watch(parent_pid, started, command)


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the *thread* that started this process ends. It outlives ``exec``.

    SIGTERM rather than SIGKILL, because Valkey then writes out its append-only file.
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")


def hold(lock: str, parent_pid: int) -> None:
    """Lock the file, once no other server holds it, and leave it open for the server to inherit."""
    import fcntl

    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if os.getppid() != parent_pid:
                sys.exit(0)
            time.sleep(0.01)


def become(command: list[str]) -> NoReturn:
    try:
        os.execv(command[0], command)
    except OSError as exc:
        sys.exit(f"cannot run {command[0]}: {exc.strerror}")


def watch(parent_pid: int, started: str, command: list[str]) -> NoReturn:
    """Run ``command``; end it when the parent is gone or on SIGTERM; end with its exit status."""
    child = os.fork()
    if child == 0:
        become(command)
    if started:
        os.close(int(started))

    def pass_on(signum: int, frame: FrameType | None) -> None:
        os.kill(child, signum)

    signal.signal(signal.SIGTERM, pass_on)
    told = False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            sys.exit(abs(os.waitstatus_to_exitcode(status)))
        if os.getppid() != parent_pid and not told:
            os.kill(child, signal.SIGTERM)
            told = True
        time.sleep(WATCH_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], sys.argv[6:])
