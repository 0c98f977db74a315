"""A primary, its replica and three sentinels."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from kue.embedded.server import find_binary
from tests.conftest import LAUNCH, start_server, stop_server
from tests.support import free_port, wait_until

#: A primary that is silent for so long is taken for dead.
DOWN_AFTER_MS = 500
PASSWORD, SENTINEL_PASSWORD = "geheim/1", "wacht#2"


class Guarded:
    """A primary, its replica and three sentinels, of the embedded Valkey, all with passwords."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sentinels: list[Any] = []
        self.primary: Any = None
        self.replica: Any = None

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Guarded]:
        """Run one with its files in ``directory``."""
        started = cls()
        try:
            started.start(directory)
            yield started
        finally:
            started.close()

    def start(self, directory: Path) -> None:
        binary = str(find_binary())
        urls = []
        for name in ("primary", "replica"):
            (directory / name).mkdir()
            auth = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
            process, url = start_server(binary, directory / name, *auth)
            self.processes.append(process)
            urls.append(url.replace("//", f"//:{PASSWORD.replace('/', '%2F')}@"))
        self.primary, self.replica = (redis.Redis.from_url(url, decode_responses=True) for url in urls)
        port = self.primary.connection_pool.connection_kwargs["port"]
        self.replica.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_until(lambda: self.replica.info("replication").get("master_link_status") == "up", 20)
        for number in range(3):
            sentinel_port, folder = free_port(), directory / f"sentinel{number}"
            folder.mkdir()
            config = folder / "sentinel.conf"
            lines = [
                f"port {sentinel_port}", "bind 127.0.0.1", f'dir "{folder}"', f'requirepass "{SENTINEL_PASSWORD}"',
                f"sentinel monitor main 127.0.0.1 {port} 2", f'sentinel auth-pass main "{PASSWORD}"',
                f"sentinel down-after-milliseconds main {DOWN_AFTER_MS}", "sentinel failover-timeout main 5000", "",
            ]  # fmt: skip
            config.write_text("\n".join(lines), encoding="utf-8")
            self.processes.append(
                subprocess.Popen(
                    [*LAUNCH, binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
                )
            )
            client = redis.Redis(port=sentinel_port, password=SENTINEL_PASSWORD, decode_responses=True)
            self.sentinels.append(client)
        wait_until(self._agreed, 30, 0.05, message="the sentinels know each other and the replica")

    @property
    def url(self) -> str:
        """With a sentinel in front that is not there."""
        ports = [free_port(), *(each.connection_pool.connection_kwargs["port"] for each in self.sentinels)]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        passwords = (PASSWORD.replace("/", "%2F"), SENTINEL_PASSWORD.replace("#", "%23"))
        return f"redis+sentinel://:{passwords[0]}@{hosts}/main/2?sentinel_password={passwords[1]}"

    def close(self) -> None:
        for client in (self.primary, self.replica, *self.sentinels):
            if client is not None:
                client.close()
        for process in self.processes:
            stop_server(process)

    def _agreed(self) -> bool:
        try:
            told = [each.execute_command("SENTINEL", "MASTER", "main") for each in self.sentinels]
        except redis.RedisError:
            return False
        facts = [each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True)) for each in told]
        return all(int(each["num-other-sentinels"]) == 2 and int(each["num-slaves"]) == 1 for each in facts)
