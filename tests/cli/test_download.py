"""`kue download`: files without a server, a page or Redis."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.cli.download_board import _line
from kue.cli.output import width
from kue.cli.root import run
from tests.downloads.hostile import HostileServer, Request, Wire, content, good, send_good
from tests.support import ROOT

DATA = content(300_000)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return ``kue download`` in an empty directory: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("DOWNLOAD_ALLOW", "DOWNLOAD_PROXY", "DOWNLOAD_CA_BUNDLE", "DOWNLOAD_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["download", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_file_comes_under_its_plain_name_and_nothing_else_stays(download: Run, tmp_path: Path) -> None:
    (tmp_path / "old.part").write_text("of another program")
    os.utime(tmp_path / "old.part", (1, 1))
    with HostileServer(good(DATA)) as server:
        code, out, err = download("--allow", "127.0.0.1", server.url("/a.bin"))
        assert (code, out) == (0, "a.bin\n") and "300.0 kB in" in err
        code, out, _ = download("-q", "--allow", "127.0.0.1", server.url("/a.bin"))
    assert (code, out) == (0, "a (2).bin\n")
    assert sorted(os.listdir(tmp_path)) == ["a (2).bin", "a.bin", "old.part"]
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_options_name_the_file_and_the_request(download: Run, tmp_path: Path) -> None:
    with HostileServer(good(DATA)) as server:
        digest = hashlib.sha256(DATA).hexdigest()
        words = [
            "-o",
            "sub/x.bin",
            "--sha256",
            digest,
            "-H",
            "X-Key: swordfish",
            "-b",
            "a=b",
            "-e",
            "http://r/",
            "-A",
            "me",
        ]
        code, out, err = download("--allow", "127.0.0.1", *words, server.url())
        sent = server.requests[0].headers
    assert (code, out) == (0, "sub/x.bin\n") and (tmp_path / "sub/x.bin").read_bytes() == DATA
    assert (sent["x-key"], sent["cookie"], sent["referer"], sent["user-agent"]) == (
        "swordfish",
        "a=b",
        "http://r/",
        "me",
    )
    assert "swordfish" not in out + err


def test_json_gives_a_line_for_each_url(download: Run) -> None:
    def script(request: Request, wire: Wire) -> None:
        if request.path == "/gone?token=swordfish":
            wire.head("404 Not Found", {"Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    with HostileServer(script) as server:
        urls = server.url("/a.bin"), server.url("/gone?token=swordfish")
        code, out, err = download("--allow", "127.0.0.1", "--json", *urls)
    told = {line["ok"]: line for line in map(json.loads, out.splitlines())}
    assert code == 1 and len(told) == 2 and "swordfish" not in out + err
    assert told[True]["path"] == "a.bin" and told[True]["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert told[False]["error"].endswith("answered 404 Not Found") and told[False]["status"] == 404


def test_a_list_is_validated_line_by_line_and_duplicates_are_named(download: Run, tmp_path: Path) -> None:
    with HostileServer(good(DATA)) as server:
        lines = [
            f"\ufeff{server.url('/a.bin')}",
            "",
            "# a comment",
            "example.com/x",
            f" {server.url('/a.bin')} ",
            server.url("/b.bin"),
        ]
        (tmp_path / "urls.txt").write_text("\n".join(lines), encoding="utf-8")
        code, out, err = download("--allow", "127.0.0.1", "-i", "urls.txt", "-o", "sub/")
    assert code == 1 and sorted(out.split()) == ["sub/a.bin", "sub/b.bin"]
    assert "line 4: example.com/x: The URL has no scheme. Did you mean https://example.com/x?" in err
    assert "line 5: the same URL as in line 1, skipped" in err


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_list_may_come_from_windows(download: Run, tmp_path: Path, charset: str) -> None:
    with HostileServer(good(DATA)) as server:
        mark = "\ufeff" if charset == "utf-16-le" else ""
        (tmp_path / "urls.txt").write_bytes(f"{mark}# ü\r\n{server.url('/ü.bin')}\r\n\r\n".encode(charset))
        code, out, _ = download("-q", "--allow", "127.0.0.1", "-i", "urls.txt")
        assert (code, out) == (0, "ü.bin\n")
        _, out, err = download("-q", "--allow", "127.0.0.1", server.url("/a"), server.url("/a"))
    assert out == "a\n" and err == f"{server.url('/a')} is given twice, downloaded once\n"
    (tmp_path / "urls.txt").write_bytes(b"# nothing")
    assert download("-i", "urls.txt") == (0, "", "The list has no URLs\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give at least one URL"),
        (["example.com/x"], "Did you mean https://example.com/x?"),
        (["ftp://example.com/x"], "Use https:// or http://"),
        (
            ["http://127.0.0.1:1/x"],
            "Refused: 127.0.0.1 is a loopback address. Allow it with --allow",
        ),
        (["-H", "nonsense", "http://x.example/"], "must look like 'name: value'"),
        (["-x", "ftp://p", "http://x.example/"], "a proxy must look like"),
        (["--rate", "fast", "http://x.example/"], "500M"),
        (["-o", "x", "http://x.example/1", "http://x.example/2"], "exactly one URL"),
        (["--sha256", "xyz", "http://x.example/"], "64 hexadecimal digits"),
        (["--ca-bundle", "/nonexistent", "http://x.example/"], "does not exist"),
    ],
)
def test_what_cannot_work_is_refused_with_code_2(download: Run, words: list[str], sentence: str) -> None:
    code, out, err = download(*words)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("output", "expected", "sentence"),
    [
        ("/proc/x", 1, "kue: Cannot write to /proc: its file system cannot hold files"),
        ("/proc/none/", 1, "kue: Cannot write to /proc/none: its file system cannot hold files"),
        ("a.txt/", 1, "kue: Cannot write to a.txt: something in its path is not a folder"),
        ("a.txt/x", 2, "-o a.txt/x: Not a directory; give another file or folder"),
        ("loop", 2, "-o loop: Too many levels of symbolic links"),
        ("x" * 300, 2, "File name too long"),
        ("/dev/null", 2, "-o /dev/null: this is a device or a pipe"),
        ("-", 2, "files are not written to standard output"),
    ],
)
def test_what_cannot_be_written_fails_at_once_with_one_sentence(
    download: Run, tmp_path: Path, output: str, expected: int, sentence: str
) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "loop").symlink_to("loop")
    with HostileServer(good(DATA)) as server:
        code, out, err = download("--allow", "127.0.0.1", "-o", output, server.url())
        assert (code, out, server.connections) == (expected, "", 0)
    assert sentence in err and err.count("\n") == 1 and len(err) < 200


def test_a_full_disk_or_a_file_that_is_too_large_is_not_waited_for(download: Run, tmp_path: Path) -> None:
    with HostileServer(lambda request, wire: wire.head(headers={"Content-Length": 1 << 60})) as server:
        code, _, err = download("--allow", "127.0.0.1", server.url())
    assert code == 1 and "Not enough disk space: " in err and err.endswith(". The same command resumes\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with HostileServer(good(DATA)) as server:
            code, _, err = download("--allow", "127.0.0.1", "-o", "big", server.url())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1 and "the file is larger than its file system or a limit of this process" in err


def test_another_name_is_another_download(download: Run, tmp_path: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, DATA, stop_after=150_000 if request.number == 0 else None)

    with HostileServer(script) as server:
        assert download("--allow", "127.0.0.1", "-n", 1, "-o", "one", server.url())[0] == 1
        assert download("-q", "--allow", "127.0.0.1", "-o", "two", server.url())[:2] == (0, "two\n")
        assert download("-q", "--allow", "127.0.0.1", "-o", "one", server.url())[:2] == (0, "one\n")
    assert ["range" in request.headers for request in server.requests] == [False, False, True]
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


@pytest.mark.parametrize("name", [".hidden", "a:b?.txt", "CON", "x", " y", "é" * 127])
def test_a_file_name_given_with_o_is_taken_as_it_is(download: Run, tmp_path: Path, name: str) -> None:
    with HostileServer(good(DATA, Content_Type="text/html")) as server:
        assert download("-q", "--allow", "127.0.0.1", "-o", name, server.url())[:2] == (0, f"{name}\n")
        code, out, _ = download("-q", "--allow", "127.0.0.1", "-o", name, server.url())
    assert code == 0 and sorted(os.listdir(tmp_path)) == sorted([name, out[:-1]])


def test_who_runs_the_command_may_use_a_local_proxy(download: Run, tmp_path: Path) -> None:
    with HostileServer(good(DATA)) as proxy:
        code, out, _ = download(
            "--allow", "files.example", "-x", f"http://127.0.0.1:{proxy.port}", "http://files.example/a"
        )
    assert (code, out) == (0, "a\n") and proxy.requests[0].path == "http://files.example/a"


def test_a_failed_attempt_is_repeated_and_resumes(download: Run, tmp_path: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, DATA, stop_after=150_000 if request.number == 0 else None)

    with HostileServer(script) as server:
        code, out, err = download("--allow", "127.0.0.1", server.url("/a.bin"))
        assert "attempt 2 of 5" in err and server.requests[1].headers["range"] == "bytes=150000-"
        server.requests.clear()
        code, _, err = download("--allow", "127.0.0.1", "-n", 1, server.url("/b.bin"))
        assert code == 1 and "Server closed" not in err and (tmp_path / "b.bin").exists() is False
        code, _, _ = download("--allow", "127.0.0.1", "-n", 1, server.url("/b.bin"))
    assert code == 0 and (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes() == DATA
    assert server.requests[1].headers["range"] == "bytes=150000-"


def test_ctrl_c_keeps_the_bytes_and_the_same_command_resumes(tmp_path: Path) -> None:
    def script(request: Request, wire: Wire) -> None:
        is_first = request.number == 0
        send_good(request, wire, DATA, stop_after=250_000 if is_first else None)
        if is_first:
            wire.server.stop.wait(60)  # the connection stays open until the client goes away

    with HostileServer(script) as server:
        command = [sys.executable, "-m", "kue", "download", "--allow", "127.0.0.1", server.url("/a.bin")]
        environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT)}
        first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 20
        while time.monotonic() < until and not any(path.stat().st_size > 200_000 for path in tmp_path.glob("*.part")):
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
        assert first.returncode == 130 and "The same command resumes" in err
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 0 and second.stdout == "a.bin\n"
    assert (tmp_path / "a.bin").read_bytes() == DATA and os.listdir(tmp_path) == ["a.bin"]
    assert server.requests[1].headers["range"].startswith("bytes=")


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("a.bin", None, "a.bin  connecting"),
        ("a.bin", (5_300_000, 60_000_000, 10_700_000, 5.1), "[#---------------]   8%    5.3 MB   10.7 MB/s    6s left"),
        ("a.bin", (60_000_000, 60_000_000, 0, None), " [################] 100%   60.0 MB   0 bytes/s           "),
        ("日本語.zip", (1, 2, 1, 0.2), " [########--------]  50%    1 byte    1 byte/s    1s left"),
        ("x" * 99, (1, 2, 1, 9000.0), " [########--------]  50%    1 byte    1 byte/s    2h left"),
        ("a.bin", (1000, None, 50, None), "   1.0 kB  50 bytes/s"),
    ],
)
def test_the_columns_of_a_progress_line_stay_in_place(
    name: str, data: tuple[int, int | None, int, float | None] | None, line: str
) -> None:
    told: Any = None if data is None else dict(zip(("bytes", "total", "rate", "eta_s"), data, strict=True))
    shown = _line(name, told, 80)
    assert shown.endswith(line) and width(shown) <= 80
    if told is not None and told["total"]:
        assert width(shown.partition("[")[0]) == 23
