"""Where a worker of green threads spends its CPU time: a look at the stack every few milliseconds of it.

Sampling leaves the program's speed nearly as it is, where timing each call would double the cost of small functions.
For plain threads there is ``tracer.py``.
"""

from __future__ import annotations

import collections
import json
import os
import signal
from pathlib import Path
from types import FrameType

EVERY_S = 0.001


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
        self._samples[_stack(frame)] += 1


def _stack(frame: FrameType | None) -> tuple[tuple[str, str, int], ...]:
    """Return file, function and first line of each frame, innermost first."""
    found = []
    while frame is not None:
        code = frame.f_code
        found.append((short(code.co_filename), code.co_name, code.co_firstlineno))
        frame = frame.f_back
    return tuple(found)


def short(path: str) -> str:
    for mark in ("/site-packages/", "/lib/python3"):
        if mark in path:
            return path.rpartition(mark)[2]
    return "/".join(path.split("/")[-2:])


def report(path: Path, lines: int = 30) -> str:
    """Return the tables of what was written: shares by file, by function alone, and with what it calls."""
    told = json.loads(path.read_text())
    alone: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    files: collections.Counter[str] = collections.Counter()
    for (file, function, line), own, with_calls in told.get("traced", ()):
        name = f"{file}:{line} {function}"
        alone[name] += own
        within[name] += with_calls
        files[file] += own
    for stack, count in told.get("samples", ()):
        names = [f"{file}:{line} {function}" for file, function, line in stack]
        alone[names[0]] += count
        files[stack[0][0]] += count
        for name in set(names):
            within[name] += count
    total = sum(alone.values()) or 1
    parts = [f"{total} {'µs of CPU, each call timed' if 'traced' in told else 'samples on its CPU'}"]
    for title, table in (("by file", files), ("in the function itself", alone), ("with what it calls", within)):
        parts.append(f"\n  % {title}")
        parts += [f"{100 * count / total:5.1f} {name}" for name, count in table.most_common(lines)]
    return "\n".join(parts)
