"""End a process that is stuck in C code which holds the interpreter lock: nothing in it can run, signals neither."""

from __future__ import annotations

import faulthandler

from ..concurrency import green

#: Seconds between two signs of life.
SIGN_S = 0.5


def end_if_stuck(limit_s: float) -> None:
    """End this process, with the stacks of its threads on stderr, if no other thread has run for ``limit_s``.

    For a process that a supervisor replaces. With twice its lease, its jobs are rescued by then. A frozen process that
    goes on after that time may end too.
    """
    green.real_thread(_give_signs, limit_s)


def _give_signs(limit_s: float) -> None:
    while True:
        faulthandler.dump_traceback_later(limit_s, exit=True)  # by a thread in C, without the lock
        green.real_sleep(SIGN_S)
