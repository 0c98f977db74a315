"""kill -9 in the middle of a download: what was fetched is not fetched again, and the file is right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.downloads.conftest import assert_file, finished
from tests.downloads.hostile import HostileServer, content, send_good
from tests.support import ROOT

DATA = content(40 * 1024 * 1024)


def written(folder: Path) -> int:
    """Return how many bytes the part holds, as far as its files tell."""
    total = 0
    for map_ in folder.glob(".*.map"):
        raw = map_.read_bytes()
        return sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
    for part in folder.glob("*.part"):
        total += part.stat().st_size
    return total


@pytest.mark.parametrize(("segments", "mode"), [(1, "plain"), (1, "green"), (4, "plain"), (4, "green")])
def test_a_killed_download_goes_on_from_its_byte(folder: Path, segments: int, mode: str) -> None:
    chance = random.Random(f"{segments}{mode}")
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=60_000_000 / segments)) as server:
        command = [sys.executable, str(ROOT / "tests/downloads/work.py"), str(folder), server.url(), server.allow]
        kept: list[int] = []
        for _ in range(4):
            process = subprocess.Popen([*command, str(segments), mode], stdout=subprocess.PIPE)
            goal = (kept[-1] if kept else 0) + chance.randrange(1_000_000, 8_000_000)
            until = time.monotonic() + 15
            while written(folder) < goal and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            process.kill()
            assert process.wait(5) == -9
            assert process.stdout is not None
            process.stdout.close()
            kept.append(written(folder))
            assert finished(folder) == [] and kept[-1] >= goal
        asked_before = len(server.requests)
        done = subprocess.run([*command, str(segments), mode], stdout=subprocess.PIPE, timeout=30, check=True)
    result = json.loads(done.stdout)
    assert_file(folder, result, DATA)
    # What it went on from is all that was there when it was killed, but for chunks not yet noted in the map.
    assert kept[-1] - 1024 * 1024 <= result["resumed_from"] <= kept[-1] + 1024 * 1024
    fetched = 0
    for request in server.requests[asked_before:]:
        first, end = request.range(len(DATA)) or (0, len(DATA))
        fetched += end - first
    if segments == 1:
        assert fetched == len(DATA) - result["resumed_from"]
