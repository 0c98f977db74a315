"""Threads that a process cannot do without.

If one of them dies of an error, the process must not continue and look healthy. A program sets ``on_exit`` to end
itself, so that its supervisor restarts it; inside another program there is only the log line.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from . import green

log = logging.getLogger("kue")

#: Exit code of a process ended by the failure of such a thread: EX_SOFTWARE of <sysexits.h>.
EXIT_CODE = 70
#: Seconds between an error in a loop and its next step: first, and at most.
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 5.0


def _do_nothing(name: str, exc: BaseException) -> None:
    pass


#: Called with the name and the error of an essential thread that has ended.
on_exit: Callable[[str, BaseException], object] = _do_nothing


def run_essential(name: str, fn: Callable[..., object], *args: object) -> None:
    """Run ``fn(*args)`` as the body of a thread that must not end by an error.

    An error that ends it is logged with its traceback, and ``on_exit`` is called.
    """
    try:
        fn(*args)
    except BaseException as exc:
        if green.is_kill(exc) or sys.is_finalizing():
            raise
        log.critical("Thread %s died of an error", name, exc_info=True)
        on_exit(name, exc)


def repeat(name: str, step: Callable[[], bool]) -> None:
    """Call ``step`` until it returns False. After an error: log it, wait, longer each time, and go on."""
    pause_s = PAUSE_FIRST_S
    while True:
        try:
            if not step():
                return
        except Exception:
            log.exception("%s: unexpected error; continuing in %g s", name, pause_s)
            green.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)
        else:
            pause_s = PAUSE_FIRST_S


def exit_process(name: str, exc: BaseException) -> None:
    """End the process at once; for ``on_exit``. Other threads may hold any lock, so an orderly exit is impossible."""
    logging.shutdown()
    os._exit(EXIT_CODE)
