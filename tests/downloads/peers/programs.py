"""Run one URL through curl, wget, aria2c, requests and this project's handler; return the file that each one leaves."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from kue.downloads import DownloadHandler, Timeouts
from tests.downloads.hostile import FakeJob

#: Seconds that a program may take for a case.
TIMEOUT_S = 6
_QUICK = Timeouts(connect_s=2, headers_s=2, idle_s=2, floor_bytes=100, floor_s=2)

#: What a program got: the bytes, or the reason why there are none.
Outcome = bytes | str
Fetch = Callable[[str, Path], Outcome]


def _by_command(command: list[str], url: str, out: Path) -> Outcome:
    try:
        done = subprocess.run([*command, "--", url], capture_output=True, timeout=TIMEOUT_S, cwd=out.parent)
    except (subprocess.TimeoutExpired, ValueError) as exc:
        return type(exc).__name__
    if done.returncode:
        return f"exit code {done.returncode}"
    return out.read_bytes() if out.exists() else "no file"


def by_curl(url: str, out: Path) -> Outcome:
    """Download with curl."""
    return _by_command(["curl", "-gsfL", "--max-time", "4", "-o", str(out)], url, out)


def by_wget(url: str, out: Path) -> Outcome:
    """Download with wget."""
    return _by_command(
        ["wget", "-q", "--tries=2", "--waitretry=0", "--timeout=3", "--no-config", "-O", str(out)], url, out
    )


def by_aria2c(url: str, out: Path) -> Outcome:
    """Download with aria2c."""
    options = [
        "--no-conf",
        "-q",
        "-m",
        "2",
        "-t",
        "3",
        "--retry-wait=0",
        "--file-allocation=none",
        "-d",
        str(out.parent),
        "-o",
        out.name,
    ]
    return _by_command(["aria2c", *options], url, out)


def by_requests(url: str, out: Path) -> Outcome:
    """Download with requests, without unpacking if that is possible."""
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.get(url, timeout=3, stream=True)
            response.raise_for_status()
            return b"".join(response.iter_content(65536))
    except Exception as exc:
        return type(exc).__name__


def by_kue(url: str, out: Path) -> Outcome:
    """Download with this project's handler, in up to three attempts."""
    handler = DownloadHandler(out.parent, allow=["127.0.0.1", "localhost", "[::1]"], timeouts=_QUICK, min_free=0)
    said = ""
    for _ in range(3):
        try:
            return (out.parent / handler(FakeJob(url))["file"]).read_bytes()
        except Exception as exc:
            said = f"{type(exc).__name__}: {exc}"
    return said


PROGRAMS: dict[str, Fetch] = {
    name: fetch
    for name, fetch in {"curl": by_curl, "wget": by_wget, "aria2c": by_aria2c, "requests": by_requests}.items()
    if name == "requests" or shutil.which(name)
}


def fetch_with(program: Fetch, url: str) -> Outcome:
    """Run a program in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return program(url, Path(folder) / "out")
