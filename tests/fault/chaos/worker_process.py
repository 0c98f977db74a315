"""A worker process of the chaos run, which is killed and replaced."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support import ROOT

SLOTS = 8
LEASE_MS = 3000
#: Seconds for a worker to stop in order, and for one to begin, at most.
STOP_S, BEGIN_S = 20.0, 60.0


class Worker:
    """One worker process, whichever process that is at the moment."""

    def __init__(self, url: str, mode: str, directory: Path, name: str) -> None:
        self._command = [sys.executable, "-m", "tests.fault.chaos.worker", url, str(directory / "executions")]
        self._command += [str(LEASE_MS), str(SLOTS), mode]
        self.log = directory / f"{name}.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._started_at = time.monotonic()
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)

    def replace(self) -> int:
        """Kill it as a crash does and start another; return the dead one's pid."""
        dead = self.process
        dead.kill()
        dead.wait(10)
        self.process = self._start()
        return dead.pid

    def stop(self) -> int:
        """End it in order; return its status, 0 if it did so, or had not begun."""
        self.process.terminate()
        try:
            status = self.process.wait(STOP_S)
            return 0 if status == -signal.SIGTERM and time.monotonic() - self._started_at < BEGIN_S else status
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)
