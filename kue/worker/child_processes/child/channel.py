"""The child's end of the message channel: receives attempts, sends requests and receives replies."""

from __future__ import annotations

from collections import deque
from typing import Any

from .... import errors
from ....concurrency import green
from ....errors import KueError
from ..messages import Message, Unpacker, pack
from .interrupts import Interrupts

#: Bytes per read.
READ_BYTES = 2**20


class Channel:
    """The socket to the parent. Any thread of a handler may call ``ask``; calls are serialized."""

    def __init__(self, fd: int, interrupts: Interrupts) -> None:
        self._sock = green.original("socket").socket(fileno=fd)
        self._poll = green.original("select").poll()
        self._poll.register(fd, green.original("select").POLLIN)
        self._lock = green.original("threading").RLock()
        self._interrupts, self._unpacker = interrupts, Unpacker()
        self._received: deque[Message] = deque()
        self._asked = 0
        #: The running attempt.
        self.run = 0

    def send(self, message: Message) -> None:
        with self._lock, self._interrupts.deferred():
            self._sock.sendall(pack(message))

    def receive(self) -> Message | None:
        """Wait for a message. None: the parent has closed the socket or ended."""
        while not self._received:
            self._poll.poll()  # may be interrupted here: nothing has been received yet
            with self._interrupts.deferred():
                data = self._sock.recv(READ_BYTES)
                if not data:
                    return None
                self._received.extend(self._unpacker.feed(data))
        return self._received.popleft()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Send a request to the parent and return its reply. Raises what the parent raised."""
        with self._lock:
            self._asked += 1
            asked = self._asked
            self.send({"ask": asked, "run": self.run, "what": what, "arguments": arguments})
            while (message := self.receive()) is not None:
                if message.get("answer") == asked:  # otherwise the reply to an interrupted request
                    return _answer(message)
        raise KueError("the worker process of this child process has ended")


def _answer(message: Message) -> Any:
    if "error" not in message:
        return message["value"]
    kind = getattr(errors, message["error"], None)
    if kind in (errors.JobNotFound, errors.LeaseLost):
        raise kind(message["job_id"])
    if kind in (errors.QueueUnavailable, errors.InvalidJob, errors.JobTimeout, errors.JobCancelled,
                errors.WorkerStopping):  # fmt: skip
        raise kind(message["text"])
    raise KueError(message["text"])
