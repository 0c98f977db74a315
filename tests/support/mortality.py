"""Processes that die, and connections that break, between any two commands; and scripts at the test's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from kue.storage.script_loader import scripts as script_names
from kue.storage.script_loader import sha
from kue.storage.scripts import Scripts


class Died(BaseException):
    """The process ended here. No ``except Exception`` gets in its way."""


class Called(NamedTuple):
    """A script that Redis executed: its name, its arguments from ARGV[3] on, and its answer."""

    name: str
    args: tuple[Any, ...]
    answer: Any


class Fate:
    """What becomes of the commands of one process.

    ``end`` counts steps, two a command: one before Redis has it, one before the answer is there. The process then
    dies, or with ``is_cut`` its connection breaks, once. None: nothing happens.
    """

    def __init__(self) -> None:
        self.end: int | None = None
        self.is_cut = False
        #: The scripts that Redis has executed since ``choose``, also those whose answers were lost.
        self.executed: list[Called] = []
        self._names = {sha(name): name for name in script_names()}

    def choose(self, end: int | None, is_cut: bool = False) -> None:
        self.end, self.is_cut, self.executed = end, is_cut, []

    def step(self) -> None:
        if self.end is None:
            return
        self.end -= 1
        if self.end < 0:
            self.end = None
            if self.is_cut:
                raise redis.ConnectionError("cut by the test")
            raise Died

    def execute(self, send: Callable[..., Any], command: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self.step()
        answer = send(*command, **options)
        name = self._names.get(str(command[1])) if command[0] == "EVALSHA" else None
        if name is not None:
            self.executed.append(Called(name, command[6:], answer))
        self.step()
        return answer


class Mortal(redis.Redis):
    """A client with a fate; in a pipeline it may come between any two commands."""

    def __init__(self, pool: redis.ConnectionPool, fate: Fate) -> None:
        super().__init__(connection_pool=pool)
        self.fate = fate

    def execute_command(self, *command: Any, **options: Any) -> Any:
        return self.fate.execute(super().execute_command, command, options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        return _Steps(self.connection_pool, self.fate, transaction)


class _Steps(Mortal):
    """A pipeline that sends its commands one by one; those of a transaction are one."""

    def __init__(self, pool: redis.ConnectionPool, fate: Fate, is_one: bool) -> None:
        super().__init__(pool, fate)
        self._is_one = is_one
        self._queued: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *command: Any, **options: Any) -> Any:
        self._queued.append((command, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        queued, self._queued = self._queued, []
        plain = redis.Redis(connection_pool=self.connection_pool)
        if self._is_one:
            self.fate.step()
            pipe = plain.pipeline()
            for command, options in queued:
                pipe.execute_command(*command, **options)
            answers: list[Any] = pipe.execute(raise_on_error)
            self.fate.step()
            return answers
        answers = []
        for command, options in queued:
            try:
                answers.append(self.fate.execute(plain.execute_command, command, options))
            except redis.ResponseError as exc:
                answers.append(exc)
        return answers


class Clocked(Scripts):
    """Scripts that are called at the test's time; ``passed`` is how much of it has really gone by, ms."""

    now, passed = 0, 0

    def wait(self, ms: int) -> None:
        self.now += ms
        self.passed += ms

    def monotonic(self) -> float:
        return self.passed / 1000

    def _command(self, name: str, now_ms: int, args: Any) -> tuple[object, ...]:
        return super()._command(name, now_ms or self.now, args)


class MortalScripts(Clocked):
    """The same for processes that share a fate, whatever client they use."""

    def __init__(self, keys: Any, client: Mortal) -> None:
        super().__init__(keys)
        self._client = client

    def run(self, client: Any, name: str, *args: object, now_ms: int = 0) -> Any:
        return super().run(self._client, name, *args, now_ms=now_ms)


class Replayed(Scripts):
    """Reads an answer that Redis gave before: ``Replayed(keys, answer).reserve(client, reservation)``."""

    def __init__(self, keys: Any, answer: Any) -> None:
        super().__init__(keys)
        self._answer = answer

    def run(self, client: Any, name: str, *args: object, now_ms: int = 0) -> Any:
        return self._answer
