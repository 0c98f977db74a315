"""End a process stuck in C code that holds the interpreter lock: nothing in it can run, not even signal handlers."""

from __future__ import annotations

import faulthandler

from ..concurrency import green

#: Interval of resetting the timer, seconds.
SIGN_S = 0.5


def end_if_stuck(limit_s: float) -> None:
    """End this process, with its threads' stacks on stderr, if no Python thread has run for ``limit_s``.

    For a process that a supervisor restarts. With a limit of twice the lease, its jobs have been rescued by then. A
    process suspended for longer than that may end too when it continues.
    """
    green.real_thread(_give_signs, limit_s)


def _give_signs(limit_s: float) -> None:
    while True:
        faulthandler.dump_traceback_later(limit_s, exit=True)  # in a C thread that does not need the lock
        green.real_sleep(SIGN_S)
