"""A finished job's result is correct; otherwise the job does not finish."""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
import resource
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, DownloadPostponed
from tests.downloads.conftest import assert_file, finished, parts
from tests.downloads.hostile import SECRET, FakeJob, HostileServer, Request, Wire, content, good, send_good
from tests.support import free_port

DATA = content(300_000)
Make = Callable[..., DownloadHandler]


def test_a_download_arrives_with_its_name_and_all_that_is_known_of_it(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA, Content_Type="application/zip")) as server:
        job = FakeJob(server.url("/some/path/archive.zip?x=1"), 12)
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert re.fullmatch(r"\d{14}-12-archive\.zip", result["file"])
    assert result["url"] == server.url("/some/path/archive.zip?x=1")
    assert result["content_type"] == "application/zip" and result["redirects"] == 0 and result["resumed_from"] == 0
    assert result["seconds"] > 0 and result["rate"] > 0
    assert finished(folder) == [folder / result["file"]] and parts(folder) == []
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert job.lines[-1] == f"Saved 300.0 kB as {result['file']}"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 262144, 262145, 3_000_000, 20_000_000])
def test_every_size_arrives_whole(make: Make, folder: Path, size: int) -> None:
    data = content(size)
    with HostileServer(good(data)) as server:
        assert_file(folder, make(server)(FakeJob(server.url())), data)


def test_the_same_url_twice_makes_two_files(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA)) as server:
        handler = make(server)
        first, second = handler(FakeJob(server.url(), 1)), handler(FakeJob(server.url(), 2))
    assert first["file"] != second["file"] and len(finished(folder)) == 2


def test_an_existing_file_is_never_replaced(make: Make, folder: Path) -> None:
    handler = make(allow=["127.0.0.1"], now=lambda: 1_700_000_000.0)
    with HostileServer(good(DATA)) as server:
        first = handler(FakeJob(server.url(), 5))
        second_job = FakeJob(server.url(), 5)
        second_job.created_at += 1  # another job that has the same id, as after Redis was emptied
        second = handler(second_job)
    assert second["file"] == first["file"].replace(".bin", " (2).bin")
    assert_file(folder, first, DATA)
    assert_file(folder, second, DATA)


def test_an_attempt_that_finished_unheard_is_not_done_again(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA)) as server:
        job = FakeJob(server.url(), 5)
        first = make(server)(job)
        again = make(server)(job)  # as by another process
        assert again == first and len(server.requests) == 1 and len(finished(folder)) == 1
        (folder / first["file"]).unlink()
        assert_file(folder, make(server)(job), DATA)


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1"])
def test_a_digest_that_is_right_is_part_of_the_result(make: Make, folder: Path, algorithm: str) -> None:
    wanted = hashlib.new(algorithm, DATA).hexdigest()
    with HostileServer(good(DATA)) as server:
        result = make(server)(FakeJob(server.url(), **{algorithm: wanted.upper()}))
    assert result[algorithm] == wanted
    assert_file(folder, result, DATA)


@pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("md5", 32), ("sha1", 40)])
def test_a_wrong_digest_fails_for_good_and_sets_the_file_aside(
    make: Make, folder: Path, algorithm: str, digits: int
) -> None:
    with HostileServer(good(DATA)) as server, pytest.raises(DownloadFailed, match=f"{algorithm} is .* expected 0000"):
        make(server)(FakeJob(server.url(), **{algorithm: "0" * digits}))
    assert finished(folder) == [] and parts(folder) == []
    assert [path.read_bytes() for path in folder.glob("*.quarantine")] == [DATA]


@pytest.mark.parametrize(
    "data",
    [
        {"url": None},
        {"url": 5},
        {"url": ""},
        {"sha256": "xyz"},
        {"sha256": 5},
        {"md5": "0" * 33},
        {"filename": 5},
        {"segments": 0},
        {"segments": 17},
        {"segments": True},
        {"segments": "many"},
    ],
)
def test_a_job_that_cannot_be_understood_fails_for_good(make: Make, data: dict[str, Any]) -> None:
    with pytest.raises(DownloadFailed):
        make()(FakeJob(**{"url": "http://example.com/", **data}))
    job = FakeJob("http://example.com/")
    job.data = None  # type: ignore[assignment]
    with pytest.raises(kue.UnrecoverableError):
        make()(job)


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone", "401 Unauthorized", "400 x", "451 x"])
def test_a_refusal_fails_for_good_in_words(make: Make, folder: Path, status: str) -> None:
    with HostileServer(lambda request, wire: wire.head(status, {"Content-Length": 0})) as server:
        with pytest.raises(DownloadFailed, match=rf"^127.0.0.1:\d+ answered {status[:3]} [A-Z]") as caught:
            make(server)(FakeJob(server.url()))
    assert caught.value.status == int(status[:3]) and caught.value.url == server.url()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("status", ["408 x", "425 x", "429 x", "500 x", "502 x", "503 x", "504 x", "599 x"])
