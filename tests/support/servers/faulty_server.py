"""A Valkey that a test may kill, freeze, fill and start again on its own file, at one port all along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from kue.embedded.ping import ping
from kue.embedded.server import find_binary
from tests.support import ROOT, free_port, wait_until


class FaultyServer:
    """One server on a loopback port with an append-only file.

    With ``fsync`` "always" an answer is given only once the file is on the disk: a kill loses nothing acknowledged.
    """

    def __init__(self, directory: Path, *options: str, fsync: str = "always", port: int = 0) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = ["--appendonly", "yes", "--appendfsync", fsync, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, timeout_s: float = 20.0, wait: bool = True) -> None:
        """Start it, and wait until it has read its file. It ends with the thread that calls this (on Linux)."""
        launcher = ROOT / "kue" / "embedded" / "launcher.py"
        launch = [sys.executable, "-I", "-S", str(launcher), str(os.getpid()), "", "", ""]
        launch.append("deathsig" if sys.platform == "linux" else "watch")
        command = [str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.directory), "--logfile", str(self.directory / "server.log")]
        self._process = subprocess.Popen([*launch, *command, *self._options, *options], stdin=subprocess.DEVNULL)
        if wait:
            wait_until(lambda: self.says("+PONG"), timeout_s, message="the server answers")

    def says(self, word: str) -> bool:
        """Tell whether its answer to PING begins so."""
        return (ping(("127.0.0.1", self.port)) or "").startswith(word)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __enter__(self) -> FaultyServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
