"""What the server alone can do with kue's own scripts: a client that hardly costs anything keeps it busy.

``create`` is packed beforehand and sent in pipelines. Working cannot be, since each call acknowledges what the one
before reserved: there several connections take turns, so that the server always has a call waiting while the answers
to the others are read (by hiredis, in C) and their next calls are packed.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

import hiredis

from bench.harness.server import Server
from kue.storage.keys import Keys
from kue.storage.script_loader import source
from kue.storage.script_values import Outcome, Reservation, reserved_jobs
from kue.storage.scripts import Scripts

#: Calls in flight while working.
CONNECTIONS = 3


class _Recorder:
    """In a client's place: keeps the command instead of sending it."""

    command: tuple[object, ...] = ()

    def execute_command(self, *command: object) -> Any:
        self.command = command
        raise _Recorded


class _Recorded(Exception):
    pass


def packed(call: Any) -> bytes:
    """Return the bytes that ``call(client)`` would send."""
    recorder = _Recorder()
    try:
        call(recorder)
    except _Recorded:
        pass
    return bytes(hiredis.pack_command(tuple(str(word) if not isinstance(word, bytes) else word
                                            for word in recorder.command)))  # fmt: skip


class _Line:
    """A raw connection."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader(encoding="utf-8")

    def fileno(self) -> int:
        return self.sock.fileno()

    def answers(self) -> list[Any]:
        """Read once; return the answers that are whole."""
        self.reader.feed(self.sock.recv(1 << 20))
        found = []
        while (answer := self.reader.gets()) is not False:
            if isinstance(answer, Exception):
                raise answer
            found.append(answer)
        return found


def create_limit(server: Server, batch: int, seconds: float, kind: str = "bench") -> float:
    """Return the jobs a second that ``create.lua`` makes, ``batch`` in a call, 64 calls in a pipeline."""
    scripts = Scripts(Keys("q"))
    row = (kind, '{"n":1}', "0", "1", "", "", "", "")
    server.client.script_load(source("create"))
    pipeline = packed(lambda client: scripts.create(client, [row] * batch)) * 64
    line = _Line(server)
    made, sent, began = 0, 0, time.perf_counter()
    while time.perf_counter() - began < seconds or made < sent:
        if sent - made <= 64 and time.perf_counter() - began < seconds:  # one pipeline waits while another is worked on
            line.sock.sendall(pipeline)
            sent += 64
        else:
            made += len(line.answers())
    elapsed = time.perf_counter() - began
    line.sock.close()
    return made * batch / elapsed


def work_limit(server: Server, batch: int, limit_s: float) -> float:
    """Return the jobs a second that ``finish_and_reserve.lua`` does with the jobs that wait, ``batch`` in a call."""
    scripts = Scripts(Keys("q"))
    server.client.script_load(source("finish_and_reserve"))
    waiting: int = server.client.zcard("q:jobs:bench:inactive")  # type: ignore[assignment]
    lines = [_Line(server) for _ in range(CONNECTIONS)]
    slots = {line: range(at * batch + 1, at * batch + batch + 1) for at, line in enumerate(lines)}
    calls, done, idle = 0, 0, 0

    def say(line: _Line, outcomes: list[Outcome]) -> None:
        nonlocal calls
        calls += 1
        reservation = Reservation({"bench": slots[line]}, 30_000, f"limit{calls:x}", "kue:bench:1")
        line.sock.sendall(
            packed(
                lambda client: scripts.finish_and_reserve(
                    client, outcomes, reservation)
            )
        )

    began = time.perf_counter()
    for line in lines:
        say(line, [])
    while idle < len(lines) and time.perf_counter() - began < limit_s:
        for line in select.select(lines, [], [], 5)[0]:
            for _, codes, taken, *_ in line.answers():
                done += len(codes)
                jobs = reserved_jobs(taken, lambda job_id: {})
                outcomes = [Outcome("complete", job.job_id, job.token, ("1", "1")) for job in jobs]
                if outcomes:
                    say(line, outcomes)
                else:
                    idle += 1
    elapsed = time.perf_counter() - began
    for line in lines:
        line.sock.close()
    if idle == len(lines) and done != waiting:
        raise RuntimeError(f"the scripts did {done} of {waiting} jobs")
    return done / elapsed
