"""The ``kue`` command: look at a queue, operate it, work on it, measure it."""

from __future__ import annotations

from .root import main

__all__ = ["main"]
