"""Node Kue under Python's hand: starts tests/node/driver.js and talks to it in JSON lines."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import threading
import time
from typing import Any

from tests.support import NODE_DIR, require_node

DRIVER = NODE_DIR / "driver.js"

#: A request to the driver is local work of milliseconds; a shutdown may wait for handlers.
CALL_TIMEOUT_S = 60.0


class NodeError(Exception):
    """Node Kue answered a request with an error."""


class Node:
    """One Node process with one Kue queue.

    Commands are methods: ``node.call("create", "email", {"to": "a"})`` runs ``create`` of tests/node/commands.js and
    gives its result. ``notes`` gathers what the process tells unasked, oldest first, each a dict with key ``note``.
    """

    def __init__(self) -> None:
        """Start the process. Skips the test where Node or its packages are missing (and fails it in CI)."""
        node = require_node("kue")
        self.notes: list[dict[str, Any]] = []
        self._calls = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [node, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._stderr: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_stdout, self._read_stderr)]
        for reader in self._readers:
            reader.start()

    def open(self, redis_url: str, prefix: str = "q", **options: Any) -> Node:
        """Create the queue. Promotes and watches ttls ten times a second rather than once, to save the tests' time."""
        options = {"promotion": {"interval": 100}, **options}
        self.call("open", {"redis": redis_url, "prefix": prefix, **options})
        return self

    def call(self, command: str, *args: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Run a command and give its result. Raises NodeError, or AssertionError if no answer comes in time."""
        number = next(self._calls)
        answers = self._answers[number] = queue.SimpleQueue()
        request = json.dumps({"call": number, "cmd": command, "args": args})
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
            answer = answers.get(timeout=timeout_s)
        except (queue.Empty, OSError) as exc:
            raise AssertionError(f"no answer to {request[:200]}; stderr: {''.join(self._stderr)[-2000:]}") from exc
        finally:
            self._answers.pop(number, None)
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def noted(self, kind: str) -> list[dict[str, Any]]:
        """The notes of one kind so far."""
        return [note for note in list(self.notes) if note["note"] == kind]

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End the process as a crash does: nothing is handed back."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End the process. Kue's own shutdown is a command of its own and not run here."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        self._process.stdout.close()
        self._process.stderr.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            if "note" in line:
                line["at"] = time.monotonic()
                self.notes.append(line)
            elif (answers := self._answers.get(line["call"])) is not None:
                answers.put(line)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        self._stderr.extend(self._process.stderr)


class ReusedNode(Node):
    """A process for one test after another: ``close`` drops its connections and loads Kue afresh, ``end`` ends it."""

    ended = False

    def close(self) -> None:
        try:
            self.call("restart")
        except AssertionError:
            self.end()
            raise
        self.notes.clear()

    def end(self) -> None:
        self.ended = True
        super().close()


class ReusedNodes:
    """Returns a ReusedNode: the same one until its process ends."""

    def __init__(self) -> None:
        self._node: ReusedNode | None = None

    def take(self) -> ReusedNode:
        if self._node is None or self._node.ended:
            self._node = ReusedNode()
        return self._node

    def end(self) -> None:
        if self._node is not None and not self._node.ended:
            self._node.end()
