"""Servers that lie, stall, flood or redirect elsewhere: never a wrong file, never one outside the folder."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, Timeouts
from tests.downloads.conftest import assert_file, finished, run_until_done
from tests.downloads.hostile import FakeJob, HostileServer, Request, Script, Wire, content, good, send_good

Make = Callable[..., DownloadHandler]
KIB64 = 65536
MIB = content(1024 * 1024)
SMALL = content(50_000)


def chunked(data: bytes, size: int = 10_000) -> bytes:
    """Return ``data`` in chunks."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# -- early closes


@pytest.mark.parametrize("at", range(0, len(MIB), KIB64))
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_body_that_ends_early_is_never_called_whole(make: Make, folder: Path, at: int, how: str) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.number == 0:
            wire.head("200 OK", {"Content-Length": len(MIB), "ETag": '"v1"'})
            wire.send(MIB[:at])
            if how == "reset":
                time.sleep(0.02)  # else the system may throw away what is not read yet
                wire.reset()
        else:
            send_good(request, wire, MIB)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError, match="closed the connection|was lost"):
            handler(job)
        assert finished(folder) == []
        result = handler(job)
    assert_file(folder, result, MIB)
    if how == "close":
        assert result["resumed_from"] == at


@pytest.mark.parametrize("at", range(0, len(MIB), KIB64))
def test_chunks_that_end_early_are_never_called_whole(make: Make, folder: Path, at: int) -> None:
    wired = chunked(MIB, KIB64)
    cut = wired.index(b"\r\n", at + at // KIB64 * 9) - 2 if at else 3

    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Transfer-Encoding": "chunked", "ETag": '"v1"'})
        wire.send(wired[:cut] if request.number == 0 else wired)

    with HostileServer(script) as server:
        handler, job = make(server), FakeJob(server.url())
        with pytest.raises(DownloadError):
            handler(job)
        assert finished(folder) == []
        result, _ = run_until_done(handler, job, 3)
    assert_file(folder, result, MIB)


def test_every_byte_of_the_last_chunks_is_needed(make: Make, folder: Path) -> None:
    wired = b"0005\r\nhello\r\n0005\r\nworld\r\n0000\r\nX-Trailer: 1\r\n\r\n"
    for cut in range(len(wired)):
        with HostileServer(lambda request, wire, cut=cut: send_chunked(wire, wired[:cut])) as server:  # type: ignore[misc]
            with pytest.raises(DownloadError):
                make(server)(FakeJob(server.url(), cut))
    assert finished(folder) == []
    with HostileServer(lambda request, wire: send_chunked(wire, wired)) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), 999)), b"helloworld")


def send_chunked(wire: Wire, wired: bytes) -> None:
    """Answer with chunks as they are."""
    wire.head("200 OK", {"Transfer-Encoding": "chunked"})
    wire.send(wired)


