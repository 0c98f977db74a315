"""Where the SDK of OpenTelemetry is: see requirements-otel.txt."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

SDK = str(Path(sys.prefix, "otel"))


@contextlib.contextmanager
def sdk_on_path() -> Iterator[None]:
    """Let this process import the SDK; it finds its own parts on the path later on, too."""
    sys.path.append(SDK)
    try:
        yield
    finally:
        sys.path.remove(SDK)
