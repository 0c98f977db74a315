"""Where a worker of plain threads spends its CPU time: every call is timed, by the CPU clock of its own thread.

Looking now and then does not work there: a look waits for the interpreter lock, so it sees threads only where they let
go of it. Timing each call makes small functions look dearer than they are: compare with a run without ``--profile``.
"""

from __future__ import annotations

import _lsprof
import collections
import cProfile
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from bench.harness.sampler import short


class Tracer:
    """Traces the threads that are started from now on."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._profiles: list[Any] = []
        threading.setprofile(self._begin)

    def _begin(self, frame: object, event: str, argument: object) -> None:
        """Called at the first call in a new thread, and replaced by that thread's own profile."""
        profile = cProfile.Profile(time.thread_time)
        self._profiles.append(profile)
        profile.enable()

    def write(self) -> None:
        own: collections.Counter[tuple[str, str, int]] = collections.Counter()
        within: collections.Counter[tuple[str, str, int]] = collections.Counter()
        for profile in self._profiles:
            for entry in _lsprof.Profiler.getstats(profile):
                code = entry.code
                builtin = isinstance(code, str)
                name = ("in C", code, 0) if builtin else (short(code.co_filename), code.co_name, code.co_firstlineno)
                own[name] += int(entry.inlinetime * 1e6)
                within[name] += int(entry.totaltime * 1e6)
        rows = [[list(name), micros, within[name]] for name, micros in own.items()]
        Path(self._path).write_text(json.dumps({"pid": os.getpid(), "traced": rows}))
