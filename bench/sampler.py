"""Where a worker process spends its CPU time: a look at the stack every few milliseconds of it.

Sampling leaves the program's speed nearly as it is, where a tracing profiler would double the cost of small functions.
Under eventlet everything runs in one thread, so each sample is exact; with plain threads a sample counts for those that
do not wait.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

EVERY_S = 0.001
#: A thread whose innermost Python function is one of these waits, and uses no CPU.
WAITING = ("wait", "sleep", "get", "acquire", "real_sleep", "_loop", "_recv", "select", "poll", "read_from_socket")


class Sampler:
    def __init__(self, path: str) -> None:
        self._path = path
        self._samples: collections.Counter[tuple[tuple[str, str, int], ...]] = collections.Counter()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        rows = [[list(stack), count] for stack, count in self._samples.items()]
        Path(self._path).write_text(json.dumps({"pid": os.getpid(), "samples": rows}))

    def _look(self, number: int, frame: FrameType | None) -> None:
        green = "eventlet" in sys.modules and len(threading.enumerate()) <= 1
        others = {} if green else sys._current_frames()
        others.pop(threading.get_ident(), None)
        stacks = [_stack(frame)] if frame is not None else []
        busy = [stack for each in others.values() if (stack := _stack(each)) and stack[0][1] not in WAITING]
        if not green:
            stacks = [stack for stack in stacks if stack[0][1] not in WAITING] or stacks if not busy else []
        for stack in [*stacks, *busy]:
            self._samples[stack] += 1


def _stack(frame: FrameType | None) -> tuple[tuple[str, str, int], ...]:
    """Return file, function and first line of each frame, innermost first."""
    found = []
    while frame is not None:
        code = frame.f_code
        found.append((_short(code.co_filename), code.co_name, code.co_firstlineno))
        frame = frame.f_back
    return tuple(found)


def _short(path: str) -> str:
    for mark in ("/site-packages/", "/lib/python3"):
        if mark in path:
            return path.rpartition(mark)[2]
    return "/".join(path.split("/")[-2:])


def report(path: Path, lines: int = 30) -> str:
    """Return the tables of what a ``Sampler`` wrote: share by file, by function alone, and with what it calls."""
    samples = json.loads(path.read_text())["samples"]
    total = sum(count for _, count in samples) or 1
    alone: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    files: collections.Counter[str] = collections.Counter()
    for stack, count in samples:
        names = [f"{file}:{line} {function}" for file, function, line in stack]
        alone[names[0]] += count
        files[stack[0][0]] += count
        for name in set(names):
            within[name] += count
    parts = [f"{total} samples of the worker on its CPU"]
    for title, table in (("by file", files), ("in the function itself", alone), ("with what it calls", within)):
        parts.append(f"\n  % {title}")
        parts += [f"{100 * count / total:5.1f} {name}" for name, count in table.most_common(lines)]
    return "\n".join(parts)
