"""Output: aligned tables, durations, colors on a terminal, and JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import click

from ..states import ACTIVE, COMPLETE, DELAYED, FAILED, INACTIVE
from ..storage.json_text import strict_json

COLORS = {INACTIVE: "cyan", ACTIVE: "blue", COMPLETE: "green", FAILED: "red", DELAYED: "yellow"}


def print_json(value: Any) -> None:
    """Print one JSON value on one line. Control characters and invalid Unicode are escaped."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        text = strict_json(value)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
    print(text, flush=True)


def colored() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, color: str | None = None, *, bold: bool = False) -> str:
    return click.style(text, fg=color, bold=bold or None) if colored() and (color or bold) else text


def plain(text: Any) -> str:
    """Return text on one line without control characters: it may come from an untrusted job."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))


def plain_lines(text: Any) -> str:
    """Return text without control characters, keeping its line breaks."""
    return "\n".join(plain(line) for line in str(text).split("\n"))


def _escaped(letter: str) -> str:
    return {"\n": "\\n", "\t": " ", "\r": "\\r"}.get(letter) or letter.encode("unicode_escape", "replace").decode()


def width(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, columns: int) -> str:
    """Truncate a text to a number of columns, ending in an ellipsis."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for letter in text:
        used += width(letter)
        if used > columns - 1:
            break
        kept += letter
    return kept + "…"


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, right: str = "", color: int | None = None) -> None:
    """Print rows under headers. ``right``: headers of right-aligned columns; ``color``: index of the state column.

    On a terminal the last column is truncated so that each row fits on one line.
    """
    cells = [[plain("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max([width(header), *(width(row[at]) for row in cells)]) for at, header in enumerate(headers)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(room, width(headers[-1]), 8))
    numbers = right.split()

    def line(row: Sequence[str], painted: bool) -> str:
        parts = []
        for at, cell in enumerate(row):
            cell = cut(cell, widths[at])
            space = " " * (widths[at] - width(cell))
            shown = paint(cell, COLORS.get(cell)) if painted and at == color else cell
            parts.append(space + shown if headers[at] in numbers else shown + space)
        return "  ".join(parts).rstrip()

    print(paint(line(headers, False), bold=True))
    for row in cells:
        print(line(row, True))


def ago(at_ms: int | None, now_ms: int) -> str:
    """Return how long ago a time was, or with a plus how far ahead it is: ``12s``, ``3m``, ``5h``, ``9d``."""
    if at_ms is None:
        return ""
    return ("+" if at_ms > now_ms else "") + duration(abs(now_ms - at_ms))


def duration(ms: float) -> str:
    if 0 < ms < 1000:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f}s"
