"""One connection for one thread, reopened after each failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import RedisError, ResponseError

from .client_factory import ANSWER_S
from .clients import OneConnection
from .connector import Connector
from .failures import CALL_IN_DOUBT, with_retries
from .liveness import LiveConnection
from .spin_wait import SpinWait

#: Maximum number of old connections that the server is told to close once it is reachable again.
KILLED_MAX = 20

T = TypeVar("T")


class DedicatedConnection:
    """One dedicated connection, opened at first use and reopened after a failure. For one thread at a time.

    ``kill_previous``: after reopening, tell the server to close the previous connection, so that a command still
    buffered there never runs after its repetition (not on a Cluster). ``spin``: spin-wait for replies.
    """

    def __init__(
        self,
        connector: Connector,
        answer_s: float | None = ANSWER_S,
        *,
        kill_previous: bool = False,
        spin: bool = False,
    ) -> None:
        self._connector, self._answer_s = connector, answer_s
        self._spin_wait = SpinWait() if spin else None
        self._kill_previous = kill_previous and not connector.is_cluster
        self._client: Any = None
        self._name: tuple[str, str] | None = None  # the server's id and address of the connection
        self._to_kill: list[tuple[str, str]] = []
        #: When the connection was last opened, monotonic s.
        self.opened_at = 0.0

    @property
    def client(self) -> Any:
        if isinstance(self._client, OneConnection) and _is_forgotten(self._client.connection):
            self.disconnect()  # not in the call, since a new connection must kill this one first
        if self._client is None:
            self.opened_at = time.monotonic()
            self._client = self._connector.dedicated(self._answer_s)
            if self._kill_previous:
                self._kill_earlier(self._client)
            if isinstance(self._client, OneConnection):
                self._client.spin_wait = self._spin_wait
        return self._client

    def _kill_earlier(self, client: Any) -> None:
        try:
            found = dict(part.partition("=")[::2] for part in client.execute_command("CLIENT", "INFO").split())
            self._name = found["id"], found["addr"]
            for number, address in self._to_kill:  # both, since ids start over after a server restart
                client.execute_command("CLIENT", "KILL", "ID", number, "ADDR", address)
        except (ResponseError, KeyError):
            pass  # the server is too old, or does not permit the command
        self._to_kill.clear()

    def disconnect(self) -> None:
        """Close the connection: a half-read reply must never be mistaken for the next command's."""
        if self._name is not None:
            self._to_kill, self._name = [*self._to_kill, self._name][-KILLED_MAX:], None
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except (RedisError, OSError):
                pass

    def with_retries(self, call: Callable[[Any], T], patience_s: float, in_doubt: str = CALL_IN_DOUBT) -> T:
        """Return ``call(client)``, repeated for ``patience_s`` while Redis is unreachable; then raise QueueUnavailable.

        Only for calls that are safe to repeat after a lost reply.
        """
        return with_retries(lambda: call(self.client), patience_s, self.disconnect, in_doubt)


def _is_forgotten(connection: object) -> bool:
    return isinstance(connection, LiveConnection) and connection.is_forgotten()
