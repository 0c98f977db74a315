"""The log output of kue's own programs. An application that configures logging itself needs none of this.

The loggers: ``kue`` for the queue and its connection, ``kue.jobs`` for attempts and jobs, ``kue.web`` for the monitor.
"""

from __future__ import annotations

import logging
import os

from ..logs import JsonFormatter

FORMAT = "%(asctime)s %(process)d %(levelname)-7s %(message)s"
#: What ``--log-format`` and KUE_LOG_FORMAT accept.
FORMS = ("text", "json")
#: The levels that ``--log-level`` accepts, as ``logging`` names them.
LEVELS = ("debug", "info", "warning", "error")


def is_json() -> bool:
    """Return whether KUE_LOG_FORMAT asks for JSON."""
    return os.environ.get("KUE_LOG_FORMAT", "").strip().lower() == "json"


def configure_logging(level: str = "info", *, completions: bool = False, form: str | None = None) -> None:
    """Log to stderr from ``level`` on, as text or JSON (``form``, by default KUE_LOG_FORMAT). ``completions``: also log
    each completed job.
    """
    output = logging.StreamHandler()
    as_json = is_json() if form is None else form == "json"
    output.setFormatter(JsonFormatter() if as_json else logging.Formatter(FORMAT, "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(handlers=[output])
    logging.getLogger().setLevel(level.upper())
    logging.getLogger("kue.jobs.completed").setLevel(logging.INFO if completions else logging.WARNING)
    for name in ("kue.web.socketio", "kue.web.engineio"):  # one line for each packet
        logging.getLogger(name).setLevel(logging.WARNING)
