"""Our program and Node Kue's server beside each other, each over a database of its own, asked the same things."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis

from tests.interop.harness.node import Node
from tests.support import ROOT, free_port, wait_until
from tests.support.redis_dump import dump

#: An answer is milliseconds away.
ASK_LIMIT_S = 10.0


class Answer(NamedTuple):
    """What a server said. ``body`` is parsed if it is JSON, and ``<html>`` for a page."""

    status: int
    content_type: str
    body: Any


class Server:
    """An HTTP server on a loopback port. Paths go out as they are written, however odd."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._line: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and give its answer; a connection that the server has closed meanwhile is opened anew."""
        for last in (False, True):
            if self._line is None:
                self._line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ASK_LIMIT_S)
            try:
                self._line.putrequest(method, path, skip_accept_encoding=True)
                for name, value in (headers or {}).items():
                    self._line.putheader(name, value)
                if body is not None or method in ("POST", "PUT"):
                    self._line.putheader("Content-Length", str(len(body or b"")))
                self._line.endheaders(body)
                answer = self._line.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                self.close()
                if last:
                    raise
                continue
            kind = answer.headers.get("Content-Type", "")
            if answer.headers.get("Connection", "").lower() == "close":
                self.close()
            return Answer(answer.status, kind, _parsed(text, kind))
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _parsed(text: bytes, kind: str) -> Any:
    if kind.startswith("application/json") and text:
        return json.loads(text)
    return "<html>" if kind.startswith("text/html") else text.decode()


class Both:
    """``ours`` is ``app.py`` on database 0 of a Redis, ``nodes`` Node Kue on database 1; neither has workers."""

    def __init__(self, redis_url: str, directory: Path) -> None:
        url = urlsplit(redis_url)._replace(path="").geturl()
        self.clients = [redis.Redis.from_url(f"{url}/{number}", decode_responses=True) for number in (0, 1)]
        port = free_port()
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KUE_", "DOWNLOAD_"))},
            "REDIS_URL": f"{url}/0", "PORT": str(port), "KUE_WORKERS": "0", "DOWNLOAD_DIR": str(directory),
        }  # fmt: skip
        self._said = open(directory / "app.log", "wb")
        self._program = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")], env=environ, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=self._said, stderr=self._said,
        )  # fmt: skip
        self._node = Node()
        self._node.open(f"{url}/1", disableSearch=False)
        self.nodes = Server(self._node.call("serve", 0))
        self.ours = Server(port)
        wait_until(self._answers, 20, 0.05, f"app.py answers; it says {(directory / 'app.log').read_text()}")

    def _answers(self) -> bool:
        assert self._program.poll() is None, "app.py has ended"
        try:
            return self.ours.ask("GET", "/healthz").status == 200
        except OSError:
            return False

    def empty(self) -> None:
        for client in self.clients:
            client.flushdb()

    def keys(self) -> list[dict[str, Any]]:
        """What each database holds, ours first; without the tokens, of which Node keeps more than there are jobs."""
        found = []
        for client in self.clients:
            keys = dump(client)
            for key in [key for key, (kind, _) in keys.items() if kind == "list" and key.endswith(":jobs")]:
                del keys[key]
            found.append(keys)
        return found

    def close(self) -> None:
        self.ours.close()
        self.nodes.close()
        self._node.close()
        self._program.terminate()
        try:
            self._program.wait(10)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait(10)
        self._said.close()
        for client in self.clients:
            client.close()
