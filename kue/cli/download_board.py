"""Progress bars of ``kue download`` on a terminal, one line for each running download."""

from __future__ import annotations

import math
import shutil
import sys
import threading
import time

from ..downloads import ProgressData
from ..downloads.messages import size
from .output import cut, duration, plain, width

#: Shortest interval between two repaints, seconds.
REPAINT_S = 0.1
BAR_COLUMNS = 16
#: Width of a short name, so that the bars of several downloads stand below each other.
NAME_COLUMNS = 24


class Board:
    """Lines on stderr. Without a terminal, or with ``quiet``, only messages are printed."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._paints = not quiet and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._rows: dict[int, tuple[str, ProgressData | None]] = {}
        self._painted = 0
        self._due = 0.0

    def show(self, number: int, name: str, data: ProgressData | None = None) -> None:
        """Set the line of a download."""
        with self._lock:
            self._rows[number] = name, data
            if self._paints and time.monotonic() >= self._due:
                self._repaint()

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Print a message above the bars."""
        with self._lock:
            if self._quiet and not is_error:
                return
            self._clear()
            print(plain(text), file=sys.stderr, flush=True)
            if self._paints:
                self._repaint()

    def remove(self, number: int) -> None:
        """Remove the line of a download."""
        with self._lock:
            self._rows.pop(number, None)
            if self._paints:
                self._repaint()

    def close(self) -> None:
        """Remove all bars."""
        with self._lock:
            self._rows.clear()
            self._clear()

    def _clear(self) -> None:
        if self._painted:
            sys.stderr.write(f"\x1b[{self._painted}F\x1b[J")
            self._painted = 0

    def _repaint(self) -> None:
        self._due = time.monotonic() + REPAINT_S
        terminal = shutil.get_terminal_size()
        rows = list(self._rows.values())[: max(1, terminal.lines - 2)]
        self._clear()
        for name, data in rows:
            sys.stderr.write(_line(name, data, terminal.columns) + "\n")
        self._painted = len(rows)
        sys.stderr.flush()


def _line(name: str, data: ProgressData | None, columns: int) -> str:
    """Return a line whose columns stay in place: name, bar, percent, bytes, rate, time left."""
    if data is None:
        return cut(f"{plain(name)}  connecting", columns)
    total, done = data["total"], data["bytes"]
    end = f"  {size(done):>8}  {size(data['rate']) + '/s':>10}"
    if total:
        filled = min(BAR_COLUMNS, BAR_COLUMNS * done // total)
        eta_s = data["eta_s"]
        left = "" if eta_s is None else f"{duration(math.ceil(eta_s) * 1000)} left"
        end = f"  [{'#' * filled}{'-' * (BAR_COLUMNS - filled)}] {100 * done // total:3}%{end}  {left:>9}"
    room = max(8, columns - len(end) - 1)
    name = cut(plain(name), room)
    return name + " " * (min(room, NAME_COLUMNS) - width(name)) + end
