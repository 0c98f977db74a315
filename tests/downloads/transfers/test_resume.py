"""Resuming at the right byte, and never joining two versions of a file."""

from __future__ import annotations

import email.utils
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kue
from kue.downloads import DownloadError, DownloadFailed, DownloadHandler
from kue.downloads.files import partial as sidecars
from tests.downloads.conftest import assert_file, finished, parts, run_until_done
from tests.downloads.hostile import FakeJob, HostileServer, Request, Script, Wire, content, send_good

DATA, OTHER = content(1_000_000), content(1_000_000, seed=2)
HALF = 500_000
Make = Callable[..., DownloadHandler]


def cut_then(second: Script, data: bytes = DATA, etag: str | None = '"v1"', **headers: str | int) -> Script:
    """Return a script that closes the first answer half-way, and answers the others by ``second``."""

    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            send_good(request, wire, data, etag, stop_after=HALF, headers=headers)
        else:
            second(request, wire)

    return script


def fail_once(handler: DownloadHandler, job: FakeJob) -> DownloadError:
    """Run a first attempt, which must fail, and return why."""
    with pytest.raises(DownloadError) as caught:
        handler(job)
    return caught.value


def test_the_bytes_of_a_cut_connection_count(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler, job = make(server), FakeJob(server.url())
        error = fail_once(handler, job)
        assert str(error) == "The server closed the connection after 0.5 of 1.0 MB"
        assert parts(folder)[0].stat().st_size == HALF and finished(folder) == []
        result = handler(job)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == HALF
    assert server.requests[1].headers["range"] == f"bytes={HALF}-"
    assert server.requests[1].headers["if-range"] == '"v1"'
    assert "Resuming at 0.5 of 1.0 MB" in job.lines


def test_the_sidecar_is_there_before_the_first_byte(make: Make, folder: Path) -> None:
    seen: list[list[str]] = []

    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Content-Length": len(DATA), "ETag": '"v1"'})
        until = time.monotonic() + 5
        while not list(folder.glob(".*.json")) and time.monotonic() < until:
            time.sleep(0.01)
        seen.append(sorted(os.listdir(folder)))
        (name,) = folder.glob(".*.json")
        facts = json.loads(name.read_text())
        assert facts["validator"] == '"v1"' and facts["length"] == len(DATA) and facts["url"] == wire.server.url()
        wire.send(DATA)

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url())), DATA)
    assert server.errors == [] and len(seen[0]) == 2


def test_another_job_does_not_take_over_the_part(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler = make(server)
        fail_once(handler, FakeJob(server.url(), 1))
        result = handler(FakeJob(server.url(), 2))
    assert result["resumed_from"] == 0 and "range" not in server.requests[1].headers
    assert len(parts(folder)) == 1


def last_modified(age_s: float) -> dict[str, str | int]:
    """Return Last-Modified and Date so far apart."""
    now = time.time()
    return {
        "Last-Modified": email.utils.formatdate(now - age_s, usegmt=True),
        "Date": email.utils.formatdate(now, usegmt=True),
    }


def test_a_date_serves_where_there_is_no_etag(make: Make, folder: Path) -> None:
    dates = last_modified(3600)
    modified = str(dates["Last-Modified"])
    with HostileServer(
        cut_then(
            lambda request, wire: send_good(request, wire, DATA, modified, headers={**dates, "ETag": ""}), etag=None
        )
    ) as server:
        server.script = lambda request, wire: dated(request, wire, dates, modified)
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        result = handler(job)
    assert result["resumed_from"] == HALF and server.requests[1].headers["if-range"] == modified
    assert_file(folder, result, DATA)


def dated(request: Request, wire: Wire, dates: dict[str, str | int], modified: str) -> None:
    """Answer with dates and no ETag; the first answer is cut."""
    if request.number == 0:
        wire.head("200 OK", {**dates, "Content-Length": len(DATA)})
        wire.send(DATA[:HALF])
        return
    assert request.headers["if-range"] == modified
    wire.head("206 x", {**dates, "Content-Length": HALF, "Content-Range": f"bytes {HALF}-999999/1000000"})
    wire.send(DATA[HALF:])


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": 'W/"v1"'},
        {"ETag": "v1"},
        {"ETag": '"un"quoted"'},
        {"ETag": '"' + "x" * 2000 + '"'},
        last_modified(0),
        {"Last-Modified": last_modified(60)["Last-Modified"]},
        {"Last-Modified": "yesterday", "Date": "today"},
        {},
    ],
)
def test_without_a_strong_validator_the_file_starts_over(
    make: Make, folder: Path, headers: dict[str, str | int]
) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Content-Length": len(DATA), "Accept-Ranges": "bytes", **headers})
        wire.send(DATA[:HALF] if request.number == 0 else OTHER)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        result = handler(job)
    assert_file(folder, result, OTHER)
    assert result["resumed_from"] == 0 and "range" not in server.requests[1].headers
    assert any(line.startswith("Starting over") for line in job.lines)


