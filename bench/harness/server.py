"""The server that everything is measured against: a Valkey of its own, on its own core, in memory only by default."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from bench.harness import host
from kue.embedded.ping import ping
from kue.embedded.server import find_binary

LAUNCH = Path(__file__).resolve().parents[2] / "kue" / "embedded" / "launcher.py"


def ending_with_us(command: list[str]) -> list[str]:
    """Return the command line of a program that gets a SIGTERM when this process is gone, also when it is killed."""
    mode = "deathsig" if sys.platform == "linux" else "watch"
    return [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), "", "", "", mode, *command]


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class Server:
    """``with Server() as server:`` — ``server.url``; it ends with this process, however that ends."""

    def __init__(self, aof: bool = False) -> None:
        self.aof = aof

    def __enter__(self) -> Server:
        self._folder = tempfile.TemporaryDirectory(prefix="kue-bench-")
        port = free_port()
        command = [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        command += ["--save", "", "--appendonly", "yes" if self.aof else "no", "--appendfsync", "everysec"]
        command += ["--logfile", "server.log"]
        self._process = subprocess.Popen(ending_with_us(command), stdin=subprocess.DEVNULL)
        host.pin(self._process.pid, host.server_cores())
        give_up = time.monotonic() + 10
        while not (ping(("127.0.0.1", port)) or "").startswith("+PONG"):
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise SystemExit("bench: the Valkey does not start")
            time.sleep(0.02)
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @property
    def version(self) -> str:
        info: Any = self.client.info("server")
        return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"

    def empty(self) -> None:
        """Forget everything, scripts and statistics too."""
        self.client.execute_command("FLUSHALL", "SYNC")  # what is freed behind our back costs the next measurement
        self.client.config_resetstat()

    def cpu_seconds(self) -> float:
        return host.cpu_seconds(self._process.pid)

    def used_memory(self) -> int:
        info: Any = self.client.info("memory")
        return int(info["used_memory"])

    def command_times(self) -> dict[str, tuple[int, int]]:
        """Return calls and microseconds for each command since ``empty``; a script's time holds that of its parts."""
        stats: Any = self.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): (int(s["calls"]), int(s["usec"])) for name, s in stats.items()}