def test_a_trouble_that_may_pass_can_be_tried_again(make: Make, status: str) -> None:
    with HostileServer(lambda request, wire: wire.head(status, {"Content-Length": 0})) as server:
        with pytest.raises(DownloadError, match=rf"answered {status[:3]}") as caught:
            make(server)(FakeJob(server.url()))
    assert not isinstance(caught.value, kue.UnrecoverableError | kue.RetryLater)


@pytest.mark.parametrize(
    ("value", "delay_ms"),
    [("7", 7000), ("0", 1000), ("999999999", 6 * 3600 * 1000), ("Thu, 01 Jan 1970 00:00:00 GMT", 1000)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(make: Make, status: int, value: str, delay_ms: int) -> None:
    with HostileServer(lambda request, wire: wire.head(f"{status} x", {"Retry-After": value})) as server:
        with pytest.raises(DownloadPostponed, match="retry in") as caught:
            make(server)(FakeJob(server.url()))
    assert isinstance(caught.value, kue.RetryLater) and caught.value.delay_ms == delay_ms


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "99999999999999999999", "Mon, 99 Foo 2020"])
def test_a_retry_after_that_cannot_be_parsed_is_ignored(make: Make, value: str) -> None:
    with HostileServer(lambda request, wire: wire.head("503 x", {"Retry-After": value})) as server:
        with pytest.raises(DownloadError) as caught:
            make(server)(FakeJob(server.url()))
    assert not isinstance(caught.value, kue.RetryLater)


def test_a_refused_connection_is_said_in_words(make: Make) -> None:
    port = free_port()
    with pytest.raises(DownloadError, match=rf"^127.0.0.1:{port} refused the connection$"):
        make(allow=["127.0.0.1"])(FakeJob(f"http://127.0.0.1:{port}/x"))


def test_a_file_that_is_too_big_is_refused_before_its_first_byte(make: Make, folder: Path) -> None:
    with (
        HostileServer(good(DATA)) as server,
        pytest.raises(DownloadFailed, match="300.0 kB is larger than the limit of 1.0 kB"),
    ):
        make(server, max_bytes=1000)(FakeJob(server.url()))
    assert list(folder.iterdir()) == []