def test_a_changed_file_is_answered_whole_and_starts_over(make: Make, folder: Path) -> None:
    second: Script = lambda request, wire: send_good(request, wire, OTHER, '"v2"')  # noqa: E731
    with HostileServer(cut_then(second)) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        result = handler(job)
    assert_file(folder, result, OTHER)
    assert len(server.requests) == 2


#: Answers to a request for the second half that must never be joined to the first: status and headers.
WRONG_PARTS: dict[str, tuple[str, dict[str, str | int]]] = {
    "another etag": ("206 x", {"Content-Range": "bytes 500000-999999/1000000", "ETag": '"v2"'}),
    "a weak etag": ("206 x", {"Content-Range": "bytes 500000-999999/1000000", "ETag": 'W/"v1"'}),
    "from zero": ("206 x", {"Content-Range": "bytes 0-499999/1000000", "ETag": '"v1"'}),
    "too early": ("206 x", {"Content-Range": "bytes 499999-999998/1000000", "ETag": '"v1"'}),
    "too late": ("206 x", {"Content-Range": "bytes 500001-999999/1000000", "ETag": '"v1"'}),
    "another total": ("206 x", {"Content-Range": "bytes 500000-999999/1000001", "ETag": '"v1"'}),
    "smaller total": ("206 x", {"Content-Range": "bytes 500000-999999/999999", "ETag": '"v1"'}),
    "beyond the end": ("206 x", {"Content-Range": "bytes 500000-1000000/1000000", "ETag": '"v1"'}),
    "backwards": ("206 x", {"Content-Range": "bytes 500000-400000/1000000", "ETag": '"v1"'}),
    "no range": ("206 x", {"ETag": '"v1"'}),
    "star range": ("206 x", {"Content-Range": "bytes */1000000", "ETag": '"v1"'}),
    "another unit": ("206 x", {"Content-Range": "lines 500000-999999/1000000", "ETag": '"v1"'}),
    "nonsense": ("206 x", {"Content-Range": "bytes five-nine/ten", "ETag": '"v1"'}),
    "negative": ("206 x", {"Content-Range": "bytes -500000-999999/1000000", "ETag": '"v1"'}),
    "huge": ("206 x", {"Content-Range": "bytes 500000-99999999999999999999/99999999999999999999", "ETag": '"v1"'}),
    "two ranges": ("206 x", {"Content-Type": "multipart/byteranges; boundary=x", "ETag": '"v1"'}),
    "wrong length": (
        "206 x",
        {"Content-Range": "bytes 500000-999999/1000000", "Content-Length": 400_000, "ETag": '"v1"'},
    ),
    "encoded": (
        "206 x",
        {"Content-Range": "bytes 500000-999999/1000000", "Content-Encoding": "gzip", "ETag": '"v1"'},
    ),
    "416 shorter": ("416 x", {"Content-Range": "bytes */400000", "ETag": '"v1"'}),
    "416 same length": ("416 x", {"Content-Range": "bytes */500000", "ETag": '"v1"'}),
    "416 bare": ("416 x", {}),
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_two_versions_are_never_joined(make: Make, folder: Path, name: str) -> None:
    status, headers = WRONG_PARTS[name]

    def second(request: Request, wire: Wire) -> None:
        if "range" in request.headers:
            wire.head(status, {"Content-Length": HALF, **headers})
            wire.send(OTHER[HALF:])
        else:
            send_good(request, wire, OTHER, '"v2"')

    with HostileServer(cut_then(second)) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        result, _ = run_until_done(handler, job, 2)
    assert_file(folder, result, OTHER)


def test_a_part_that_is_already_whole_needs_no_request(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: None)) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        with parts(folder)[0].open("ab") as file:
            file.write(DATA[HALF:])
        result = handler(job)
    assert_file(folder, result, DATA)
    assert len(server.requests) == 1 and result["resumed_from"] == len(DATA)


