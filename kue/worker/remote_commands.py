"""Remote commands to this process: how many jobs of a type to run at once (Operations.set_slots)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import InvalidJob
from ..storage.keys import Keys

log = logging.getLogger("kue.commands")

#: Seconds between two looks for commands.
POLL_S = 2.0


class RemoteCommands:
    """The commands for one process, polled by its maintenance; ``apply(type, count)`` carries one out."""

    def __init__(self, keys: Keys, worker: str, apply: Callable[[str, int], object]) -> None:
        self._key, self._apply = keys.commands(worker), apply

    def run(self, client: Any) -> float:
        """A maintenance task: take the commands there are; return the seconds until the next look."""
        pipe = client.pipeline(transaction=True)  # a command given in between must not be thrown away
        pipe.hgetall(self._key)
        pipe.delete(self._key)
        commands, _ = pipe.execute()
        if isinstance(commands, list):  # what redis-py makes of a transaction's answers on a Cluster
            commands = dict(zip(commands[::2], commands[1::2], strict=True))
        for job_type, count in commands.items():
            try:
                self._apply(job_type, int(count))
                log.info("concurrency of %s is now %s, by a remote command", job_type, count)
            except (KeyError, ValueError, InvalidJob) as exc:
                log.warning("a command for %s cannot be carried out: %r", job_type, exc)
        return POLL_S
