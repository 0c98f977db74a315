"""Duration arguments: a number in the unit of the argument's name, or a timedelta. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

#: A duration argument: a number in the documented unit, or a timedelta.
Duration = float | timedelta


def in_ms(duration: Any) -> Any:
    """Return a timedelta as ms; anything else unchanged, for the caller to check."""
    return duration / timedelta(milliseconds=1) if isinstance(duration, timedelta) else duration


def in_seconds(duration: Any) -> Any:
    """Return a timedelta as seconds; anything else unchanged, for the caller to check."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
