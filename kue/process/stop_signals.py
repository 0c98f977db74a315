"""Graceful shutdown on a signal, within a deadline that holds even if a handler blocks.

``docker stop`` and most service managers send SIGKILL 10 s after SIGTERM; running jobs would then wait for their leases
to expire. A handler may block the thread that all green threads share, so an OS thread watches the deadline: it
releases the running jobs itself and ends the process.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable

from ..concurrency import green
from ..errors import QueueUnavailable
from ..queue import Queue

log = logging.getLogger("kue")

#: Default grace period for running jobs, seconds. With MARGIN_S and RELEASE_S it stays well below 10.
GRACE_S = 5.0
#: Additional seconds for the rest of the shutdown: releasing jobs, unregistering, closing connections.
MARGIN_S = 2.5
#: Seconds that the watching thread tries to release jobs.
RELEASE_S = 0.8
#: A closed terminal stops the program too.
STOPPING = (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


def handled() -> list[signal.Signals]:
    """Return the signals that stop this program. Under ``nohup`` SIGHUP is ignored, and stays so."""
    hangup = getattr(signal, "SIGHUP", None)
    return [number for number in STOPPING if number != hangup or signal.getsignal(number) is not signal.SIG_IGN]


class StopSignals:
    """Counts stop signals. The third ends the process immediately.

    ``release_jobs()``, set by the program, is called in an OS thread if the process is still alive MARGIN_S after the
    ``grace_s`` of its jobs, or after a second signal. It returns whether it succeeded.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.count = 0
        self.release_jobs: Callable[[], bool] = lambda: True
        self._grace_s = grace_s
        self._handled = handled()
        self._os = green.original("os")
        reading, self._writing = self._os.pipe()
        self._os.set_blocking(self._writing, False)
        # Python runs signal handlers in the main thread, which may be blocked; the wakeup fd is written at once.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        green.real_thread(self._watch, reading)
        for number in self._handled:
            signal.signal(number, self._came)

    def ignore(self) -> None:
        """Ignore further signals: Python restores the default handlers at exit, and one would change the exit code."""
        for number in self._handled:
            signal.signal(number, signal.SIG_IGN)

    def close(self) -> None:
        """Restore the default handlers, for a program that failed to start."""
        signal.set_wakeup_fd(-1)
        for number in self._handled:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        self._os.close(self._writing)

    def _came(self, number: int, frame: object) -> None:
        self.count += 1

    def _watch(self, reading: int) -> None:
        came, deadline = 0, float("inf")
        poll = green.original("select").poll()
        poll.register(reading, select.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            if not poll.poll(None if came == 0 else left_s * 1000):
                continue
            numbers = self._os.read(reading, 64)
            if not numbers:  # closed
                self._os.close(reading)
                return
            for number in numbers:
                if number not in self._handled:
                    continue
                came += 1
                if came > 2:  # the shutdown hangs, and the user insists
                    os._exit(128 + number)
                deadline = min(deadline, time.monotonic() + MARGIN_S + (self._grace_s if came == 1 else 0))
        self._end()

    def _end(self) -> None:
        log.error("Shutdown is taking too long; releasing running jobs and exiting")
        done, outcome = green.real_event(), [False]

        def release() -> None:
            try:
                outcome[0] = self.release_jobs()
            except Exception:
                log.exception("Could not release running jobs; they run again when their leases expire")
            done.set()

        green.real_thread(release)
        done.wait(RELEASE_S)
        os._exit(0 if outcome[0] else 1)


def wait_for_redis(queue: Queue, signals: StopSignals) -> bool:
    """Wait until Redis answers; return False if a signal came first. A wrong password is raised at once."""
    waiting = False
    while not signals.count:
        try:
            queue.session.call(lambda client: client.ping())
        except QueueUnavailable as exc:
            if not waiting:
                log.warning("Waiting for Redis: %s", exc.reason or exc)
            waiting = True
        else:
            if waiting:
                log.info("Redis is reachable")
            return True
    return False


def log_shutdown(running: int, grace_s: float) -> None:
    """Log that the shutdown has begun, and how long it may take."""
    if running:
        jobs = f"{running} running job{'' if running == 1 else 's'}"
        log.info("Shutting down; waiting up to %g s for %s. Press Ctrl-C again to stop immediately.", grace_s, jobs)
    else:
        log.info("Shutting down")
