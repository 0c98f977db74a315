"""kill -9 of the whole program during five downloads: after a restart it finishes them all, quickly and correctly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from kue.embedded.ping import ping
from tests.downloads.hostile import HostileServer, content, send_good
from tests.support import ROOT, free_port, wait_until

SIZE = 2 * 1024 * 1024
#: Bytes a second of each download: it takes 2 s.
RATE = 1024 * 1024
COUNT = 5
#: A job whose worker died is otherwise taken up when its lease ends, after 30 s; 10 s and its transfer are promised.
LIMIT_S = 25


class Program:
    """``python app.py`` with the embedded server, in a directory of its own."""

    def __init__(self, folder: Path, allow: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.downloads = folder / "downloads"
        self._log = folder / "log"
        self._environ = {
            **os.environ, "REDIS_URL": "", "PORT": str(port), "KUE_DATA_DIR": str(folder / "data"),
            "DOWNLOAD_DIR": str(self.downloads), "DOWNLOAD_ALLOW": allow, "KUE_CONCURRENCY": str(COUNT),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py")], env=self._environ, stdout=log, stderr=log
            )
        wait_until(lambda: self.ask("/healthz"), 30, 0.05, f"the program answers: {self._log}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, data, {"Content-Type": "application/json"}), timeout=10) as answer:
                return json.loads(answer.read())
        except OSError:
            return None


@pytest.fixture
def slow_server() -> Iterator[HostileServer]:
    data = content(SIZE)
    with HostileServer(lambda request, wire: send_good(request, wire, data, rate=RATE)) as server:
        yield server


@pytest.mark.slow
def test_five_downloads_are_finished_after_the_program_was_killed(tmp_path: Path, slow_server: HostileServer) -> None:
    if ping(("127.0.0.1", 6379)) is not None:
        pytest.skip("a Redis listens on the usual port, and would be taken")
    program = Program(tmp_path, slow_server.allow)
    try:
        # Given five downloads, each with some bytes
        program.start()
        wanted = [{"title": f"{n}", "url": slow_server.url(f"/{n}.bin")} for n in range(COUNT)]
        ids = [program.ask("/job", {"type": "startdownload", "data": data})["id"] for data in wanted]
        wait_until(lambda: int(program.ask("/stats")["activeCount"]) == COUNT, 20, 0.05)
        wait_until(lambda: slow_server.sent > COUNT * SIZE // 4, 20, 0.05)

        # When the program is killed, and started again
        program.kill()
        began = time.monotonic()
        program.start()
        started = time.monotonic()

        # Then all are finished
        wait_until(lambda: int(program.ask("/stats")["completeCount"]) == COUNT, LIMIT_S, 0.05)
        print(f"started in {started - began:.1f} s, all finished after {time.monotonic() - began:.1f} s")
        jobs = [program.ask(f"/job/{job_id}") for job_id in ids]
        assert [job["attempts"]["made"] for job in jobs] == [1] * COUNT
        files = [path for path in program.downloads.iterdir() if path.suffix == ".bin"]
        assert len(files) == COUNT and all(path.read_bytes() == content(SIZE) for path in files)
        assert not [path for path in program.downloads.iterdir() if ".part" in path.name]
    finally:
        program.kill()
