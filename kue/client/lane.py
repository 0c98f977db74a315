"""A lane: numbered calls of ``create.lua`` over one connection, so that Redis recognizes repeated calls."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ..connection.connector import Connector
from ..connection.dedicated import DedicatedConnection
from ..connection.failures import CREATE_IN_DOUBT
from ..storage.scripts import Scripts

#: Seconds after the first failure that a create is retried before its caller gets QueueUnavailable.
RETRY_S = 2.0
#: Maximum number of jobs per call when many are split: Redis works on one call while the next is packed.
CALL_JOBS = 250


class Call:
    """A repeatable call of ``create.lua``, identified by ``lane`` and ``sequence``."""

    __slots__ = ("first", "lane", "sequence", "rows", "tried")

    def __init__(self, rows: Sequence[Sequence[str]], lane: str, sequence: int) -> None:
        self.rows, self.lane, self.sequence = rows, lane, sequence
        #: The first id it created; 0 if it certainly created none, None while unknown.
        self.first: int | None = None
        self.tried = False


class Lane:
    """Performs calls one after another, and repeats those whose reply was lost."""

    def __init__(self, connector: Connector, scripts: Scripts, *, spin: bool = False) -> None:
        self._connection, self._scripts = DedicatedConnection(connector, spin=spin), scripts
        self.renew()

    def renew(self) -> None:
        """Take a new name: no further calls may follow a call in doubt on the same lane."""
        self._name, self._sequence = _new_name(), 0

    def disconnect(self) -> None:
        self._connection.disconnect()

    def calls(self, rows: Sequence[Sequence[str]]) -> list[Call]:
        """Split rows into calls. All but the first get their own lanes, so that Redis remembers each."""
        self._sequence += 1
        calls = [Call(rows[:CALL_JOBS], self._name, self._sequence)]
        for at in range(CALL_JOBS, len(rows), CALL_JOBS):
            calls.append(Call(rows[at : at + CALL_JOBS], _new_name(), 1))
        return calls

    def perform(self, calls: Sequence[Call]) -> None:
        """Perform the calls that have not succeeded yet. Raises QueueUnavailable."""
        left = [call for call in calls if call.first is None]
        for call in left:
            call.tried = True
        if len(left) > 1:
            self._perform_pipelined(left)
        for call in left:
            if call.first is None:
                call.first = self._connection.with_retries(
                    lambda client, call=call: self._scripts.create(  # type: ignore[misc]
                        client, call.rows, lane=call.lane, sequence=call.sequence
                    ),
                    RETRY_S,
                    in_doubt=CREATE_IN_DOUBT,
                )

    def _perform_pipelined(self, calls: Sequence[Call]) -> None:
        """Send each call before the previous one's reply. Calls without a reply can be repeated."""
        try:
            wanted = ((call.rows, call.lane, call.sequence) for call in calls)
            answers = self._scripts.create_pipelined(self._connection.client, wanted)
            for call in calls:
                call.first = next(answers)
        except Exception:
            self._connection.disconnect()
        except BaseException:
            self._connection.disconnect()
            raise


def _new_name() -> str:
    return uuid.uuid4().hex[:16]
