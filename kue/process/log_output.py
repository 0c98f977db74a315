"""The log output of kue's own programs. An application that configures logging itself needs none of this.

The loggers: ``kue`` for the queue and its connection, ``kue.jobs`` for attempts and jobs, ``kue.web`` for the monitor.
"""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(process)d %(levelname)-7s %(message)s"
#: The levels that ``--log-level`` accepts, as ``logging`` names them.
LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str = "info", *, completions: bool = False) -> None:
    """Log to stderr from ``level`` on. ``completions``: also log each completed job."""
    logging.basicConfig(level=level.upper(), format=FORMAT, datefmt="%Y-%m-%d %H:%M:%S")
    logging.getLogger().setLevel(level.upper())
    logging.getLogger("kue.jobs.completed").setLevel(logging.INFO if completions else logging.WARNING)
    for name in ("kue.web.socketio", "kue.web.engineio"):  # one line for each packet
        logging.getLogger(name).setLevel(logging.WARNING)
