"""The ``kue`` command: inspect and operate a queue, run workers, benchmark."""

from __future__ import annotations

from .root import main

__all__ = ["main"]