def test_a_reset_is_not_the_end_of_a_body_of_unknown_length(make: Make, folder: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Connection": "close"})
        wire.send(SMALL)
        time.sleep(0.2)
        wire.reset()

    with HostileServer(script) as server, pytest.raises(DownloadError, match="was lost"):
        make(server)(FakeJob(server.url()))
    assert finished(folder) == []


def test_a_body_of_unknown_length_over_tls_ends_only_when_tls_says_so(
    make: Make, folder: Path, tls: Any, certificate: tuple[Path, Path]
) -> None:
    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Connection": "close"})
        wire.send(SMALL)
        if request.path == "/properly":
            wire.sock.unwrap()  # type: ignore[attr-defined]
        else:
            os.close(wire.sock.detach())

    with HostileServer(script, tls=tls) as server:
        handler = make(server, verify=str(certificate[0]))
        with pytest.raises(DownloadError, match="closed the connection"):
            handler(FakeJob(server.url("/cut"), 1))
        assert finished(folder) == []
        assert_file(folder, handler(FakeJob(server.url("/properly"), 2)), SMALL)


# -- answers that are fine, though not of the usual kind


def raw(head: str, body: bytes) -> Script:
    """Return a script that sends just this."""
    return lambda request, wire: wire.send(head.replace("\n", "\r\n").encode("latin-1") + body)


ODD_BUT_WHOLE: dict[str, bytes | tuple[str, bytes]] = {
    "HTTP/1.0 without length": ("HTTP/1.0 200 OK\n\n", SMALL),
    "HTTP/1.0 with length": (f"HTTP/1.0 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "no reason phrase": (f"HTTP/1.1 200\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "more bytes than declared": (f"HTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL + b"and more"),
    "the same length twice": (
        f"HTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\nContent-Length: {len(SMALL)}\n\n",
        SMALL,
    ),
    "chunks": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", chunked(SMALL)),
    "chunks of one byte": ("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n", chunked(SMALL[:2000], 1)),
    "chunks and a length": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n\n", chunked(SMALL)),
    "chunk extensions": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n'),
    "trailers": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", chunked(SMALL)[:-2] + b"A: b\r\nC: d\r\n\r\n"),
    "bare line feeds": ("", f"HTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n".encode() + SMALL),
    "100 first": (f"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "folded header": (f"HTTP/1.1 200 OK\nX-Long: a\n b\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a multipart type": (
        f"HTTP/1.1 200 OK\nContent-Type: multipart/mixed; boundary=x\nContent-Length: {len(SMALL)}\n\n",
        SMALL,
    ),
    "103 first": (
        "HTTP/1.1 103 Early Hints\nLink: </a>\n\n" * 3 + f"HTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n",
        SMALL,
    ),
    "102 first": (f"HTTP/1.1 102 Processing\n\nHTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "199 first": (f"HTTP/1.1 199 Odd\n\nHTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "201": (f"HTTP/1.1 201 Created\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "203": (f"HTTP/1.1 203 x\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "226": (f"HTTP/1.1 226 IM Used\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "206 that is whole": (
        f"HTTP/1.1 206 x\nContent-Range: bytes 0-{len(SMALL) - 1}/{len(SMALL)}\nContent-Length: {len(SMALL)}\n\n",
        SMALL,
    ),
    "250 headers": ("HTTP/1.1 200 OK\n" + "X: v\n" * 250 + f"Content-Length: {len(SMALL)}\n\n", SMALL),
    "5,000 headers": ("HTTP/1.1 200 OK\n" + "X: y\n" * 5000 + f"Content-Length: {len(SMALL)}\n\n", SMALL),
    "a header of 100 kB": ("HTTP/1.1 200 OK\nX: " + "v" * 100_000 + f"\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a line without colon": (f"HTTP/1.1 200 OK\nnonsense\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a name with a space": (f"HTTP/1.1 200 OK\nMy Param: None\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a quoted name": (f'HTTP/1.1 200 OK\n"Content-type": x\nContent-Length: {len(SMALL)}\n\n', SMALL),
    "a name that is not ASCII": (f"HTTP/1.1 200 OK\nX-\xdcn\xef: a\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "no name": (f"HTTP/1.1 200 OK\n: a\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a first line that is indented": (f"HTTP/1.1 200 OK\n X: a\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a blank before a colon": (f"HTTP/1.1 200 OK\nContent-Length : {len(SMALL)}\n\n", SMALL),
    "a padded length": (f"HTTP/1.1 200 OK\nContent-Length: \t 000{len(SMALL)} \n\n", SMALL),
    "a repeated length in one line": (f"HTTP/1.1 200 OK\nContent-Length: {len(SMALL)}, {len(SMALL)}\n\n", SMALL),
    "chunked in two lines": ("HTTP/1.1 200 OK\n" + "Transfer-Encoding: chunked\n" * 2 + "\n", chunked(SMALL)),
    "identity": (f"HTTP/1.1 200 OK\nTransfer-Encoding: identity\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "a NUL in a value": (f"HTTP/1.1 200 OK\nX: a\0b\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "two blanks before the status": (f"HTTP/1.1  200  OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "an empty line first": (f"\nHTTP/1.1 200 OK\nContent-Length: {len(SMALL)}\n\n", SMALL),
    "header bytes that are not ASCII": (f"HTTP/1.1 200 OK\nX: \xff\xfe\nContent-Length: {len(SMALL)}\n\n", SMALL),
}


@pytest.mark.parametrize("name", ODD_BUT_WHOLE)
def test_an_unusual_answer_arrives_whole(make: Make, folder: Path, name: str) -> None:
    head, body = ODD_BUT_WHOLE[name]
    expected = {"chunk extensions": b"hello", "chunks of one byte": SMALL[:2000]}.get(name, SMALL)
    with HostileServer(raw(str(head), body)) as server:  # type: ignore[arg-type]
        assert_file(folder, make(server)(FakeJob(server.url())), expected)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("Content-Length: 5\nContent-Length: 6\n", "contradictory Content-Length headers: 5, 6"),
        ("Content-Length: five\n", "an invalid Content-Length: 'five'"),
        ("Content-Length: 5\nContent Length: 6\n", "a malformed header line: 'Content Length: …'"),
        ("Transfer-Encoding: binary\nContent-Length: 5\n", "a Transfer-Encoding that is none: 'binary'"),
    ],
)
def test_what_is_doubtful_about_the_length_is_logged(make: Make, head: str, said: str) -> None:
    with HostileServer(raw(f"HTTP/1.1 200 OK\n{head}\n", b"hello")) as server:
        job = FakeJob(server.url())
        make(server)(job)
    assert f"127.0.0.1:{server.port} sent {said}" in job.lines
    assert any("may go undetected" in line for line in job.lines) is ("five" in head)


def test_a_skipped_header_line_is_named_in_the_log_without_its_value(make: Make) -> None:
    head = "HTTP/1.1 200 OK\nMy Token: swordfish\nContent-Length: 5\n\n"
    with HostileServer(raw(head, b"hello")) as server:
        job = FakeJob(server.url())
        make(server)(job)
    (line,) = [line for line in job.lines if "malformed" in line]
    assert "'My Token: …'" in line and "swordfish" not in line


def test_a_malformed_line_about_the_framing_is_named(make: Make) -> None:
    with HostileServer(raw("HTTP/1.1 200 OK\nContent Length: 5\n\n", b"hello")) as server:
        with pytest.raises(DownloadFailed, match="length of the body: 'Content Length: …'"):
            make(server)(FakeJob(server.url()))


# -- answers that cannot be believed

UNBELIEVABLE: dict[str, tuple[str, bytes]] = {
    "two lengths, neither right": ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 7\n\n", b"hello!"),
    "two lengths, shorter than both": ("HTTP/1.1 200 OK\nContent-Length: 9, 7\n\n", b"hello!"),
    "zero and a length that is not there": ("HTTP/1.1 200 OK\nContent-Length: 0\nContent-Length: 5\n\n", b""),
    "a unit behind a length that is wrong": ("HTTP/1.1 200 OK\nContent-Length: 6 bytes\n\n", b"hello"),
    "chunked by halves": ("HTTP/1.1 200 OK\nTransfer-Encoding: xchunked\n\n", chunked(b"hello")),
    "chunked twice, in truth": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked, chunked\n\n", chunked(b"hello")[:-5]),
    "length of 9 EB": ("HTTP/1.1 200 OK\nContent-Length: 9223372036854775807\n\n", b"hello"),
    "negative chunk": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk with underscores": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"0_5\r\nhello\r\n0\r\n\r\n"),
    "chunk without size": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than it says": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"5\r\nhello world\r\n0\r\n\r\n"),
    "enormous chunk": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"F" * 40 + b"\r\nhello"),
    "long chunk line": ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"5;" + b"x" * 10_000 + b"\r\nhello\r\n"),
    "a length without colon": ("HTTP/1.1 200 OK\nContent-Length 5\n\n", b"hello"),
    "a header with spaces": ("HTTP/1.1 200 OK\nContent Length : 5\n\n", b"hello"),
    "no HTTP": ("SSH-2.0-OpenSSH_9.2\n\n", b""),
    "half a status": ("HTTP/1.1 2", b""),
    "status in words": ("HTTP/1.1 OK OK\n\n", b""),
    "status of four digits": ("HTTP/1.1 2000 OK\n\n", b"hello"),
    "nothing": ("", b""),
    "206 unasked, from the middle": ("HTTP/1.1 206 x\nContent-Range: bytes 5-9/10\nContent-Length: 5\n\n", b"hello"),
    "206 unasked, no range": ("HTTP/1.1 206 x\nContent-Length: 5\n\n", b"hello"),
    "206 unasked, no version": ("HTTP/1.1 206 x\nContent-Range: bytes 0-4/10\nContent-Length: 5\n\n", b"hello"),
    "206 unasked, wrong length": ("HTTP/1.1 206 x\nContent-Range: bytes 0-5/6\nContent-Length: 5\n\n", b"hello"),
    "416 unasked": ("HTTP/1.1 416 x\nContent-Length: 0\n\n", b""),
    "204": ("HTTP/1.1 204 No Content\n\n", b""),
    "304": ("HTTP/1.1 304 Not Modified\n\n", b""),
    "300": ("HTTP/1.1 300 Multiple Choices\nLocation: /x\n\n", b""),
    "101": ("HTTP/1.1 101 Switching Protocols\n\n", b""),
    "199 alone": ("HTTP/1.1 199 Odd\n\n", b""),
    "205": ("HTTP/1.1 205 Reset Content\n\n", b""),
    "a quoted length": ('HTTP/1.1 200 OK\n"Content-Length": 5\n\n', b"hello"),
    "a NUL in a length": ("HTTP/1.1 200 OK\nContent-Length: 5\0\n\n", b"hello"),
    "a length with a bare CR": ("HTTP/1.1 200 OK\nContent-Length: 5\rX: y\n\n", b"hello"),
    "a garbled chunked": ("HTTP/1.1 200 OK\nTransfer Encoding: chunked\n\n", chunked(b"hello")),
    "a long line": ("HTTP/1.1 200 OK\nX: " + "x" * 400_000 + "\n\n", b"hello"),
    "many headers": ("HTTP/1.1 200 OK\n" + "X: y\n" * 80_000 + "\n", b"hello"),
}


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_an_answer_that_cannot_be_believed_makes_no_file(make: Make, folder: Path, name: str) -> None:
    head, body = UNBELIEVABLE[name]
    with HostileServer(raw(head, body)) as server, pytest.raises(DownloadError) as caught:
        make(server)(FakeJob(server.url()))
    assert finished(folder) == []
    assert re.match(r"127.0.0.1:\d+ |The (file|server) ", str(caught.value)) and len(str(caught.value)) < 250


# -- servers without end, and servers without haste


def endless(opening: bytes, repeated: bytes) -> Script:
    """Return a script that goes on for ever."""

    def script(request: Request, wire: Wire) -> None:
        wire.send(opening)
        while not wire.server.stop.is_set():
            wire.send(repeated)

    return script


ENDLESS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
    "status line": (b"HTTP/1.1 200 ", b"x" * 1000),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"X: y\r\n" * 100),
    "chunk extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x" * 1000),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", MIB),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(MIB, 1 << 18)[:-5]),
    "the body of a redirect": (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n", MIB),
    "the body of a refusal": (b"HTTP/1.1 404 Not Found\r\n\r\n", MIB),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_response_without_end_is_aborted(make: Make, folder: Path, name: str) -> None:
    with HostileServer(endless(*ENDLESS[name])) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(DownloadFailed):
            make(server, max_bytes=30_000_000)(FakeJob(server.url()))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB
    assert finished(folder) == []


SLOW = {
    "accepts and says nothing": (b"", 0),
    "headers byte by byte": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, 0.1),
    "body byte by byte": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(1000), 0.1),
    "chunks byte by byte": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000, 0.1),
    "stops in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello", 0),
    "stops in the headers": (b"HTTP/1.1 200 OK\r\nContent-Le", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_server_without_haste_is_left(make: Make, folder: Path, name: str) -> None:
    sent, wait_s = SLOW[name]
    opening = sent.find(b"\r\n\r\n") + 4 if "body" in name or "chunks" in name else 0

    def script(request: Request, wire: Wire) -> None:
        if wait_s:
            wire.send(sent[:opening])
            wire.trickle(sent[opening:], wait_s, wire.server.stop)
        else:
            wire.send(sent)
        wire.server.stop.wait(20)

    with HostileServer(script) as server:
        began = time.monotonic()
        with pytest.raises(DownloadError, match="sent nothing|timed out|too slow") as caught:
            make(server)(FakeJob(server.url()))
        assert time.monotonic() - began < 12  # the server would go on for 20 s at the least
    assert not isinstance(caught.value, DownloadFailed) and finished(folder) == []


def test_a_slow_but_steady_server_is_not_left_because_of_our_own_limit(make: Make, folder: Path) -> None:
    timeouts = Timeouts(idle_s=1, floor_bytes=10_000_000, floor_s=0.5)
    with HostileServer(good(SMALL)) as server:
        assert_file(folder, make(server, timeouts=timeouts, rate=50_000)(FakeJob(server.url())), SMALL)


def test_an_address_that_does_not_answer_is_abandoned(make: Make) -> None:
    with socket.socket() as deaf:
        # A full backlog: the system drops what comes after, as a firewall does.
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            time.sleep(0.1)
            timeouts = Timeouts(connect_s=1)
            with pytest.raises(DownloadError, match=r"did not respond within 1 s"):
                make(allow=["127.0.0.1"], timeouts=timeouts)(FakeJob(f"http://127.0.0.1:{port}/"))
        finally:
            for sock in waiting:
                sock.close()


# -- names that servers would like

TRAVERSALS = [
    "../../outside/evil", "..\\..\\outside\\evil", "/etc/passwd", "C:\\windows\\evil.exe", "....//....//evil",
    "..", ".",
    "%2e%2e%2fevil", "..%2fevil", "a/../../evil", "\x00evil", "evil\x00.txt", "evil\x0a.txt", ".htaccess",
    ".ssh/id_rsa",
    "con", "aux.txt", "x" * 5000, "\u202etxt.exe", "~/evil", "$(touch evil)", "`evil`", "|evil", "-rf", " ", "\t", '"',
    "a\\\"b", "file:///evil", "http://evil/", "é" * 200, "..;/evil", "//evil//", "evil/.", "evil/..",
    "\\\\host\\share\\evil",
]  # fmt: skip


@pytest.mark.parametrize("form", ["filename", "filename*", "path", "job"])
@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_leads_out_of_the_folder(make: Make, folder: Path, name: str, form: str) -> None:
    from urllib.parse import quote

    headers: dict[str, str | int] = {}
    if form == "filename":
        quoted = name.encode().decode("latin-1").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
        headers["Content-Disposition"] = f'attachment; filename="{quoted}"'
    elif form == "filename*":
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    with HostileServer(good(SMALL, **headers)) as server:
        path = "/" + quote(name, safe="/.") if form == "path" else "/x"
        job = FakeJob(server.url(path[:4000]), **({"filename": name} if form == "job" else {}))
        result = make(server)(job)
    assert_file(folder, result, SMALL)
    (path_,) = finished(folder)
    assert path_.parent == folder and path_.is_file() and not path_.is_symlink()
    assert re.match(r"\d{14}-1-[^/\\\x00-\x1f]+$", path_.name) and len(os.fsencode(path_.name)) <= 255
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["downloads", "outside"]


def test_a_link_that_waits_under_the_files_name_is_not_followed(make: Make, folder: Path) -> None:
    target = folder.parent / "precious"
    folder.mkdir()
    (folder / "20231114221320-1-x.bin").symlink_to(target)
    now = 1_700_000_000.0
    name = time.strftime("%Y%m%d%H%M%S", time.localtime(now)) + "-1-x.bin"
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(target)
    with HostileServer(good(SMALL)) as server:
        result = make(server, now=lambda: now)(FakeJob(server.url("/x.bin")))
    assert not target.exists() and result["file"] == name.replace(".bin", " (2).bin")
    assert_file(folder, result, SMALL)