def test_a_body_without_end_is_cut_off_at_the_limit(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Connection": "close"})
        while not wire.server.stop.is_set():
            wire.send(DATA)

    with HostileServer(script) as server, pytest.raises(DownloadFailed, match="larger than the limit of 5.0 MB"):
        make(server, max_bytes=5_000_000)(FakeJob(server.url()))
    assert list(folder.iterdir()) == []


def test_too_little_room_delays_the_job_with_the_reason(make: Make, folder: Path) -> None:
    with HostileServer(good(DATA)) as server:
        with pytest.raises(DownloadPostponed, match="Waiting for disk space: .* free") as caught:
            make(server, min_free=1 << 60)(FakeJob(server.url()))
        assert caught.value.delay_ms == 60_000 and caught.value.counts is False
        assert_file(folder, make(server)(FakeJob(server.url())), DATA)


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Return a function that lets no file of this process grow beyond a size: as some file systems do."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("secure", [False, True])
def test_a_file_too_large_for_its_file_system_fails_at_once_and_keeps_the_bytes(
    make: Make,
    folder: Path,
    small_files: Callable[[int], None],
    secure: bool,
    tls: Any,
    certificate: tuple[Path, Path],
) -> None:
    data = content(3_000_000)
    with HostileServer(good(data), tls=tls if secure else None) as server:
        job, handler = FakeJob(server.url()), make(server, verify=str(certificate[0]))
        small_files(1_000_000)
        with pytest.raises(DownloadFailed, match="the file is larger than its file system or a limit"):
            handler(job)
        small_files(10_000_000)
        assert parts(folder)[0].stat().st_size >= 700_000
        result = handler(job)
    assert_file(folder, result, data)
    assert result["resumed_from"] >= 700_000


def test_a_disk_that_fills_up_in_the_middle_delays_the_job_and_keeps_the_bytes(make: Make, folder: Path) -> None:
    data = content(3_000_000)

    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:  # without a length, since that would be compared with the free space
            wire.head(headers={"ETag": '"v1"', "Transfer-Encoding": "chunked"})
            wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
        else:
            send_good(request, wire, data)

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        return subprocess.run(command, capture_output=True).returncode == 0

    folder.mkdir()
    if not mount("size=2m"):
        pytest.skip("no file system can be mounted here")
    try:
        with HostileServer(script) as server:
            job, handler = FakeJob(server.url()), make(server)
            with pytest.raises(DownloadPostponed, match="Waiting for disk space: the disk is full") as caught:
                handler(job)
            assert caught.value.counts is False
            assert mount("remount,size=6m")
            result = handler(job)
        assert_file(folder, result, data)
        assert result["resumed_from"] >= 1_900_000
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_folder_that_may_not_be_written_fails_for_good(make: Make, folder: Path) -> None:
    folder.write_text("a file")
    with HostileServer(good(DATA)) as server, pytest.raises(DownloadFailed, match="download folder"):
        make(server)(FakeJob(server.url()))


def test_compressed_bytes_are_never_unpacked_and_are_called_what_they_are(make: Make, folder: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    headers = {"Content_Encoding": "gzip", "Content_Type": "text/html"}
    with HostileServer(good(bomb, **headers)) as server:
        result = make(server)(FakeJob(server.url("/page.html")))
        named = make(server)(FakeJob(server.url("/x.tar.gz"), 2))
    assert_file(folder, result, bomb)
    assert result["file"].endswith("-page.html.gz") and result["content_encoding"] == "gzip"
    assert named["file"].endswith("-x.tar.gz")


@pytest.mark.parametrize(
    ("coding", "extension"),
    [("br", ".br"), ("deflate", ".deflate"), ("gzip, gzip", ".gz.gz"), ("ZSTD", ".zst"), ("gzip,aws-chunked", ".gz")],
)
def test_a_file_that_the_server_encoded_is_kept_under_the_ending_of_its_coding(
    make: Make, folder: Path, coding: str, extension: str
) -> None:
    with HostileServer(good(DATA, Content_Encoding=coding)) as server:
        result = make(server)(FakeJob(server.url("/page.html")))
    assert_file(folder, result, DATA)
    assert result["file"].endswith(f"-page.html{extension}")
    assert result["content_encoding"] == coding.lower().replace(",aws-chunked", "")


@pytest.mark.parametrize("coding", ["UTF-8", "none", "binary", "aws-chunked", "identity", "7bit", "x" * 500])
def test_a_content_encoding_that_is_no_coding_means_plain_bytes(make: Make, folder: Path, coding: str) -> None:
    with HostileServer(good(DATA, Content_Encoding=coding)) as server:
        job = FakeJob(server.url("/a.json"))
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert result["file"].endswith("-a.json") and result["content_encoding"] is None
    assert any("Ignored Content-Encoding" in line for line in job.lines) is (coding != "identity")


def test_a_file_with_many_codings_keeps_its_name(make: Make, folder: Path) -> None:
    coding = ", ".join(["gzip"] * 200)
    with HostileServer(good(DATA, Content_Encoding=coding)) as server:
        job = FakeJob(server.url("/a.json"))
        result = make(server)(job)
    assert_file(folder, result, DATA)
    assert result["file"].endswith("-a.json") and len(result["content_encoding"]) <= 200
    assert "The server encoded the file 200 times. Saved as sent" in job.lines


def test_progress_comes_at_most_four_times_a_second_with_bytes_rate_and_time_left(make: Make) -> None:
    data = content(1_000_000)
    began = time.monotonic()
    with HostileServer(lambda request, wire: send_good(request, wire, data, rate=700_000)) as server:
        job = FakeJob(server.url())
        make(server)(job)
    took_s = time.monotonic() - began
    times = [event[0] for event in job.events]
    assert 4 <= len(times) <= took_s / 0.25 + 1
    assert all(later - earlier >= 0.249 for earlier, later in zip(times, times[1:], strict=False))
    _, done, total, told = job.events[-1]
    assert total == told["total"] == 1_000_000 and done == told["bytes"] > 500_000
    assert 0 < int(str(told["rate"])) < 1_200_000 and told["eta_s"] is not None
    assert set(told) == {"bytes", "total", "rate", "eta_s"}


def test_progress_of_an_unknown_length_gives_bytes_and_no_total(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Connection": "close"})
        for _ in range(6):
            wire.send(DATA[:50_000])
            wire.server.stop.wait(0.1)

    with HostileServer(script) as server:
        job = FakeJob(server.url())
        result = make(server)(job)
    assert_file(folder, result, DATA[:50_000] * 6)
    assert job.events[-1][1:3] == (0, 1) and job.events[-1][3]["total"] is None
    assert any("No Content-Length" in line for line in job.lines)


def test_credentials_reach_their_server_and_nobody_else(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def first(request: Request, wire: Wire) -> None:
        wire.head("302 Found", {"Location": other.url("/elsewhere?token=hunter2"), "Content-Length": 0})

    with HostileServer(good(DATA)) as other, HostileServer(first) as server:
        job = FakeJob(server.url().replace("//", "//user:swordfish@"))
        result = make(allow=["127.0.0.1"])(job)
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpzd29yZGZpc2g="
    assert "authorization" not in other.requests[0].headers
    seen = repr((result, job.lines, job.events)) + "".join(
        path.read_text() for path in folder.iterdir() if path.suffix == ".json"
    )
    assert "swordfish" not in seen and "hunter2" not in seen and "swordfish" not in caplog.text


@pytest.mark.parametrize("kind", ["refused", "404", "garbage", "cut"])
def test_no_error_tells_the_credentials(make: Make, kind: str) -> None:
    def script(request: Request, wire: Wire) -> None:
        if kind == "404":
            wire.head("404 x")
        elif kind == "garbage":
            wire.send(b"nonsense\r\n\r\n")
        else:
            wire.head("200 OK", {"Content-Length": 10})

    with HostileServer(script) as server:
        port = free_port() if kind == "refused" else server.port
        with pytest.raises(DownloadError) as caught:
            make(allow=["127.0.0.1"])(FakeJob(f"http://user:{SECRET}@127.0.0.1:{port}/x?sig={SECRET}"))
    told = "".join(traceback.format_exception(caught.value)) + str(caught.value.url)
    assert SECRET not in told


def test_proxies_of_the_environment_are_used_only_if_asked_for(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer(good(DATA)) as server, HostileServer(good(b"from the proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url("/"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("NETRC", "/nonexistent")
        assert_file(folder, make(server)(FakeJob(server.url())), DATA)
        assert proxy.requests == []
        asked = make(server, env_proxies=True)(FakeJob(server.url(), 2))
        assert_file(folder, asked, b"from the proxy")
        assert proxy.requests[0].path == server.url()
        with pytest.raises(DownloadFailed, match="a loopback address"):
            make(env_proxies=True)(FakeJob("http://localhost:1/x", 3))


@pytest.mark.usefixtures("untidy_handshakes")
def test_https_checks_the_certificate(make: Make, folder: Path, tls: Any, certificate: tuple[Path, Path]) -> None:
    with HostileServer(good(DATA), tls=tls) as server:
        with pytest.raises(DownloadFailed, match="The certificate of 127.0.0.1:.* is not"):
            make(server)(FakeJob(server.url()))
        result = make(server, verify=str(certificate[0]))(FakeJob(server.url()))
    assert_file(folder, result, DATA)


@pytest.mark.usefixtures("untidy_handshakes")
def test_tls_that_is_none_is_said_in_words(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 This is no TLS\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DownloadError, match="TLS handshake with 127.0.0.1:.* failed"):
            make(allow=["127.0.0.1"])(FakeJob(f"https://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join(5)


def test_downloads_share_slots_and_rate(make: Make, folder: Path) -> None:
    running: list[int] = []

    def script(request: Request, wire: Wire) -> None:
        running.append(handler.limits.running())
        send_good(request, wire, DATA)

    with HostileServer(script) as server:
        handler = make(server, slots=2, rate=3_000_000)
        jobs = [FakeJob(server.url(), number) for number in range(6)]
        results: list[Any] = []
        threads = [threading.Thread(target=lambda job=job: results.append(handler(job))) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(results) == 6 and max(running) == 2
    assert any("Waiting for a download slot" in line for job in jobs for line in job.lines)
    for result in results:
        assert_file(folder, result, DATA)


def test_checking_a_url_beforehand_knows_what_is_opened(make: Make) -> None:
    handler = make(allow=["127.0.0.1:3000"])
    handler.check_url("http://127.0.0.1:3000/x")
    with pytest.raises(ValueError, match="is a loopback"):
        handler.check_url("http://127.0.0.1/x")
