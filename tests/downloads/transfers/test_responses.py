"""Responses other than a plain 200: not ready yet, rate limits, unrequested ranges, digests, TLS failures."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, DownloadPostponed
from tests.downloads.conftest import assert_file, finished, parts, run_until_done
from tests.downloads.hostile import FakeJob, HostileServer, Request, Wire, content, good, send_good

DATA, OTHER = content(300_000), content(300_000, seed=2)
HALF = 150_000
Make = Callable[..., DownloadHandler]


def gmt(at: float) -> str:
    """Return an HTTP date."""
    return email.utils.formatdate(at, usegmt=True)


# -- come again later


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (403, {"Retry-After": "30"}, 30),
        (404, {"Retry-After": "30"}, 30),
        (401, {"Retry-After": "30"}, 30),
        (202, {"Retry-After": "30"}, 30),
        (503, {"Retry-After": "30.5"}, 30),
        (503, {"Retry-After": "30 seconds"}, 30),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": gmt(1_000_000_060)}, 60),
        (503, {"Date": gmt(3_000_000_000), "Retry-After": gmt(3_000_000_060)}, 60),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": gmt(999_999_000)}, 1),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "45"}, 45),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "45"}, 45),
        (403, {"Date": gmt(2_000_000_000), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2000000090"}, 90),
        (403, {"Date": gmt(2_000_000_000), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2000000090000"}, 90),
        (429, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "45"}, 45),
        (429, {"RateLimit": "limit=10, remaining=0, reset=45"}, 45),
        (429, {"RateLimit": '"default";r=0;t=45'}, 45),
        (503, {"Retry-After": "30, 60"}, 30),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": "1000000060"}, 60),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": "2001-09-09T01:47:40Z"}, 60),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": "Sunday, 09-Sep-01 01:47:40 GMT"}, 60),
        (503, {"Date": gmt(1_000_000_000), "Retry-After": "Sun Sep  9 01:47:40 2001"}, 60),
    ],
)
def test_a_refusal_that_says_when_to_come_again_is_obeyed(
    make: Make, folder: Path, status: int, headers: dict[str, str | int], wait_s: int
) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            wire.head(f"{status} x", {**headers, "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadPostponed) as caught:
            handler(job)
        assert caught.value.delay_ms == wait_s * 1000
        assert_file(folder, handler(job), DATA)


def test_202_without_a_time_may_be_tried_again(make: Make) -> None:
    with HostileServer(lambda request, wire: wire.head("202 Accepted", {"Content-Length": 0})) as server:
        with pytest.raises(DownloadError, match="not ready yet") as caught:
            make(server)(FakeJob(server.url()))
    assert not isinstance(caught.value, DownloadFailed | DownloadPostponed)


@pytest.mark.parametrize("headers", [{}, {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "45"}])
def test_a_plain_403_stays_final(make: Make, headers: dict[str, str | int]) -> None:
    with HostileServer(lambda request, wire: wire.head("403 x", {**headers, "Content-Length": 0})) as server:
        with pytest.raises(DownloadFailed):
            make(server)(FakeJob(server.url()))


# -- 206 that nobody asked for


@pytest.mark.parametrize("first_bytes", [8, 100_000])
def test_a_part_from_the_beginning_is_a_beginning(make: Make, folder: Path, first_bytes: int) -> None:
    def script(request: Request, wire: Wire) -> None:
        first, end = request.range(len(DATA)) or (0, first_bytes)
        span = f"bytes {first}-{end - 1}/{len(DATA)}"
        wire.head("206 x", {"Content-Range": span, "Content-Length": end - first, "ETag": '"v1"'})
        wire.send(DATA[first:end])

    with HostileServer(script) as server:
        assert_file(folder, make(server)(FakeJob(server.url())), DATA)
    assert len(server.requests) == 2


def test_parts_of_changing_versions_are_not_asked_for_without_end(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head(
            "206 x", {"Content-Range": "bytes 0-99999/300000", "Content-Length": 100_000, "ETag": f'"{request.number}"'}
        )
        wire.send(DATA[:100_000])

    with HostileServer(script) as server, pytest.raises(DownloadError, match="Restarted"):
        make(server)(FakeJob(server.url()))
    assert len(server.requests) < 10 and finished(folder) == []


# -- which bytes may be kept


def versions(
    etag: str | None, modified_age_s: float | None, honors: str, extra: Callable[[str], str] = lambda span: span
) -> Callable[[Request, Wire], None]:
    """Return a server that cuts its first answer. ``honors``: which If-Range it takes: all, date, or no."""
    now = time.time()
    modified = None if modified_age_s is None else gmt(now - modified_age_s)

    def script(request: Request, wire: Wire) -> None:
        headers: dict[str, str | int] = {"Date": gmt(now), "Accept-Ranges": "bytes"}
        if etag is not None:
            headers["ETag"] = etag
        if modified is not None:
            headers["Last-Modified"] = modified
        asked, span = request.headers.get("if-range"), request.range(len(DATA))
        taken = {"all": (None, etag, modified), "date": (None, modified), "no": (None,)}[honors]
        if span is None or asked not in taken:
            wire.head("200 OK", {**headers, "Content-Length": len(DATA)})
            wire.send(DATA[:HALF] if request.number == 0 else DATA)
            return
        first, end = span
        content_range = extra(f"bytes {first}-{end - 1}/{len(DATA)}")
        wire.head("206 x", {**headers, "Content-Range": content_range, "Content-Length": end - first})
        wire.send(DATA[first:end])

    return script


@pytest.mark.parametrize(
    ("etag", "age_s", "honors", "resumed"),
    [
        ('"v1"', None, "all", HALF),
        ('"v1"', 3600, "date", HALF),
        ('"v1"', None, "no", HALF),
        ('"v1"', 3600, "no", HALF),
        ('W/"v1"', 3600, "all", HALF),
        ("v1", 3600, "all", HALF),
        ("'v1'", 3600, "all", HALF),
        (None, 3600, "all", HALF),
        ('W/"v1"', 0, "all", 0),
        ('W/"v1"', None, "all", 0),
        ("v1", None, "all", 0),
        (None, None, "all", 0),
        (None, 3600, "no", 0),
    ],
)
@pytest.mark.parametrize("segments", [None, 4])
def test_as_many_bytes_are_kept_as_the_validators_allow(
    make: Make, folder: Path, etag: str | None, age_s: float | None, honors: str, resumed: int, segments: int | None
) -> None:
    with HostileServer(versions(etag, age_s, honors)) as server:
        job = FakeJob(server.url(), **({} if segments is None else {"segments": segments}))
        handler = make(server)
        with pytest.raises(DownloadError):
            handler(job)
        result = handler(job)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == resumed


@pytest.mark.parametrize(
    "form",
    ["bytes={}", "bytes: {}", "Bytes {}", "{}", "bytes  {}", "bytes {} ", "BYTES:{}"],
)
@pytest.mark.parametrize("total", ["/300000", " / 300000", "/*", ""])
def test_a_content_range_may_be_written_oddly(make: Make, folder: Path, form: str, total: str) -> None:
    def odd(span: str) -> str:
        return form.format(span.removeprefix("bytes ").partition("/")[0].replace("-", " - ") + total)

    with HostileServer(versions('"v1"', None, "all", odd)) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        result = handler(job)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == HALF


@pytest.mark.parametrize("changed", ["etag", "date", "no etag"])
def test_asking_without_if_range_never_joins_two_versions(make: Make, folder: Path, changed: str) -> None:
    """The server answers If-Range with all of the file, and a plain Range with a part of another version."""

    def script(request: Request, wire: Wire) -> None:
        headers: dict[str, str | int] = {"ETag": '"v1"'}
        if request.number == 0:
            wire.head("200 x", {**headers, "Content-Length": len(DATA)})
            wire.send(DATA[:HALF])
        elif "range" in request.headers and "if-range" not in request.headers:
            etag: dict[str, str | int] = {} if changed == "no etag" else {"ETag": '"v2"'}
            wire.head("206 x", {**etag, "Content-Range": f"bytes {HALF}-299999/300000", "Content-Length": HALF})
            wire.send(OTHER[HALF:])
        else:
            body = DATA if "range" in request.headers else OTHER
            wire.head("200 x", {**headers, "Content-Length": len(body)})
            wire.send(body)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        assert_file(folder, handler(job), OTHER)


@pytest.mark.parametrize("segments", [1, 4])
def test_a_length_that_changes_from_answer_to_answer_starts_over(make: Make, folder: Path, segments: int) -> None:
    big, small = content(4_000_000), content(3_990_000, seed=3)

    def script(request: Request, wire: Wire) -> None:
        data = big if request.number == 0 else small
        wire.head("200 OK", {"Content-Length": len(data), "Accept-Ranges": "bytes"})
        wire.send(data[:1_000_000] if request.number == 0 else data)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url(), segments=segments)
        with pytest.raises(DownloadError):
            handler(job)
        assert_file(folder, handler(job), small)


def test_a_bare_416_is_no_proof_that_the_file_is_complete(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        if "range" in request.headers:
            wire.head("416 x", {"ETag": '"v1"', "Content-Length": 0})
        else:
            wire.head("200 OK", {"Transfer-Encoding": "chunked", "ETag": '"v1"'})
            wire.send(b"%x\r\n" % len(DATA) + DATA + (b"\r\n" if request.number == 0 else b"\r\n0\r\n\r\n"))

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        result = handler(job)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == 0


@pytest.mark.parametrize("fault", ["short", "long", "contradictory", "gzip for the transfer"])
def test_a_range_is_joined_only_if_its_own_length_is_right(make: Make, folder: Path, fault: str) -> None:
    """The second response has no single Content-Length, so that its Content-Range alone says how long it is."""

    def script(request: Request, wire: Wire) -> None:
        headers: dict[str, str | int] = {"ETag": '"v1"'}
        if request.number == 0:
            wire.head("200 x", {**headers, "Transfer-Encoding": "chunked"})
            wire.send(b"%x\r\n" % len(DATA) + DATA[:HALF])
        elif request.number == 1:
            headers["Content-Range"] = f"bytes {HALF}-299999/300000"
            if fault == "gzip for the transfer":
                headers["Transfer-Encoding"] = "gzip"
            wire.send(b"HTTP/1.1 206 x\r\n")
            lengths = b"Content-Length: 7\r\nContent-Length: 9\r\n" if fault == "contradictory" else b""
            wire.send(b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + lengths + b"\r\n")
            wire.send({"long": DATA[HALF:] + b"more", "contradictory": DATA[HALF:]}.get(fault, DATA[HALF:-5]))
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        result, _ = run_until_done(handler, job, 2)
    assert_file(folder, result, DATA)
    assert result["resumed_from"] == {"short": 299_995, "gzip for the transfer": 0}.get(fault, HALF)


# -- digests of the server


def digest(name: str, data: bytes) -> str:
    """Return a digest as headers hold it."""
    return base64.b64encode(hashlib.new(name, data).digest()).decode()


DIGESTS = {
    "Repr-Digest sha-256": lambda data: ("Repr-Digest", f"sha-256=:{digest('sha256', data)}:"),
    "Repr-Digest sha-512": lambda data: ("Repr-Digest", f"sha-512=:{digest('sha512', data)}:"),
    "two algorithms": lambda data: ("Repr-Digest", f"sha-256=:{digest('sha256', data)}:, md5=:{digest('md5', data)}:"),
    "Digest SHA-256": lambda data: ("Digest", f"SHA-256={digest('sha256', data)}"),
    "Digest SHA": lambda data: ("Digest", f"SHA={digest('sha1', data)}"),
    "Digest MD5": lambda data: ("Digest", f"MD5={digest('md5', data)};q=1"),
    "Content-Digest": lambda data: ("Content-Digest", f"sha-256=:{digest('sha256', data)}:"),
    "Content-MD5": lambda data: ("Content-MD5", digest("md5", data)),
}


@pytest.mark.parametrize("name", DIGESTS)
@pytest.mark.parametrize("segments", [1, 4])
def test_a_digest_of_the_server_is_verified(make: Make, folder: Path, name: str, segments: int) -> None:
    data = content(4_500_000)
    header, right = DIGESTS[name](data)
    with HostileServer(good(data, **{header.replace("-", "_"): right})) as server:
        result = make(server)(FakeJob(server.url(), segments=segments))
    assert_file(folder, result, data)
    assert len(result["verified"]) == 1 and result["verified"][0].startswith(f"{header}: ")


@pytest.mark.parametrize("name", DIGESTS)
def test_a_file_that_has_not_the_digest_of_the_server_is_set_aside(make: Make, folder: Path, name: str) -> None:
    header, wrong = DIGESTS[name](OTHER)
    with HostileServer(good(DATA, **{header.replace("-", "_"): wrong})) as server:
        with pytest.raises(DownloadFailed, match=f"Checksum mismatch: .*server's {header} header"):
            make(server)(FakeJob(server.url()))
    assert finished(folder) == [] and parts(folder) == [] and len(list(folder.glob("*.quarantine"))) == 1


@pytest.mark.parametrize("value", ["", "sha-256=", "sha-256=:abc:", "sha-256=::", "crc32c=:AAAA:", "x", "md5=:AAAA:"])
@pytest.mark.parametrize("header", ["Repr-Digest", "Digest", "Content-MD5"])
def test_a_digest_that_cannot_be_parsed_is_ignored(make: Make, folder: Path, header: str, value: str) -> None:
    with HostileServer(good(DATA, **{header.replace("-", "_"): value})) as server:
        result = make(server)(FakeJob(server.url()))
    assert_file(folder, result, DATA)
    assert "verified" not in result


def test_a_digest_is_verified_after_a_resume_too(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        header: dict[str, str | int] = {"Repr-Digest": f"sha-512=:{digest('sha512', DATA)}:"}
        send_good(request, wire, DATA, stop_after=HALF if request.number == 0 else None, headers=header)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        result = handler(job)
    assert result["resumed_from"] == HALF and result["verified"] == ["Repr-Digest: sha512"]
