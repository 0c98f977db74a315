"""Start a server that ends together with the process that started it, however that process ends.

Run by path with ``python -I -S``, not imported, to start fast. It becomes the server (Linux) or watches it (elsewhere).
Usage::

    python -I -S launcher.py PARENT_PID LOCK SOCKET STARTED MODE BINARY [ARGUMENT …]

LOCK     a file, locked by the server until it has ended; the next server waits for that. "" for none.
SOCKET   the path of a Unix socket; a stale one is removed. "" for none.
STARTED  a file descriptor that is closed when the server's program starts. "" for none.
MODE     "deathsig": the kernel ends the server (Linux). "watch": this process stays and watches the parent.
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
#: How often a watcher checks that its parent is alive, seconds.
WATCH_S = 0.2


def main(parent_pid: int, lock: str, socket_path: str, started: str, mode: str, command: list[str]) -> None:
    """Wait for the lock, clear the stale socket, and become (or watch) ``command``."""
    # A separate session: Ctrl-C is for the program, which needs the server until it has released its jobs.
    os.setsid()
    if started:
        os.set_inheritable(int(started), False)
    if mode == "deathsig":
        end_with_parent()
    # The parent may have died before the call above; then no signal arrives.
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
    """Ask the kernel for a SIGTERM when the *thread* that started this process ends. This survives ``exec``.

    SIGTERM rather than SIGKILL, so that Valkey flushes its append-only file.
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")


def hold(lock: str, parent_pid: int) -> None:
    """Wait for the lock on the file, and leave it open for the server to inherit."""
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
    """Run ``command`` until it ends, the parent has ended, or SIGTERM arrives; exit with its status."""
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
