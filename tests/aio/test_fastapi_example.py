"""The FastAPI example, served by uvicorn on a loopback port, with a worker process, under load."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from typing import Any

import pytest
import requests

from tests.support import ROOT, free_port, missing, wait_until
from tests.support.programs import environment

CLIENTS, REPORTS = 10, 100


@pytest.fixture
def base(redis_url: str) -> Iterator[str]:
    """The URL of the application; its processes are ended after the test."""
    for module in ("fastapi", "uvicorn"):
        if find_spec(module) is None:
            missing(f"{module} is not installed: make test installs it")
    port = free_port()
    environ = {**environment(), "REDIS_URL": redis_url}
    commands = (
        ("uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
        ("kue", "worker", "app:queue", "--quiet"),
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT / "examples" / "fastapi", env=environ, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for words in commands
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url) or processes[0].poll() is not None, 60, message="uvicorn answers")
        yield url
        # Both end as they should, with nothing to say
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            said, _ = process.communicate(timeout=20)
            assert process.returncode in (0, -signal.SIGTERM) and said == ""
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/counts", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.mark.long
def test_the_application_under_load(base: str) -> None:
    # Given a client that follows the events
    heard: list[tuple[str, dict[str, Any]]] = []
    stream = HTTPConnection(base.removeprefix("http://"), timeout=30)
    stream.request("GET", "/events")
    lines = stream.getresponse()
    assert lines.readline() == b": connected\n"

    def follow() -> None:
        name = ""
        with suppress(HTTPException, OSError):  # shut down below
            for line in lines:
                kind, _, value = line.decode().strip().partition(": ")
                if kind == "event":
                    name = value
                elif kind == "data":
                    heard.append((name, json.loads(value)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()

    # When many clients ask for reports at once, and wait for them
    def ask(number: int) -> Any:
        with requests.Session() as session:
            made = session.post(f"{base}/reports", json={"month": "2026-11", "rows": number}, timeout=30)
            assert made.status_code == 202, made.text
            job_id = made.json()["id"]
            return job_id, session.get(f"{base}/reports/{job_id}/result", timeout=30).json()

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(1, REPORTS + 1)))

    # Then each got its own result, and every event arrived
    assert [result for _, result in answers] == [
        {"month": "2026-11", "total": sum(range(rows))} for rows in range(1, REPORTS + 1)
    ]
    assert sorted(job_id for job_id, _ in answers) == list(range(1, REPORTS + 1))
    wait_until(lambda: sum(name == "complete" for name, _ in heard) == REPORTS, 10)
    assert requests.get(f"{base}/counts", timeout=5).json()["complete"] == REPORTS
    one = requests.get(f"{base}/reports/7", timeout=5).json()
    assert one["state"] == "complete" and one["error"] is None
    for path in ("/reports/9999", "/reports/9999/result"):
        assert requests.get(base + path, timeout=5).status_code == 404
    stream.sock.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    stream.close()
