"""Waits for work: blocks on the tokens of the types that have free slots and, as far as is known, no jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from . import green
from .connect import ANSWER_S, RETRY_MAX_S, Connector, Link
from .keys import Keys
from .slots import TypeSlots

#: Seconds that it blocks at most; after that a reservation looks for jobs whose token was lost.
BLOCK_S = 1.0
#: The same on a Cluster, where nobody can end it early: each node numbers its clients for itself.
CLUSTER_BLOCK_S = 0.2


class Waiter:
    """One blocking connection for all types of a process. ``types`` and ``cond`` are the engine's."""

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        types: Mapping[str, TypeSlots],
        cond: threading.Condition,
    ) -> None:
        self._connector, self._keys, self._types, self._cond = connector, keys, types, cond
        #: Names of the types that it blocks on now.
        self.blocking: set[str] = set()
        self._client_id: int | None = None
        self._block_s = CLUSTER_BLOCK_S if connector.is_cluster else BLOCK_S
        self._stopped = False

    def start(self) -> None:
        green.spawn(self._run)

    def stop(self) -> None:
        with self._cond:
            self._stopped = True
            self._cond.notify_all()
        self.look_again()

    def look_again(self) -> None:
        """Let it choose anew what it waits for."""
        if self._client_id is not None:
            try:
                self._connector.shared().execute_command("CLIENT", "UNBLOCK", self._client_id)
            except (RedisError, OSError):
                pass  # it looks again by itself within BLOCK_S

    def _run(self) -> None:
        link = Link(self._connector, BLOCK_S + ANSWER_S)
        while waiting := self._choose():
            token = self._block(link, list(waiting))
            if self._wake(waiting, token):
                # Its slots filled up, or it has gone quiet: the token belongs to a job that another worker can take.
                try:
                    link.client.execute_command("LPUSH", token, "1")
                except (RedisError, OSError):
                    link.drop()
        link.drop()

    def _choose(self) -> dict[str, TypeSlots]:
        """Wait until there is a type to wait for; return them by the key of their tokens, none after ``stop``."""
        with self._cond:
            while not self._stopped:
                waiting = {self._keys.tokens(each.name): each for each in self._types.values() if each.waits()}
                if waiting:
                    self.blocking = {each.name for each in waiting.values()}
                    return waiting
                self._cond.wait(until_paused_ends(self._types) or BLOCK_S)
        return {}

    def _block(self, link: Link, keys: list[str]) -> str | None:
        """Return the key that a token was taken from, None if there was none in time."""
        try:
            if self._client_id is None and not self._connector.is_cluster:
                self._client_id = int(link.client.execute_command("CLIENT", "ID"))
            popped: Any = link.client.execute_command("BLPOP", *keys, self._block_s)
            return str(popped[0]) if popped else None
        except Exception as exc:
            link.drop()
            self._client_id = None
            if self._connector.outage.away(exc, link.opened_at):
                green.sleep(RETRY_MAX_S)
            return None

    def _wake(self, waiting: Mapping[str, TypeSlots], token: str | None) -> bool:
        """Let the pumps ask for what was waited for; return whether a token was taken that nobody here can use."""
        with self._cond:
            self.blocking = set()
            for each in [waiting[token]] if token else waiting.values():
                each.signals += 1
                each.hungry = True
            self._cond.notify_all()
            return token is not None and (self._stopped or not waiting[token].uses_tokens())


def until_paused_ends(types: Mapping[str, TypeSlots]) -> float | None:
    """Return the seconds until a paused type is worth asking for again, None if none is paused."""
    now = time.monotonic()
    ends = [each.paused_until - now for each in types.values() if each.paused_until > now]
    return max(0.01, min(ends)) if ends else None
