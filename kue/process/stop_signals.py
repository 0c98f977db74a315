"""Stopping a program by a signal, within a time that holds whatever its threads do.

``docker stop`` and most service managers grant 10 s from SIGTERM on; then they kill, and running jobs wait for their
leases to lapse. A handler may block the thread that all others depend on, so a true thread watches the time: it hands
the running jobs back itself, and ends the process.
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

#: Seconds that running jobs get to end, by default. With MARGIN_S and RELEASE_S it stays well below 10.
GRACE_S = 5.0
#: Seconds on top, for all else that a stop does: handing back, saying goodbye, closing.
MARGIN_S = 2.5
#: Seconds that the watching thread tries to hand jobs back.
RELEASE_S = 0.8
#: A closed terminal is a stop like the others.
STOPPING = (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


def handled() -> list[signal.Signals]:
    """Return the signals that stop this program. Under ``nohup`` SIGHUP is ignored, and stays so."""
    hangup = getattr(signal, "SIGHUP", None)
    return [number for number in STOPPING if number != hangup or signal.getsignal(number) is not signal.SIG_IGN]


class StopSignals:
    """Counts the signals that ask for a stop. A third one ends the process where it is.

    ``release()``, set by the program, is called in an OS thread if the process has not ended MARGIN_S after the
    ``grace_s`` of its jobs, or after a second signal; it returns whether it got through.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.count = 0
        self.release: Callable[[], bool] = lambda: True
        self._grace_s = grace_s
        self._handled = handled()
        self._os = green.original("os")
        reading, self._writing = self._os.pipe()
        self._os.set_blocking(self._writing, False)
        # Python calls its handlers in the main thread, which may be blocked; this is written at once.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        green.real_thread(self._watch, reading)
        for number in self._handled:
            signal.signal(number, self._came)

    def ignore(self) -> None:
        """All is done. At its end Python restores the default handlers, and a late signal would spoil the exit code."""
        for number in self._handled:
            signal.signal(number, signal.SIG_IGN)

    def close(self) -> None:
        """Leave the signals to somebody else: this program has not begun."""
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
                if came > 2:  # it does not get anywhere, and somebody insists
                    os._exit(128 + number)
                deadline = min(deadline, time.monotonic() + MARGIN_S + (self._grace_s if came == 1 else 0))
        self._end()

    def _end(self) -> None:
        log.error("the stop takes too long: releasing what runs, and ending")
        done, outcome = green.real_event(), [False]

        def release() -> None:
            try:
                outcome[0] = self.release()
            except Exception:
                log.exception("jobs could not be released; they run again when their leases lapse")
            done.set()

        green.real_thread(release)
        done.wait(RELEASE_S)
        os._exit(0 if outcome[0] else 1)


def wait_for_redis(queue: Queue, signals: StopSignals) -> bool:
    """Wait until Redis answers; return whether it did before a signal came. A wrong password is an error at once."""
    waiting = False
    while not signals.count:
        try:
            queue.session.call(lambda client: client.ping())
        except QueueUnavailable as exc:
            if not waiting:
                log.warning("waiting for Redis: %s", exc.__cause__ or exc)
            waiting = True
        else:
            if waiting:
                log.info("Redis answers")
            return True
    return False
