"""Whether this process takes jobs: not before it is ready, and not while a suspect runs alone in it."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol
from weakref import WeakSet


class Engine(Protocol):
    """What the gate needs from each engine of the process."""

    def runs_only(self, suspects: Set[object]) -> bool:
        """Return whether nothing else runs here and no job may arrive."""

    def gate_moved(self) -> None:
        """Called when the gate was closed or opened."""


class Gate:
    """Lets one suspect at a time run alone in this process. While the gate is closed, no engine takes jobs."""

    def __init__(self) -> None:
        self.is_closed = self._is_held = self._is_taken = False
        #: The suspects that run alone or wait for their turn.
        self.suspects: set[object] = set()
        self._engines: WeakSet[Engine] = WeakSet()
        self._turn: object | None = None

    def add(self, engine: Engine) -> None:
        self._engines.add(engine)

    def hold(self) -> None:
        """Take no jobs until ``release``, for a program that is still starting."""
        self._is_held = True
        self._move()

    def release(self) -> None:
        self._is_held = False
        self._move()

    def after_fork(self) -> None:
        """Called in a forked child: discard the parent's suspects."""
        self.is_closed = self._is_held = self._is_taken = False
        self.suspects, self._turn = set(), None
        self._engines = WeakSet()

    def take_turn(self, execution: object) -> bool:
        """Close the gate for a suspect unless it is another's turn; return whether it is its turn."""
        if self._turn is None:
            self._turn, self._is_taken = execution, True
            self._move()
        return self._turn is execution

    def is_alone(self) -> bool:
        return all(engine.runs_only(self.suspects) for engine in list(self._engines))

    def leave(self, execution: object) -> None:
        """Remove a suspect that has ended. The gate opens when no other waits."""
        self.suspects.discard(execution)
        if self._turn is execution:
            self._turn = None
        if not self.suspects:
            self._is_taken = False
            self._move()

    def _move(self) -> None:
        self.is_closed = self._is_held or self._is_taken
        for engine in list(self._engines):
            engine.gate_moved()


gate = Gate()
