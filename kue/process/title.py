"""What ``ps`` and ``top`` call a process: ``kue worker jobs:queue [3/20 busy]`` in place of a Python command line."""

from __future__ import annotations

import setproctitle


def set_title(text: str) -> None:
    """Call this process ``kue`` and the text."""
    setproctitle.setproctitle(f"kue {text}")
