"""Run tests with eventlet's green threads in place of real ones, as ``app.py`` does with everything it runs.

    python tests/support/green_runner.py tests/queue tests/worker [any option of pytest]

Patching has to come before everything else is imported, pytest too; that is why this is a program and not a plugin.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
import eventlet  # noqa: E402

eventlet.monkey_patch()

import pytest  # noqa: E402

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]]))
