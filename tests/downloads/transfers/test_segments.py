"""Several connections for one file."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.downloads import DownloadError, DownloadHandler, attempt, segments
from kue.downloads.files import segment_map
from tests.downloads.conftest import assert_file, finished, parts, run_until_done
from tests.downloads.hostile import FakeJob, HostileServer, Request, Script, Wire, content, good, send_good
from tests.support import wait_until

DATA, OTHER = content(8 * 1024 * 1024), content(8 * 1024 * 1024, seed=2)
SLOW = 8_000_000
Make = Callable[..., DownloadHandler]


def limited(data: bytes = DATA, etag: str = '"v1"', rate: float = SLOW) -> Script:
    """Return a script that limits each connection."""
    return lambda request, wire: send_good(request, wire, data, etag, rate=rate)


def ranges(server: HostileServer) -> list[str]:
    """Return the ranges asked for."""
    return sorted(request.headers.get("range", "") for request in server.requests)


@pytest.mark.parametrize(
    ("have", "length", "count"),
    [(0, 8 << 20, 4), (0, 8 << 20, 1), (5_000_000, 9 << 20, 3), (0, 1 << 20, 16), (7, 4 << 20, 4)],
)
def test_a_plan_covers_the_file_without_gaps(have: int, length: int, count: int) -> None:
    plan = segment_map.plan(have, length, count)
    assert plan[0][0] == 0 and plan[-1][1] == length and len(plan) <= count
    assert all(left[1] == right[0] for left, right in zip(plan, plan[1:], strict=False))
    assert have < plan[0][1] and all(first < end for first, end in plan)


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_each_connection_fetches_its_own_part(make: Make, folder: Path, count: int) -> None:
    with HostileServer(limited()) as server:
        job = FakeJob(server.url(), segments=count)
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert len(server.requests) == count and ranges(server)[0] == ""
    assert all(request.headers.get("if-range") == '"v1"' for request in server.requests if "range" in request.headers)
    assert f"Fetching with {count} connections" in job.lines
    # No byte twice, but for what the first connection had in its buffers when it was ended.
    assert server.sent < len(DATA) * 1.5
    assert sorted(path.suffix for path in folder.iterdir()) == [".bin", ".json"]


def test_a_big_file_gets_four_connections_by_itself_and_a_small_one_does_not(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "SEGMENTS_FROM_BYTES", len(DATA))
    with HostileServer(limited()) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), 1)), DATA)
        assert len(server.requests) == 4
    with HostileServer(limited(DATA[:-1])) as server:
        make(server)(FakeJob(server.url(), 2))
        assert len(server.requests) == 1


@pytest.fixture
def fast_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let DATA be a big file and the server of these tests a fast one."""
    monkeypatch.setattr(attempt, "SEGMENTS_FROM_BYTES", len(DATA))
    monkeypatch.setattr(segments, "FAST_RATE", 1_000_000)


def test_connections_of_no_use_are_let_go_unless_the_job_has_asked_for_them(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, fast_line: None
) -> None:
    monkeypatch.setattr(segments, "BUSY_SHARE", 0)
    with HostileServer(limited()) as server:
        job = FakeJob(server.url(), 1)
        assert_file(folder, make(server)(job), DATA)
        # Four at first; then the first one fetches what each of the others has left behind.
        assert len(server.requests) == 7
        assert "Continuing with one connection: more would not be faster" in job.lines
        assert_file(folder, make(server)(FakeJob(server.url(), 2, segments=4)), DATA)
        assert len(server.requests) == 7 + 4


