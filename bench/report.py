"""What is printed and written: tables of medians, with ratios."""

from __future__ import annotations

from bench.plan import COLUMNS, Column, Measured
from bench.steps import median


def table(measured: Measured, rows: list[str], columns: list[Column] = COLUMNS) -> str:
    """Return a Markdown table of medians; a dash where nothing was measured, and notes on what failed."""
    shown = [
        each
        for each in columns
        if any((row, each.key) in measured.values or (row, each.key) in measured.errors for row in rows)
    ]
    notes: list[str] = []
    lines = [
        "| | " + " | ".join(each.title for each in shown) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for row in rows:
        cells = []
        for each in shown:
            values, error = measured.values.get((row, each.key)), measured.errors.get((row, each.key))
            if values:
                cells.append(number(median(values), each.digits))
            elif error is not None:
                if error not in notes:
                    notes.append(error)
                cells.append(f"failed ({notes.index(error) + 1})")
            else:
                cells.append("–")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", *(f"({at}) {text}" for at, text in enumerate(notes, 1))] if notes else []
    return "\n".join(lines)


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"