@pytest.mark.parametrize("etag", ['"v1"', '"v2"'])
def test_a_416_ends_a_file_of_unknown_length_only_if_the_version_is_the_same(
    make: Make, folder: Path, etag: str
) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            wire.head("200 OK", {"Transfer-Encoding": "chunked", "ETag": '"v1"'})
            wire.send(b"%x\r\n" % HALF + DATA[:HALF] + b"\r\n")  # all of it, but for the last chunk
        elif "range" in request.headers:
            wire.head("416 x", {"Content-Range": f"bytes */{HALF}", "ETag": etag, "Content-Length": 0})
        else:
            send_good(request, wire, OTHER, etag)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        assert "before the end" in str(fail_once(handler, job))
        result = handler(job)
    assert_file(folder, result, DATA[:HALF] if etag == '"v1"' else OTHER)


def test_a_server_that_sends_ranges_in_pieces_is_asked_again(make: Make, folder: Path) -> None:
    def second(request: Request, wire: Wire) -> None:
        first, _ = request.range(len(DATA)) or (0, 0)
        end = min(first + 200_000, len(DATA))
        wire.head(
            "206 x",
            {"ETag": '"v1"', "Content-Length": end - first, "Content-Range": f"bytes {first}-{end - 1}/1000000"},
        )
        wire.send(DATA[first:end])

    with HostileServer(cut_then(second)) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        assert_file(folder, handler(job), DATA)
    assert len(server.requests) == 4


def test_a_server_that_sends_crumbs_is_left(make: Make, folder: Path) -> None:
    def second(request: Request, wire: Wire) -> None:
        first, _ = request.range(len(DATA)) or (0, 0)
        wire.head("206 x", {"ETag": '"v1"', "Content-Length": 1, "Content-Range": f"bytes {first}-{first}/1000000"})
        wire.send(DATA[first : first + 1])

    with HostileServer(cut_then(second)) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        with pytest.raises(DownloadError, match="too few bytes per range"):
            handler(job)
    assert finished(folder) == []


def test_a_sidecar_that_cannot_be_parsed_is_not_believed(make: Make, folder: Path) -> None:
    for content_ in (b"", b"{", b"[]", b'{"version": 1}', b"\xff" * 100, b'{"version": 2}', b"null"):
        with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
            handler, job = make(server), FakeJob(server.url())
            fail_once(handler, job)
            (path,) = [path for path in folder.glob(".*.json") if json.loads(path.read_text())["result"] is None]
            path.write_bytes(content_)
            result = handler(job)
            assert result["resumed_from"] == 0
            assert_file(folder, result, DATA)


def test_a_sidecar_with_a_path_for_a_name_is_not_believed(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        (path,) = folder.glob(".*.json")
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "name": "../outside/evil"}))
        assert_file(folder, handler(job), DATA)


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_a_part_that_is_not_a_file_of_ours_is_not_written_through(make: Make, folder: Path, kind: str) -> None:
    target = folder.parent / "precious"
    target.write_text("precious")
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        (path,) = parts(folder)
        path.unlink()
        if kind == "symlink":
            path.symlink_to(target)
        elif kind == "directory":
            path.mkdir()
        else:
            os.mkfifo(path)
        with pytest.raises(DownloadError):
            handler(job)
    assert target.read_text() == "precious" and finished(folder) == []


def test_after_a_power_cut_only_what_reached_the_disk_is_believed(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        with parts(folder)[0].open("r+b") as file:
            file.seek(300_000)
            file.write(bytes(200_000))  # what a file system may show of pages that were never written
        (path,) = folder.glob(".*.json")
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "synced": 300_000, "boot": "another"}))
        result = handler(job)
    assert result["resumed_from"] == 300_000
    assert_file(folder, result, DATA)


def test_bytes_that_are_not_those_that_were_written_start_over(make: Make, folder: Path) -> None:
    import hashlib

    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        (path,) = folder.glob(".*.json")
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "sha": [100_000, hashlib.sha256(DATA[:100_000]).hexdigest()]}))
        with parts(folder)[0].open("r+b") as file:
            file.write(b"damaged")
        result = handler(job)
    assert_file(folder, result, DATA)
    assert "Starting over: the partial file no longer matches its recorded checksum" in job.lines


