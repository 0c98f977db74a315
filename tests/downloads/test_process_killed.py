"""Repeated kill -9 during a download: almost no byte is fetched twice, and the file is correct."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.downloads.conftest import assert_file, finished
from tests.downloads.hostile import HostileServer, Request, content, send_good
from tests.support import ROOT

MIB = 1024 * 1024
#: How often the process with four segments dies; the others die once or a few times.
KILLS = int(os.environ.get("KUE_KILLS", "6"))


@pytest.fixture(scope="module")
def data() -> bytes:
    """Return a big file; each block of it is unlike the others, so that a byte in a wrong place shows."""
    return b"".join(number.to_bytes(8, "big") + content(MIB - 8, seed=number) for number in range(120))


class Place(NamedTuple):
    """How far one segment is by the map: the byte it goes on at, and its end."""

    at: int
    end: int


def noted(folder: Path, size: int) -> tuple[int, list[Place]]:
    """Return how many bytes are noted as there, and where each segment goes on. Without segments the file is one."""
    for sidecar in folder.glob(".*.json"):
        try:
            cuts = json.loads(sidecar.read_bytes())["segments"]
        except (OSError, ValueError):  # it is being replaced
            continue
        if cuts:
            raw = next(folder.glob(".*.map")).read_bytes()
            counts = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
            return sum(counts), [Place(first + n, end) for (first, end), n in zip(cuts, counts, strict=True)]
    for part in folder.glob("*.part"):
        return part.stat().st_size, [Place(part.stat().st_size, size)]
    return 0, []


def beyond(part: Path, places: list[Place], data: bytes) -> int:
    """Return how many bytes are in the file that are not noted, and so would be fetched again."""
    again, step = 0, 4096
    with part.open("rb") as file:
        for at, end in places:
            file.seek(at)
            while at < end and (piece := file.read(min(step, end - at))) and piece == data[at : at + len(piece)]:
                again, at = again + len(piece), at + len(piece)
    return again


@pytest.mark.long
@pytest.mark.parametrize(
    ("segments", "mode", "kills"), [(4, "green", KILLS), (1, "plain", 2), (1, "green", 1), (8, "plain", 1)]
)
def test_a_killed_download_resumes_at_its_byte(
    folder: Path, data: bytes, segments: int, mode: str, kills: int
) -> None:
    chance = random.Random(f"{segments}{mode}")
    goals = sorted(chance.randrange(MIB, len(data) - 12 * MIB) for _ in range(kills))

    def script(request: Request, wire: object) -> None:
        send_good(request, wire, data, rate=120_000_000 / segments)  # type: ignore[arg-type]

    with HostileServer(script) as server:
        program = ROOT / "tests" / "downloads" / "download_process.py"
        command = [sys.executable, str(program), str(folder), server.url(), server.allow, str(segments), mode]
        places: list[Place] = []
        for goal in goals:
            asked = len(server.requests)
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            until = time.monotonic() + 20
            while (noted(folder, len(data))[0] < goal or len(server.requests) == asked) and time.monotonic() < until:
                assert process.poll() is None
                time.sleep(0.004)
            process.kill()
            assert process.wait(5) == -9 and process.stdout is not None
            process.stdout.close()
            began_at = [request.range(len(data)) or (0, 0) for request in server.requests[asked:]]
            # It went on where the one before had been; a connection may go on into a segment that nobody has begun.
            assert not places or {first for first, _ in began_at} <= {place.at for place in places}
            kept, places = noted(folder, len(data))
            assert finished(folder) == [] and kept >= goal and len(places) == segments
            assert beyond(next(folder.glob("*.part")), places, data) <= MIB
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    result = json.loads(done.stdout)
    assert_file(folder, result, data)
    assert result["resumed_from"] == kept
