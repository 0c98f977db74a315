"""Several worker processes under one parent, which starts again those that die and ends when they have ended."""

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

#: Seconds between two looks at the processes and at the signals that came.
LOOK_S = 0.1
#: A process that lived so long is started again at once; one that dies sooner waits, twice as long each time.
HEALTHY_S = 10.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 30.0
#: Seconds on top of what running jobs get, until a process that does not end is killed. By then it should have ended
#: itself, and the 10 s that docker grants are not over.
KILL_S = 4.0
#: Exit codes of a command that cannot work, however often it is tried: it is wrong, or the user's module is.
HOPELESS = (1, 2)

#: Set in the environment of the processes: the parent's id, and a file descriptor to say on that all is well.
PARENT, READY = "KUE_PARENT_PID", "KUE_READY_FD"
#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1


class Child:
    """One of the processes, over all its lives."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self._pause_s = 0.0
        self._started_at = 0.0
        self._ready_fd = -1
        self._ready = False

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
        self._ready_fd, self._started_at = reading, time.monotonic()

    def ended(self) -> int | None:
        """Return the exit code of a process that has ended (negative: the signal), None of one that runs or waits."""
        return None if self.process is None else self.process.poll()

    def has_been_ready(self) -> bool:
        """Tell whether one of its lives has said so."""
        if not self._ready and self._ready_fd >= 0:
            with contextlib.suppress(BlockingIOError):
                self._ready = bool(os.read(self._ready_fd, 1))
        return self._ready

    def bury(self) -> None:
        """Forget a process that has ended, and choose when to start the next."""
        self.has_been_ready()
        os.close(self._ready_fd)
        self._ready_fd = -1
        lived_s = time.monotonic() - self._started_at
        self._pause_s = 0.0 if lived_s >= HEALTHY_S else min(PAUSE_MAX_S, self._pause_s * 2 or PAUSE_FIRST_S)
        self.process, self.start_at = None, time.monotonic() + self._pause_s

    def tell(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class Supervisor:
    """Runs ``command`` in ``count`` processes until a signal comes; then they have ``stop_s`` to end, and a little."""

    def __init__(self, command: Sequence[str], count: int, stop_s: float) -> None:
        self._command, self._stop_s = command, stop_s
        self._children = [Child(number) for number in range(1, count + 1)]
        self._signals: list[int] = []
        self._passed_on = 0

    def run(self) -> int:
        """Return the exit code: 0 after a signal if every process ended well, 1 if one did not or was killed.

        If a process ends as one that cannot work, before any was ever ready, the others are stopped and its code is
        returned.
        SIGTERM, SIGINT and SIGHUP are passed on, also a second time; a third one kills the processes.
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

    def _start(self, child: Child) -> None:
        try:
            child.start(self._command)
        except OSError as exc:  # too many processes, no memory: that may pass
            log.error("worker process %d cannot be started: %s", child.number, exc)
            child.start_at = time.monotonic() + PAUSE_MAX_S

    def _died(self, child: Child, code: int) -> int:
        """Note the end of a process that was not asked to end; return its exit code if there is no use in another."""
        assert child.process is not None
        pid = child.process.pid
        child.bury()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code in HOPELESS and not any(each.has_been_ready() for each in self._children):
            log.error("worker process %d (pid %d) %s before it was ready: stopping", child.number, pid, how)
            return code
        pause_s = max(0.0, child.start_at - time.monotonic())
        when = f"in {pause_s:.1f} s" if pause_s else "now"
        log.warning("worker process %d (pid %d) %s; it is started again %s", child.number, pid, how, when)
        return 0

    def _stop(self) -> int:
        """Pass signals on until all have ended; return 1 if one did not end well."""
        kill_at, result = time.monotonic() + self._stop_s + KILL_S, 0
        while True:
            while self._passed_on < len(self._signals):
                number = self._signals[self._passed_on]
                self._passed_on += 1
                for child in self._children:
                    child.tell(number if self._passed_on <= 2 else signal.SIGKILL)
            if time.monotonic() > kill_at:
                log.error("a worker process does not end: killed")
                for child in self._children:
                    child.tell(signal.SIGKILL)
                kill_at = float("inf")
            for child in self._children:
                if (code := child.ended()) is not None:
                    child.bury()
                    # One that was told before it had set its handlers has taken no job yet.
                    result = result or int(code != 0 and -code not in stop_signals.STOPPING)
            if all(child.process is None for child in self._children):
                return result
            time.sleep(LOOK_S)


def end_with_parent() -> None:
    """Let this process get a SIGTERM when its supervisor is gone, also a killed one. Elsewhere it does nothing."""
    # Taken away, or a program that a handler starts would think itself meant.
    parent = int(os.environ.pop(PARENT, "0"))
    if not parent:
        return
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        green.real_thread(_watch, parent)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        green.real_sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def tell_ready() -> None:
    """Tell the supervisor, if there is one, that this process works."""
    if READY in os.environ:
        fd = int(os.environ.pop(READY))
        with contextlib.suppress(OSError):
            os.write(fd, b"1")
            os.close(fd)
