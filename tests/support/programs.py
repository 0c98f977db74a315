"""Programs that the tests here start as processes of their own, and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support import ROOT

#: Starts the embedded server of a directory, says what it got, and stays until its input ends: then it stops properly.
HOLD = """
import gc, sys
gc.disable()
if "green" in sys.argv:
    import warnings
    warnings.filterwarnings("ignore", message=r"\\s*Eventlet is deprecated")
    import eventlet
    eventlet.monkey_patch()
from kue.embedded import keeper
from kue.embedded.server import EmbeddedServer
if "watch" in sys.argv:
    keeper.MODE = "watch"
gc.freeze()
server = EmbeddedServer(sys.argv[1])
url = server.start()
print(url, server.owner, server.pid, flush=True)
for line in sys.stdin:
    print(url, server.owner, server.pid, flush=True)
server.stop()
"""


class Holder:
    """A process that runs or shares the server of a data directory."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url, self.owner, self.server_pid = self._read()

    def _read(self) -> tuple[str, bool, int]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert len(line) == 3, "the process ended instead of saying what it got"
        return line[0], line[1] == "True", int(line[2]) if line[2] != "None" else 0

    def owns_now(self) -> bool:
        """Ask again; a sharer becomes the owner when the owner is gone."""
        stdin(self.process).write("\n")
        stdin(self.process).flush()
        self.url, self.owner, self.server_pid = self._read()
        return self.owner and self.server_pid > 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        stdin(self.process).close()
        assert self.process.wait(15) == 0


def stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def launch(data_dir: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_dir), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


@contextmanager
def hold(data_dir: Path, *words: str) -> Iterator[Holder]:
    """Run ``HOLD`` for the directory; it is killed at the end if the test has not ended it."""
    process = launch(data_dir, *words)
    with process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}


def alive(pid: int) -> bool:
    """Whether that process runs; one that has ended and waits for its parent to notice does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc").is_dir():
            return False
    else:
        return stat.rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
