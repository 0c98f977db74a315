"""Process titles for ``ps`` and ``top``, such as ``kue worker jobs:queue [3/20 busy]``."""

from __future__ import annotations

import setproctitle

_last = ""


def set_title(text: str) -> None:
    """Set the process title to ``kue`` and the text."""
    global _last
    if text != _last:
        _last = text
        setproctitle.setproctitle(f"kue {text}")
