"""A Cluster of three nodes on loopback, each of which writes its file before it answers, so a kill loses nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.crc import key_slot

from bench.harness.server import ending_with_us, free_port
from kue.embedded.ping import ping
from kue.embedded.server import find_binary

SLOTS, SHARDS = 16384, 3


class Cluster:
    """``with Cluster(folder) as cluster:`` — ``cluster.url``; ``kill(n)`` and ``start(n)`` are its faults."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [(free_port(), free_port()) for _ in range(SHARDS)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in self._ports)

    def start(self, shard: int) -> None:
        """Start a node, the first time or again on its own file, and wait until it answers."""
        folder = self._folder / f"node{shard}"
        folder.mkdir(exist_ok=True)
        port, bus = self._ports[shard]
        command = [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--logfile", "server.log"]
        command += ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "1500"]
        command += ["--cluster-require-full-coverage", "no"]  # a dead node stops its own queues only
        self._processes[shard] = subprocess.Popen(ending_with_us(command), stdin=subprocess.DEVNULL)
        until(lambda: (ping(("127.0.0.1", port)) or "").startswith("+PONG"), 20, f"node {shard} answers")

    def kill(self, shard: int) -> None:
        """End a node as a crash does."""
        self._processes[shard].kill()
        self._processes[shard].wait(10)

    def client(self, shard: int) -> Any:
        return redis.Redis(port=self._ports[shard][0], decode_responses=True)

    def prefixes(self, count: int, word: str = "q") -> list[str]:
        """Return prefixes that lie on the shards in turn."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            tag = f"{word}{number}"
            if key_slot(tag.encode()) * SHARDS // SLOTS == len(found) % SHARDS:
                found.append(f"{{{tag}}}")
            number += 1
        return found

    def __enter__(self) -> Cluster:
        for shard in range(SHARDS):
            self.start(shard)
        clients = [self.client(shard) for shard in range(SHARDS)]
        for shard, client in enumerate(clients):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", shard + 1)
            edges = [SLOTS * each // SHARDS for each in (shard, shard + 1)]
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", edges[0], edges[1] - 1)
            if shard:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", *self._ports[0])
        until(
            lambda: all(
                each.cluster("info")["cluster_state"] == "ok" and each.cluster("info")["cluster_size"] == str(SHARDS)
                for each in clients
            ),
            20,
            "the nodes know each other",
        )
        for client in clients:
            client.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait(10)


def until(true: Callable[[], object], limit_s: float, what: str) -> None:
    """Wait until something is so. Raises TimeoutError."""
    give_up = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.02)
