"""The guide's Sentry middleware really reports, to a server of this test."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import kue
from tests.docs.samples import samples_of
from tests.support import ROOT, wait_until
from tests.support.programs import environment


class Reports(ThreadingHTTPServer):
    """Takes what is reported to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.bodies: list[str] = []


class Receiver(BaseHTTPRequestHandler):
    server: Reports

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_packed = self.headers["Content-Encoding"] == "gzip"
        self.server.bodies.append((gzip.decompress(body) if is_packed else body).decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def reports() -> Iterator[Reports]:
    with Reports() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_failed_attempt_reaches_sentry_with_its_job(
    queue: kue.Queue, redis_url: str, reports: Reports, tmp_path: Path
) -> None:
    # Given the guide's module, and jobs of which one fails
    (module,) = (each for each in samples_of(ROOT / "docs/guides/jobs/middleware.md") if each.title == "reporting.py")
    (tmp_path / "reporting.py").write_text(module.body)
    queue.create("divide", {"number": 1, "by": 2}).save()
    queue.create("divide", {"number": 1, "by": 0}).save()
    # When a worker runs them
    dsn = f"http://key@127.0.0.1:{reports.server_port}/1"
    words = [sys.executable, "-m", "kue", "worker", "reporting:queue", "--burst"]
    environ = environment({"REDIS_URL": redis_url, "SENTRY_DSN": dsn})
    ran = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    # Then the failure is reported, once, with the job that it belongs to
    wait_until(lambda: reports.bodies, 10)
    (report,) = (body for body in reports.bodies if '"exception"' in body)
    assert "ZeroDivisionError" in report and '"job.type":"divide"' in report and '"id":2' in report
