"""Download jobs in a real queue: attempts, delays, reasons, stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kue
from kue.downloads import DownloadHandler
from kue.downloads import errors as errors_module
from kue.downloads import handler as handler_module
from tests.downloads.conftest import assert_file, finished, parts
from tests.downloads.hostile import HostileServer, Request, Wire, content, send_good
from tests.support import wait_until

DATA = content(1_000_000)
Make = Callable[..., DownloadHandler]


def test_a_job_continues_over_its_attempts(queue: kue.Queue, make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, DATA, stop_after=400_000 if request.number < 2 else None)

    with HostileServer(script) as server:
        queue.process("startdownload", 1, make(server))
        job = queue.create("startdownload", {"title": "t", "url": server.url()}, attempts=5).save()
        result = job.wait(15)
        assert_file(folder, result, DATA)
        assert result["resumed_from"] == 800_000
        log = queue.log(job.id)
        assert any("The server closed the connection after 0.4 of 1.0 MB" in line for line in log)
        assert any("Resuming at 0.8 of 1.0 MB" in line for line in log)
        again = queue.get(job.id)
        assert again.attempts_made == 3 and again.progress_data["total"] == 1_000_000


def test_a_job_that_cannot_succeed_uses_one_attempt(queue: kue.Queue, make: Make) -> None:
    with HostileServer(lambda request, wire: wire.head("404 x", {"Content-Length": 0})) as server:
        queue.process("startdownload", 1, make(server))
        job = queue.create("startdownload", {"title": "t", "url": server.url()}, attempts=5).save()
        with pytest.raises(kue.JobFailed, match="answered 404 Not Found"):
            job.wait(15)
        assert len(server.requests) == 1


def test_retry_after_delays_the_job_for_as_long(queue: kue.Queue, make: Make, folder: Path) -> None:
    times: list[float] = []

    def script(request: Request, wire: Wire) -> None:
        times.append(time.monotonic())
        if request.number == 0:
            wire.head("503 x", {"Retry-After": 1, "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        queue.process("startdownload", 1, make(server))
        job = queue.create("startdownload", {"title": "t", "url": server.url()}, attempts=2).save()
        assert_file(folder, job.wait(15), DATA)
    assert times[1] - times[0] >= 0.99


@pytest.mark.slow
def test_a_stop_releases_the_job_and_the_next_worker_continues(redis_url: str, make: Make, folder: Path) -> None:
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=500_000)) as server:
        first = kue.create_queue(redis_url)
        first.process("startdownload", 1, make(server))
        job = first.create("startdownload", {"title": "t", "url": server.url()}).save()
        wait_until(lambda: [path for path in parts(folder) if path.stat().st_size > 200_000])
        first.shutdown(timeout_s=0.2)
        assert finished(folder) == []
        second = kue.create_queue(redis_url)
        try:
            second.process("startdownload", 1, make(server))
            result = second.get(job.id).wait(15)
        finally:
            second.shutdown(timeout_s=5)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] > 200_000


def test_a_cancelled_job_stops_and_its_partial_file_can_be_deleted(queue: kue.Queue, make: Make, folder: Path) -> None:
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=300_000)) as server:
        handler = make(server)
        queue.process("startdownload", 1, handler)
        job = queue.create("startdownload", {"title": "t", "url": server.url()}).save()
        wait_until(lambda: [path for path in parts(folder) if path.stat().st_size])
        queue.cancel(job.id)
        wait_until(lambda: handler.limits.running() == 0)
        assert finished(folder) == []
        assert handler.discard(queue.get(job.id))
    assert parts(folder) == []


def test_many_jobs_at_once_make_as_many_files(queue: kue.Queue, make: Make, folder: Path) -> None:
    with HostileServer(lambda request, wire: send_good(request, wire, DATA[:50_000])) as server:
        handler = make(server)
        most, lock = [0], threading.Lock()

        def watched(job: kue.Job) -> object:
            with lock:
                most[0] = max(most[0], handler.limits.running())
            return handler(job)

        queue.process("startdownload", 5, watched)
        queue.create_many([{"type": "startdownload", "data": {"title": "t", "url": server.url()}} for _ in range(60)])
        wait_until(lambda: queue.counts()["complete"] == 60, timeout=20)
    assert len(finished(folder)) == 60 and most[0] <= 5


def test_a_job_whose_host_is_busy_waits_as_delayed_and_uses_up_no_attempt(
    queue: kue.Queue, make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler_module, "HOST_BUSY_MS", 300)
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=1_500_000)) as server:
        queue.process("startdownload", 2, make(server, per_host=1))
        jobs = [queue.create("startdownload", {"title": "t", "url": server.url()}, attempts=1).save() for _ in range(2)]
        wait_until(lambda: queue.counts()["delayed"] == 1)
        for job in jobs:
            assert_file(folder, job.wait(15), DATA)
    second = max((queue.get(job.id) for job in jobs), key=lambda job: len(queue.log(job.id)))
    assert any("Waiting: 1 download from 127.0.0.1:" in line for line in queue.log(second.id))


def test_a_job_without_room_waits_as_delayed_and_continues_when_there_is(
    queue: kue.Queue, make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors_module, "NO_ROOM_MS", 300)
    with HostileServer(lambda request, wire: send_good(request, wire, DATA)) as server:
        handler = make(server, min_free=1 << 60)
        queue.process("startdownload", 1, handler)
        job = queue.create("startdownload", {"title": "t", "url": server.url()}, attempts=1).save()
        wait_until(lambda: len(queue.log(job.id)) > 1)
        assert "Waiting for disk space" in queue.log(job.id)[-1]
        handler.change(min_free=0)
        assert_file(folder, job.wait(15), DATA)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_suspended_download_stops_and_resumes_at_its_bytes(
    queue: kue.Queue, redis_url: str, make: Make, folder: Path, segments: int
) -> None:
    big = content(6 * 1024 * 1024)
    with HostileServer(lambda request, wire: send_good(request, wire, big, rate=3_000_000 / segments)) as server:
        handler = make(server)
        queue.process("startdownload", 1, handler)
        data = {"title": "t", "url": server.url(), "segments": segments}
        job = queue.create("startdownload", data, attempts=1).save()
        wait_until(lambda: (queue.get(job.id).progress_data or {}).get("bytes", 0) > 500_000)
        # Another process pauses it.
        other = kue.create_queue(redis_url)
        assert other.pause_job(job.id) == "active"
        wait_until(lambda: handler.limits.running() == 0)
        assert queue.get(job.id).state == "delayed" and len(parts(folder)) == 1
        server.script = lambda request, wire: send_good(request, wire, big)
        other.resume_job(job.id)
        result = queue.get(job.id).wait(15)
        other.close()
    assert_file(folder, result, big)
    assert result["resumed_from"] >= 500_000
    assert queue.get(job.id).attempts_made == 1


def test_a_cancel_can_take_the_bytes_with_it(queue: kue.Queue, make: Make, folder: Path) -> None:
    with HostileServer(lambda request, wire: send_good(request, wire, DATA, rate=300_000)) as server:
        handler = make(server)
        queue.process("startdownload", 1, handler)
        job = queue.create("startdownload", {"title": "t", "url": server.url()}).save()
        wait_until(lambda: [path for path in parts(folder) if path.stat().st_size])
        queue.cancel(job.id, discard=True)
        wait_until(lambda: handler.limits.running() == 0)
    assert list(folder.iterdir()) == []
