"""Durations as callers give them: a number in the unit that the name says, or a timedelta. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

#: A duration argument: a number of the unit that the argument's name or text says, or a timedelta.
Duration = float | timedelta


def in_ms(duration: Any) -> Any:
    """Return a timedelta as ms; anything else as it is, for the caller to check."""
    return duration / timedelta(milliseconds=1) if isinstance(duration, timedelta) else duration


def in_seconds(duration: Any) -> Any:
    """Return a timedelta as seconds; anything else as it is, for the caller to check."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