def test_connections_to_a_server_that_is_waited_for_are_kept(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, fast_line: None
) -> None:
    monkeypatch.setattr(segments, "BUSY_SHARE", 1.1)
    with HostileServer(limited()) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), 1)), DATA)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "headers",
    [{"ETag": 'W/"v1"'}, {"Accept-Ranges": "none"}, {"Content-Encoding": "gzip"}],
    ids=["weak", "none", "gzip"],
)
def test_a_server_that_cannot_do_it_gets_one_connection(
    make: Make, folder: Path, headers: dict[str, str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "SEGMENTS_FROM_BYTES", 1000)
    with HostileServer(good(DATA, **headers)) as server:
        assert_file(folder, make(server)(FakeJob(server.url())), DATA)
    assert len(server.requests) == 1


def test_a_name_that_changes_its_address_gets_no_further_connection_inside(make: Make, folder: Path) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any) -> Any:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with HostileServer(limited(rate=20_000_000)) as server, socket.create_server(("127.0.0.2", server.port)) as inside:
        handler = make(allow=["127.0.0.1"], resolve=resolve)
        assert_file(folder, handler(FakeJob(server.url(host="rebind.example"), segments=4)), DATA)
        inside.setblocking(False)
        with pytest.raises(BlockingIOError):
            inside.accept()
    assert len(asked) == 4 and len(server.requests) == 1


def test_a_server_that_ignores_ranges_after_all_is_read_to_the_end_by_the_first(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        request.headers.pop("range", None)
        send_good(request, wire, DATA, rate=20_000_000 if request.number == 0 else None)

    with HostileServer(script) as server:
        result = make(server)(FakeJob(server.url(), segments=4))
    assert_file(folder, result, DATA)


@pytest.mark.parametrize("answer", ["403 Forbidden", "429 Too Many Requests", "503 x", "reset", "silence", "garbage"])
def test_a_server_that_allows_one_connection_is_content_with_it(make: Make, folder: Path, answer: str) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            send_good(request, wire, DATA, rate=20_000_000)
        elif answer == "reset":
            wire.reset()
        elif answer == "garbage":
            wire.send(b"what?\r\n\r\n")
        elif answer != "silence":
            wire.head(answer, {"Content-Length": 0})

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), segments=3)), DATA)


def test_a_lost_connection_is_compensated_by_the_others(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, DATA, rate=SLOW, stop_after=500_000 if request.number in (0, 2) else None)

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), segments=4)), DATA)


def test_a_file_that_changes_between_two_connections_is_not_joined(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number < 2:
            send_good(request, wire, DATA, '"v1"', rate=SLOW)
        else:
            send_good(request, wire, OTHER, '"v2"', rate=4 * SLOW)

    with HostileServer(script) as server:
        result = make(server)(FakeJob(server.url(), segments=4))
    # Either the first connection had the old file to its end, or it met the new one as well.
    assert (folder / result["file"]).read_bytes() in (DATA, OTHER)


BUSY = b"<p>One connection at a time"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(BUSY), BUSY),
        b'HTTP/1.1 200 OK\r\nETag: "v2"\r\nContent-Length: 8\r\n\r\nanything',
        b"HTTP/1.1 206 x\r\nContent-Length: %d\r\n\r\n%s" % (len(BUSY), BUSY),
        b"HTTP/1.1 416 x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 x\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
def test_what_a_server_says_to_additional_connections_ends_only_those(make: Make, folder: Path, answer: bytes) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number:
            wire.send(answer)
            return
        wire.head(headers={"ETag": '"v1"', "Accept-Ranges": "bytes", "Content-Length": len(DATA)})
        wire.send(DATA[:100_000])
        # The rest comes when the others have given up, so that none of them holds a segment.
        wait_until(lambda: len(server.requests) == 4 and not any("_help" in t.name for t in threading.enumerate()))
        wire.send(DATA[100_000:])

    with HostileServer(script) as server:
        job = FakeJob(server.url(), segments=4)
        assert_file(folder, make(server)(job), DATA)
    assert not any(line.startswith("Starting over") for line in job.lines)


@pytest.mark.parametrize(
    "wrong",
    [
        {"Content-Range": "bytes 0-99/8388608"},
        {"Content-Range": "bytes */8388608"},
        {"Content-Range": "x"},
        {"ETag": '"v2"'},
        {"Content-Range": "bytes 2097152-8388607/8388608"},
    ],
)
def test_a_wrong_part_never_gets_into_the_file(make: Make, folder: Path, wrong: dict[str, str]) -> None:
    def script(request: Request, wire: Wire) -> None:
        span = request.range(len(DATA))
        if span is None:
            send_good(request, wire, DATA, rate=20_000_000)
            return
        first, end = span
        head = {"ETag": '"v1"', "Content-Range": f"bytes {first}-{end - 1}/{len(DATA)}", "Content-Length": end - first}
        wire.head("206 x", {**head, **wrong})
        wire.send(OTHER[first:end])

    with HostileServer(script) as server:
        job = FakeJob(server.url(), segments=4)
        assert_file(folder, make(server)(job), DATA)