def test_bytes_reach_the_disk_and_the_sidecar_while_it_runs(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.downloads.files.disk_space.SYNC_S", 0.1)
    monkeypatch.setattr("kue.downloads.files.disk_space.SPACE_S", 0.05)
    monkeypatch.setattr("kue.downloads.files.digests.BEHIND_BYTES", 100_000)
    script: Script = lambda request, wire: send_good(request, wire, DATA, rate=1_000_000, stop_after=900_000)  # noqa: E731
    with HostileServer(script) as server:
        fail_once(make(server), FakeJob(server.url()))
    (path,) = folder.glob(".*.json")
    facts = json.loads(path.read_text())
    assert 100_000 < facts["synced"] <= 900_000 and 0 < facts["sha"][0] <= facts["synced"]


@pytest.mark.parametrize("interrupt", [kue.JobInterrupt, kue.errors.WorkerStopping, kue.errors.JobCancelled])
def test_an_interrupt_passes_and_the_bytes_stay(make: Make, folder: Path, interrupt: type[BaseException]) -> None:
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=1_000_000)) as server:
        handler, job = make(server), FakeJob(server.url())

        def stop(job: FakeJob) -> None:
            if len(job.events) == 3:
                job.on_progress = None
                raise interrupt

        job.on_progress = stop
        with pytest.raises(interrupt):
            handler(job)
        assert handler.limits.running() == 0
        result = handler(job)
    assert result["resumed_from"] > 100_000
    assert_file(folder, result, DATA)


def test_an_interrupt_gets_through_while_the_server_is_silent(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Content-Length": 10})
        wire.server.stop.wait(10)

    from kue.downloads import Timeouts

    with HostileServer(script) as server:
        handler, job = make(server, timeouts=Timeouts(idle_s=20)), FakeJob(server.url())

        def stop(job: FakeJob) -> None:
            if len(job.events) == 2:
                raise kue.JobInterrupt

        job.on_progress = stop
        began = time.monotonic()
        with pytest.raises(kue.JobInterrupt):
            handler(job)
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("reason", "setting", "own", "stays"),
    [
        ("cancelled", True, None, True),
        ("cancelled", False, None, False),
        ("cancelled", True, False, False),
        ("cancelled", False, True, True),
        ("discarded", True, True, False),
        ("removed", True, None, False),
        ("paused", False, False, True),
        ("moved", False, False, True),
        ("the lease was lost", False, False, True),
    ],
)
def test_the_bytes_of_a_job_that_is_taken_away_stay_or_go_as_is_wished(
    make: Make, folder: Path, reason: str, setting: bool, own: bool | None, stays: bool
) -> None:
    def stop(job: FakeJob) -> None:
        if job.events[-1][3]["bytes"]:
            raise kue.errors.JobCancelled(reason)

    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=1_500_000)) as server:
        job = FakeJob(server.url(), **({} if own is None else {"keep_partial": own}))
        job.on_progress = stop
        with pytest.raises(kue.errors.JobCancelled):
            make(server, keep_cancelled=setting)(job)
    assert len(parts(folder)) == stays == bool(list(folder.iterdir()))


def test_a_partial_file_can_be_discarded(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: None)) as server:
        handler, job = make(server), FakeJob(server.url())
        assert handler.discard(job) is False
        fail_once(handler, job)
        assert handler.discard(job) is True
    assert list(folder.iterdir()) == []


def test_two_attempts_of_one_job_never_write_together(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecars, "LOCK_WAIT_S", 0.3)
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=1_000_000)) as server:
        handler = make(server)
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(handler(FakeJob(server.url()))))
        thread.start()
        while not parts(folder):
            time.sleep(0.01)
        with pytest.raises(DownloadError, match="An earlier attempt of this job still holds"):
            handler(FakeJob(server.url()))
        thread.join(10)
    assert len(results) == 1 and len(finished(folder)) == 1


def test_what_nobody_came_back_for_is_swept(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: send_good(request, wire, DATA))) as server:
        handler = make(server)
        fail_once(handler, FakeJob(server.url(), 1))
        handler(FakeJob(server.url(), 2))
        assert len(list(folder.iterdir())) == 4
        make(server, now=lambda: time.time() + 3600)
        assert sorted(path.suffix for path in folder.iterdir()) == [".bin", ".json", ".part"]
        for name in (".9-0123456789.map", ".9-0123456789.json.tmp", "mine.map.bin"):
            (folder / name).write_text("left by a crash, and not")
        make(server, now=lambda: time.time() + 30 * 86400)
        (folder / "mine.map.bin").unlink()
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_a_job_that_fails_for_good_while_resuming_keeps_its_bytes(make: Make, folder: Path) -> None:
    with HostileServer(cut_then(lambda request, wire: wire.head("403 x", {"Content-Length": 0}))) as server:
        handler, job = make(server), FakeJob(server.url())
        fail_once(handler, job)
        with pytest.raises(DownloadFailed, match="answered 403"):
            handler(job)
    assert parts(folder)[0].stat().st_size == HALF
