"""Run several worker processes under one parent, which restarts those that die and exits after them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from ..concurrency import green
from . import stop_signals
from .title import set_title

log = logging.getLogger("kue")

#: Poll interval for processes and signals, seconds.
LOOK_S = 0.1
#: A process that was ready is replaced at once: a handler may have killed it. One that died sooner waits, twice as long
#: each time, seconds.
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
#: Seconds after the grace period until a process is killed. It should have ended itself by then, and docker's 10 s are
#: not over.
KILL_S = 4.0
#: Exit codes that a restart cannot fix: a usage error, or an error in the user's module.
FATAL_EXIT_CODES = (1, 2)

#: Environment variables of the processes: the parent's id, and a file descriptor to report readiness on.
PARENT, READY = "KUE_PARENT_PID", "KUE_READY_FD"
#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1


class WorkerProcess:
    """One of the processes, across its restarts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self._pause_s = 0.0
        self._ready_fd = -1
        self._is_ready = self._has_been_ready = False

    def start(self, command: Sequence[str]) -> None:
        reading, writing = os.pipe()
        try:
            # A session of its own: Ctrl-C is for the parent, which passes it on once.
            self.process = subprocess.Popen(
                command,
                env={**os.environ, PARENT: str(os.getpid()), READY: str(writing)},
                stdin=subprocess.DEVNULL,
                pass_fds=(writing,),
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        self._ready_fd, self._is_ready = reading, False

    def ended(self) -> int | None:
        """Return the exit code of a finished process (negative: its signal), None while it runs or waits to start."""
        return None if self.process is None else self.process.poll()

    def has_been_ready(self) -> bool:
        """Return whether any run of this process has reported readiness."""
        if not self._is_ready and self._ready_fd >= 0:
            with contextlib.suppress(BlockingIOError):
                self._is_ready = bool(os.read(self._ready_fd, 1))
        self._has_been_ready = self._has_been_ready or self._is_ready
        return self._has_been_ready

    def reap(self) -> None:
        """Clean up after a finished process and schedule the restart."""
        self.has_been_ready()
        os.close(self._ready_fd)
        self._ready_fd = -1
        self._pause_s = 0.0 if self._is_ready else min(BACKOFF_MAX_S, self._pause_s * 2 or BACKOFF_FIRST_S)
        self.process, self.start_at = None, time.monotonic() + self._pause_s

    def send_signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class Supervisor:
    """Runs ``command`` in ``count`` processes until a signal arrives; they then have ``stop_s`` plus KILL_S to end."""

    def __init__(self, command: Sequence[str], count: int, stop_s: float) -> None:
        self._command, self._stop_s = command, stop_s
        self._children = [WorkerProcess(number) for number in range(1, count + 1)]
        self._signals: list[int] = []
        self._passed_on = 0

    def run(self) -> int:
        """Return the exit code: 0 after a signal if every process exited cleanly, 1 if one did not or was killed.

        If a process exits with a fatal code before any process was ready, the others are stopped and its code is
        returned. SIGTERM, SIGINT and SIGHUP are forwarded, also a second time; the third kills the processes.
        """
        for number in stop_signals.handled():
            signal.signal(number, lambda came, frame: self._signals.append(came))
        count = len(self._children)
        set_title(f"supervisor ({count} process{'' if count == 1 else 'es'})")
        failed = 0
        while not self._signals:
            for child in self._children:
                code = child.ended()
                if code is not None:
                    failed = failed or self._died(child, code)
                if child.process is None and not failed and time.monotonic() >= child.start_at and not self._signals:
                    self._start(child)
            if failed:
                self._signals.append(signal.SIGTERM)
            time.sleep(LOOK_S)
        unclean = self._stop()
        return failed or unclean

    def _start(self, child: WorkerProcess) -> None:
        try:
            child.start(self._command)
        except OSError as exc:  # too many processes or no memory: may be temporary
            log.error("Could not start worker process %d: %s", child.number, exc)
            child.start_at = time.monotonic() + BACKOFF_MAX_S

    def _died(self, child: WorkerProcess, code: int) -> int:
        """Handle an unexpected exit; return the exit code if a restart is useless, else 0."""
        assert child.process is not None
        pid = child.process.pid
        child.reap()
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        if code in FATAL_EXIT_CODES and not any(each.has_been_ready() for each in self._children):
            log.error("Worker process %d (pid %d) %s before it was ready; shutting down", child.number, pid, how)
            return code
        pause_s = max(0.0, child.start_at - time.monotonic())
        when = f"in {pause_s:.1f} s" if pause_s else "now"
        log.warning("Worker process %d (pid %d) %s; restarting %s", child.number, pid, how, when)
        return 0

    def _stop(self) -> int:
        """Forward signals until all processes have ended; return 1 if one did not exit cleanly."""
        kill_at, result = time.monotonic() + self._stop_s + KILL_S, 0
        while True:
            while self._passed_on < len(self._signals):
                number = self._signals[self._passed_on]
                self._passed_on += 1
                for child in self._children:
                    child.send_signal(number if self._passed_on <= 2 else signal.SIGKILL)
            if time.monotonic() > kill_at:
                log.error("A worker process did not exit in time; killing it")
                for child in self._children:
                    child.send_signal(signal.SIGKILL)
                kill_at = float("inf")
            for child in self._children:
                if (code := child.ended()) is not None:
                    child.reap()
                    # A process signaled before it set its handlers has reserved no job yet.
                    result = result or int(code != 0 and -code not in stop_signals.STOPPING)
            if all(child.process is None for child in self._children):
                return result
            time.sleep(LOOK_S)


def end_with_parent() -> bool:
    """Send this process SIGTERM when its supervisor dies, even by SIGKILL; return whether it has a supervisor."""
    # Removed, so that programs started by handlers do not inherit it.
    parent = int(os.environ.pop(PARENT, "0"))
    if not parent:
        return False
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        green.real_thread(_watch, parent)
    return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        green.real_sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def tell_ready() -> None:
    """Report readiness to the supervisor, if there is one."""
    if READY in os.environ:
        fd = int(os.environ.pop(READY))
        with contextlib.suppress(OSError):
            os.write(fd, b"1")
            os.close(fd)
