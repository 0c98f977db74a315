"""Remote commands to this process: set a type's concurrency (Operations.set_slots)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import InvalidJob
from ..storage.keys import Keys

log = logging.getLogger("kue.commands")

#: Poll interval for commands, seconds.
POLL_S = 2.0


class RemoteCommands:
    """The commands for one process, polled by its maintenance. ``apply(type, count)`` executes one."""

    def __init__(self, keys: Keys, worker: str, apply: Callable[[str, int], object]) -> None:
        self._key, self._apply = keys.commands(worker), apply

    def run(self, client: Any) -> float:
        """A maintenance task: execute pending commands; return the seconds until the next poll."""
        pipe = client.pipeline(transaction=True)  # a command sent in between must not be lost
        pipe.hgetall(self._key)
        pipe.delete(self._key)
        commands, _ = pipe.execute()
        if isinstance(commands, list):  # the form of redis-py's transaction replies on a Cluster
            commands = dict(zip(commands[::2], commands[1::2], strict=True))
        for job_type, count in commands.items():
            try:
                self._apply(job_type, int(count))
                log.info("Concurrency of type %s set to %s, from the monitor or another program", job_type, count)
            except (KeyError, ValueError, InvalidJob) as exc:
                log.warning("Concurrency of type %s not changed: %r", job_type, exc)
        return POLL_S
