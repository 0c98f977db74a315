"""Fixtures for downloads: a folder, and handlers that may only connect to the test's server."""

from __future__ import annotations

import gc
import hashlib
import os
import ssl
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kue.downloads import DownloadHandler, Timeouts
from tests.downloads.hostile import FakeJob, HostileServer

#: Impatient enough for tests.
QUICK = Timeouts(connect_s=2, headers_s=1.5, idle_s=1, floor_bytes=2000, floor_s=1.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for downloads with a sibling that nothing may be written to."""
    (tmp_path / "outside").mkdir()
    return tmp_path / "downloads"


@pytest.fixture
def make(folder: Path) -> Callable[..., DownloadHandler]:
    """Return a maker of handlers that may connect to one server."""

    def make(server: HostileServer | None = None, **options: Any) -> DownloadHandler:
        options.setdefault("allow", [server.allow] if server else [])
        options.setdefault("timeouts", QUICK)
        options.setdefault("min_free", 0)
        return DownloadHandler(folder, **options)

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and localhost, and its key."""
    place = tmp_path_factory.mktemp("tls")
    cert, key = place / "cert.pem", place / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        + ["-keyout", str(key), "-out", str(cert)],
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    return cert, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """Return a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def untidy_handshakes() -> Iterator[None]:
    """Let a test have TLS handshakes that fail: eventlet leaves their sockets to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def finished(folder: Path) -> list[Path]:
    """Return the finished files: not parts, sidecars or quarantined ones."""
    if not folder.exists():
        return []
    hidden = (".part", ".quarantine")
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.suffix not in hidden)


def parts(folder: Path) -> list[Path]:
    """Return the unfinished files."""
    return sorted(folder.glob("*.part"))


def assert_file(folder: Path, result: dict[str, Any], data: bytes) -> None:
    """Check that one result is true."""
    path = folder / result["file"]
    assert path.read_bytes() == data
    assert result["bytes"] == len(data)
    assert result["sha256"] == hashlib.sha256(data).hexdigest()
    assert os.listdir(folder.parent / "outside") == []


def run_until_done(handler: DownloadHandler, job: FakeJob, attempts: int = 30) -> tuple[Any, list[Exception]]:
    """Run a job as a queue would; return its result and the errors of the failed attempts."""
    errors: list[Exception] = []
    for _ in range(attempts):
        try:
            return handler(job), errors
        except Exception as exc:
            errors.append(exc)
    raise AssertionError(f"not done after {attempts} attempts: {errors}")
