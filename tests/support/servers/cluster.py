"""A real Cluster of three shards and a replica."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from kue.embedded.server import find_binary
from tests.conftest import start_server, stop_server
from tests.support import free_port, wait_until

SLOTS = 16384
SHARDS = 3
#: A node that is silent for so long is taken for dead; its replica takes over within two or three times that.
NODE_TIMEOUT_MS = 700


class Nodes:
    """Three primaries, each with a third of the slots, and a replica of the first; all of the embedded Valkey."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        self.clients: list[Any] = []

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Nodes]:
        """Run one with its files in ``directory``."""
        started = cls()
        try:
            started.start(directory)
            yield started
        finally:
            started.close()

    def start(self, directory: Path) -> None:
        first_bus = 0
        for number in range(SHARDS + 1):
            folder, bus = directory / str(number), free_port()
            folder.mkdir()
            process, url = start_server(
                str(find_binary()), folder, "--cluster-enabled", "yes", "--cluster-port", str(bus),
                "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0",
                "--repl-diskless-sync-delay", "0",
            )  # fmt: skip
            self.processes.append(process)
            self.ports.append(int(url.rpartition(":")[2].removesuffix("/0")))
            client: Any = redis.Redis.from_url(url, decode_responses=True)
            self.clients.append(client)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < SHARDS:
                edges = [SLOTS * each // SHARDS for each in (number, number + 1)]
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", edges[0], edges[1] - 1)
            if number:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0], first_bus)
            first_bus = first_bus or bus
        wait_until(self._met, 20, message="the nodes know each other")
        self.clients[SHARDS].execute_command("CLUSTER", "REPLICATE", self.clients[0].execute_command("CLUSTER", "MYID"))
        wait_until(lambda: self.clients[SHARDS].info("replication").get("master_link_status") == "up", 20)
        wait_until(lambda: all(each.cluster("info")["cluster_state"] == "ok" for each in self.clients), 20)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.ports[1]},127.0.0.1:{self.ports[0]}"

    @staticmethod
    def prefix_on(shard: int, word: str) -> str:
        """A prefix that begins with the word, whose keys lie on that shard."""
        tags = (f"{word}{number}" for number in range(10_000))
        return next(f"{{{tag}}}" for tag in tags if key_slot(tag.encode()) * SHARDS // SLOTS == shard)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            stop_server(process)

    def _met(self) -> bool:
        known = [each.execute_command("CLUSTER", "NODES") for each in self.clients]
        return all(text.count(" connected") == SHARDS + 1 and "handshake" not in text for text in known)
