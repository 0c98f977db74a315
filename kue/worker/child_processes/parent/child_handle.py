"""The parent's handle of one child process. Supervising thread only."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from enum import Enum
from typing import Any

from ....concurrency import green
from ....errors import JobInterrupt
from ...attempts.execution import Execution
from ..messages import Message, Unpacker, pack
from .spawning import Spawned

#: Bytes per read.
READ_BYTES = 2**20
#: Bytes kept of a child's stderr, for the error of the attempt it dies in.
TAIL_BYTES = 4000
#: Bytes per write to the worker's stderr: a writable pipe accepts these without blocking, and does not interleave them
#: with other writers' output.
PASS_BYTES = getattr(select, "PIPE_BUF", 512)


class State(Enum):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"  #: asked to exit or to stop its attempt: it gets no other attempt


class ChildHandle:
    """One child process: its attempt, pending output to it, and input from it."""

    def __init__(self, spawned: Spawned) -> None:
        self.pid, self.sock, self.control_fd, self.stderr_fd, self.pidfd = spawned
        self.state = State.STARTING
        self.started_at = time.monotonic()
        #: The current attempt, and how many attempts this child has run, including it.
        self.execution: Execution | None = None
        self.runs = 0
        #: When it will be killed, monotonic s, and a sentence why, if it is at fault.
        self.kill_at: float | None = None
        self.killed_for = ""
        self.is_killed = False
        #: When its memory is checked next, monotonic s.
        self.look_at = 0.0
        self.unread_stderr = True
        #: Whether it has closed its socket, as an ending process does.
        self.has_hung_up = False
        self._os = green.original("os")
        self._unpacker = Unpacker()
        self._out = bytearray()
        self._tail, self._to_pass = bytearray(), bytearray()

    # Messages

    def send(self, message: Message) -> None:
        self._out += pack(message)
        self.flush()

    def flush(self) -> None:
        """Send pending messages, as far as the socket accepts them."""
        try:
            while self._out:
                del self._out[: self.sock.send(memoryview(self._out)[:READ_BYTES])]
        except BlockingIOError:
            pass
        except OSError:  # it has died; that is handled elsewhere
            self._out.clear()

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def messages(self) -> Iterator[Message]:
        """Yield the child's messages. Raises ValueError for malformed data."""
        while True:
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.has_hung_up = True
                return
            yield from self._unpacker.feed(data)

    def run(self, execution: Execution) -> None:
        """Send it an attempt."""
        job = execution.job
        self.state, self.execution = State.BUSY, execution
        self.runs += 1
        execution.has_begun = True
        self._tail.clear()
        self.send({
            "run": self.runs, "id": job.id, "token": job._token, "fields": job.raw, "started_at": job.started_at,
            "worker_id": job.worker_id,
        })  # fmt: skip

    # Ending

    def interrupt(self, exc: JobInterrupt, kill_at: float) -> None:
        """Raise ``exc`` in its handler, and kill the child at ``kill_at`` if it is still running."""
        order = {"run": self.runs, "interrupt": type(exc).__name__, "text": str(exc)}
        with contextlib.suppress(OSError):
            self._os.write(self.control_fd, json.dumps(order).encode("ascii") + b"\n")
        self._signal(signal.SIGTERM)
        self.end(kill_at)

    def end(self, kill_at: float) -> None:
        """Give it no more attempts, so it exits after the current one. Kill it at ``kill_at`` at the latest."""
        if self.state is not State.ENDING:
            self.state = State.ENDING
            with contextlib.suppress(OSError):
                self.sock.shutdown(green.original("socket").SHUT_WR)
        self.kill_at = min(kill_at, self.kill_at or kill_at)

    def kill(self, why: str = "") -> None:
        """Kill it and all processes it has started."""
        self.killed_for, self.is_killed, self.kill_at = self.killed_for or why, True, None
        self.state = State.ENDING
        self._signal(signal.SIGKILL)

    def reap(self) -> int | None:
        """Return its exit code, like ``Popen.returncode``, or None while it runs. Kills processes it left behind."""
        try:
            if hasattr(self._os, "waitid"):
                gone = self._os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if gone is None:
                    return None
            with contextlib.suppress(OSError):  # while its process id cannot have been reused
                os.killpg(self.pid, signal.SIGKILL)
            pid, status = self._os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code in this process has already waited for it
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def close(self) -> None:
        self.sock.close()
        for fd in (self.control_fd, self.stderr_fd, self.pidfd):
            if fd >= 0:
                self._os.close(fd)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            if number == signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    # Its stderr

    def read_stderr(self) -> bool:
        """Read what it wrote; return whether there may be more."""
        try:
            data = self._os.read(self.stderr_fd, READ_BYTES // 16)
        except BlockingIOError:
            return False
        if not data:
            self.unread_stderr = False
            return False
        self._tail += data
        del self._tail[:-TAIL_BYTES]
        self._to_pass += data
        return True

    def pass_stderr_on(self) -> bool:
        """Copy the child's stderr to the worker's, without blocking; return whether all is written."""
        poll = green.original("select").poll()
        try:
            poll.register(2, green.original("select").POLLOUT)
            while self._to_pass and poll.poll(0):
                part = self._to_pass[:PASS_BYTES]
                whole_lines = part.rfind(b"\n") + 1
                del self._to_pass[: self._os.write(2, part[: whole_lines or None])]
        except (OSError, ValueError):  # the worker has no stderr
            self._to_pass.clear()
        return not self._to_pass

    def stderr_tail(self) -> str:
        """Return the tail of its stderr output during its attempt, starting at the beginning of a line."""
        text = self._tail.decode("utf-8", "replace").strip()
        if len(self._tail) >= TAIL_BYTES and "\n" in text:
            text = text.partition("\n")[2]
        return text


def describe_end(code: int, killed_for: str) -> str:
    """Return a sentence on how a child ended unexpectedly. ``code`` is from ``reap``."""
    if killed_for:
        return killed_for
    if code >= 0:
        return f"The handler's process exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL:
        return f"The handler's process was killed by {name} (out of memory, or killed manually)"
    return f"The handler's process was killed by {name}"


def setup_for(target: Any, prefix: str, job_type: str, memory_limit_bytes: int | None, logs: Any) -> Message:
    """Return the first message to a child: see ``child/main.py``."""
    return {
        "parent": os.getpid(), "target": target._asdict(), "prefix": prefix, "type": job_type,
        "memory_limit_bytes": memory_limit_bytes, "logging": logs,
    }  # fmt: skip
