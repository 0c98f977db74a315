"""Waits for work: blocks on the tokens of the types that have free slots and, as far as is known, no jobs.

Behind the wait lies a reservation for one free slot of each of these types, at the server already when the token comes:
so the first job of an idle worker takes no further round trip. The pumps ask for what else there may be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from redis.exceptions import RedisError

from . import green
from .caller import Ask, Caller
from .connect import ANSWER_S, Connector, Link
from .keys import Keys
from .scripts import Turn
from .slots import TypeSlots

#: Seconds that it blocks at most; after that its reservation finds jobs whose token was lost.
BLOCK_S = 1.0
#: The same on a Cluster, where nobody can end it early: each node numbers its clients for itself.
CLUSTER_BLOCK_S = 0.2
#: Seconds that a stop waits for it, after it was told to look again: a server that is away never answers.
LEAVE_S = 2.0


class Waiter:
    """One blocking connection for all types of a process. ``types`` and ``cond`` are the engine's.

    ``lend(types)`` gives the question for one slot of each; ``take(ask, turn)`` starts what it brought.
    """

    def __init__(
        self,
        connector: Connector,
        caller: Caller,
        keys: Keys,
        types: Mapping[str, TypeSlots],
        cond: threading.Condition,
        lend: Callable[[Iterable[TypeSlots]], Ask],
        take: Callable[[Ask, Turn], None],
    ) -> None:
        self._connector, self._caller, self._keys = connector, caller, keys
        self._types, self._cond, self._lend, self._take = types, cond, lend, take
        self._ask: Ask | None = None
        self._told_at = 0.0
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
        self._told_at = time.monotonic()
        if self._client_id is not None:
            try:
                self._connector.shared().execute_command("CLIENT", "UNBLOCK", self._client_id)
            except (RedisError, OSError):
                pass  # it looks again by itself within BLOCK_S

    def holds(self, job_type: str | None) -> bool:
        """Tell whether a job (of a type) may just be coming, for a stop that has told it to look again."""
        ask = self._ask
        return ask is not None and job_type in (None, *ask.slots) and time.monotonic() - self._told_at < LEAVE_S

    def _run(self) -> None:
        link = self._caller.link(BLOCK_S + ANSWER_S)
        while (ask := self._choose()) is not None:
            if self._client_id is None:
                self._client_id = self._number(link)
            keys = [self._keys.tokens(name) for name in ask.slots]
            opened_at = link.opened_at
            token, turn = self._caller.wait(link, ask, keys, self._block_s, self._forsaken)
            if link.opened_at != opened_at:
                self._client_id = None  # on another connection by now
            self._hand_over(link, ask, token, turn)
        link.drop()

    def _choose(self) -> Ask | None:
        """Wait until there is a type to wait for; return the question for these, None after ``stop``."""
        with self._cond:
            while not self._stopped:
                waiting = [each for each in self._types.values() if each.waits()]
                if waiting:
                    self.blocking = {each.name for each in waiting}
                    self._ask = self._lend(waiting)
                    return self._ask
                self._cond.wait(until_paused_ends(self._types) or BLOCK_S)
        return None

    def _number(self, link: Link) -> int | None:
        """Return the connection's number at the server, by which the wait can be ended early."""
        try:
            return None if self._connector.is_cluster else int(link.client.execute_command("CLIENT", "ID"))
        except (RedisError, OSError):
            link.drop()
            return None

    def _forsaken(self) -> bool:
        """Tell whether nobody wants a job any more."""
        return self._stopped or all(each.quiet for each in self._types.values())

    def _hand_over(self, link: Link, ask: Ask, token: str | None, turn: Turn) -> None:
        with self._cond:
            self.blocking = set()
            for name in ask.slots:
                if self._keys.tokens(name) == token:
                    self._types[name].signals += 1
            # It may have been told to be quiet after it had chosen, and before the server knew that it waits.
            quiet = {name for name in ask.slots if self._stopped or self._types[name].quiet}
        unwanted = [reserved for reserved in turn.jobs if reserved.fields["type"] in quiet]
        self._caller.release(link, unwanted)
        self._take(ask, turn._replace(jobs=[each for each in turn.jobs if each not in unwanted]))
        green.sleep()  # the handler goes first
        with self._cond:
            self._ask = None
            for reserved in turn.jobs:
                self._types[reserved.fields["type"]].hungry = True  # where one was, there may be more
            self._cond.notify_all()


def until_paused_ends(types: Mapping[str, TypeSlots]) -> float | None:
    """Return the seconds until a paused type is worth asking for again, None if none is paused."""
    now = time.monotonic()
    ends = [each.paused_until - now for each in types.values() if each.paused_until > now]
    return max(0.01, min(ends)) if ends else None