def test_all_that_the_map_knows_is_kept_over_failed_attempts(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, DATA, rate=4 * SLOW, stop_after=700_000)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url(), segments=4)
        result, errors = run_until_done(handler, job)
    assert_file(folder, result, DATA)
    assert 2 <= len(errors) <= 6 and "The server closed the connection after" in str(errors[0])
    assert server.sent < len(DATA) * 1.5
    assert result["resumed_from"] > 4_000_000


def test_an_interrupt_stops_all_connections_and_keeps_the_bytes(make: Make, folder: Path) -> None:
    rate = 300_000
    with HostileServer(limited(rate=rate)) as server:
        handler, job = make(server), FakeJob(server.url(), segments=4)

        def stop(job: FakeJob) -> None:
            if len(job.events) == 4:
                job.on_progress = None
                raise kue.JobInterrupt

        job.on_progress = stop
        before, whole_s = threading.active_count(), len(DATA) / 4 / rate
        began = time.monotonic()
        with pytest.raises(kue.JobInterrupt):
            handler(job)
        assert time.monotonic() - began < whole_s / 2
        (map_,) = folder.glob(".*.map")
        counts = struct.unpack("<4Q", map_.read_bytes())
        assert all(counts) and parts(folder)[0].stat().st_size == len(DATA)
        server.script = limited(rate=20_000_000)
        result = handler(job)
        assert threading.active_count() <= before + 4  # the server's own
    assert_file(folder, result, DATA)
    assert result["resumed_from"] >= sum(counts)


def test_a_changed_file_starts_a_segmented_part_over(make: Make, folder: Path) -> None:
    with HostileServer(
        lambda request, wire: send_good(request, wire, DATA, stop_after=900_000, rate=SLOW * 4)
    ) as server:
        handler, job = make(server), FakeJob(server.url(), segments=4)
        with pytest.raises(DownloadError):
            handler(job)
        server.script = limited(OTHER, '"v2"', rate=SLOW * 4)
        result = handler(job)
    assert_file(folder, result, OTHER)
    assert result["resumed_from"] == 0


def damaged(folder: Path, kind: str) -> None:
    """Damage the map or sidecar of the only part."""
    (map_,), (side,) = folder.glob(".*.map"), folder.glob(".*.json")
    facts: dict[str, Any] = json.loads(side.read_text())
    if kind == "no map":
        map_.unlink()
    elif kind == "short map":
        map_.write_bytes(map_.read_bytes()[:-8])
    elif kind == "overlapping":
        facts["segments"][0][1] += 1
    elif kind == "beyond the end":
        facts["segments"][-1][1] += 1
    elif kind == "power cut":
        facts.update(boot="another", segments_synced=[100_000, 0, 0, 0])
        with parts(folder)[0].open("r+b") as file:
            file.seek(100_000)
            file.write(bytes(1_000_000))
    side.write_text(json.dumps(facts))


@pytest.mark.parametrize("kind", ["no map", "short map", "overlapping", "beyond the end", "power cut"])
def test_a_map_that_cannot_be_believed_is_not(make: Make, folder: Path, kind: str) -> None:
    with HostileServer(
        lambda request, wire: send_good(request, wire, DATA, stop_after=900_000, rate=SLOW * 4)
    ) as server:
        handler, job = make(server), FakeJob(server.url(), segments=4)
        with pytest.raises(DownloadError):
            handler(job)
        damaged(folder, kind)
        server.script = limited(rate=SLOW * 4)
        result = handler(job)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == (100_000 if kind == "power cut" else 0)
    assert len(finished(folder)) == 1
