"""The monitor in this process, the real program in a separate one, and a headless Chromium."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from kue import web
from kue.app import archive, serving
from kue.concurrency.green import listen
from kue.settings import Settings
from kue.web.server.thread_server import ThreadServer
from tests.support import ROOT, free_port, require_chromium, wait_until

pytest.importorskip("playwright.sync_api")

CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A page that a test makes up has no address, so the browser would not let it speak to this machine. The popups of
    # the address bar are pages as well: without them a window costs half the processor time.
    "--disable-features=LocalNetworkAccessChecks,WebUIOmniboxPopup,WebUIOmniboxAimPopup",
]  # fmt: skip


class Program:
    """`python app.py` on a free port, with its own folders and the test's Redis."""

    def __init__(self, redis_url: str, folder: Path, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.downloads = folder / "downloads"
        self.log = folder / "program.log"
        self.environ = {
            **os.environ, "REDIS_URL": redis_url, "PORT": str(self.port), "KUE_DATA_DIR": str(folder / "data"),
            "DOWNLOAD_DIR": str(self.downloads), "PYTHONPATH": str(ROOT), **environ,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py")], cwd=self.log.parent, env=self.environ, stdout=log, stderr=log
            )
        wait_until(self._answers, timeout=60, interval=0.05, message=f"the program answers; see {self.log}")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)


class Monitor:
    """The page and its download workers in this process: starting the program costs a second of processor time."""

    def __init__(self, redis_url: str, folder: Path, **environ: str) -> None:
        folder.mkdir()
        port = free_port()
        self.port, self.url, self.downloads = port, f"http://127.0.0.1:{port}", folder / "downloads"
        settings = Settings.load({"PORT": str(port), "DOWNLOAD_DIR": str(self.downloads), **environ})
        self._queue = kue.create_queue(redis_url)
        if settings.workers:
            serving.work(settings, self._queue)
        self._app, _ = web.create_app(settings, self._queue, async_mode="threading")
        self._socket = listen("127.0.0.1", port)
        self._server = ThreadServer(self._socket, self._app)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.stop()
        self._thread.join()
        self._socket.close()
        web.close(self._app)
        self._queue.shutdown(0)


#: Marks a test that runs with eventlet's green threads and, in the long run, with plain ones.
both_ways = pytest.mark.parametrize(
    "green", ["1", pytest.param("0", marks=pytest.mark.long)], ids=["green", "threads"]
)


@pytest.fixture
def green() -> str:
    """KUE_GREEN of the program: ``KUE_GREEN=0 make test ARGS=tests/browser`` runs all of them with plain threads."""
    return os.environ.get("KUE_GREEN", "1")


@pytest.fixture
def make_program(redis_url: str, tmp_path: Path, green: str) -> Iterator[Callable[..., Program]]:
    """A factory: ``make_program(KUE_CONCURRENCY="5")`` starts the program."""
    made: list[Program] = []

    def make(**environ: str) -> Program:
        folder = tmp_path / f"program{len(made)}"
        folder.mkdir()
        program = Program(redis_url, folder, **{"KUE_GREEN": green, **environ})
        made.append(program)
        program.start()
        return program

    yield make
    for program in made:
        program.end()


@pytest.fixture
def program(make_program: Callable[..., Program]) -> Program:
    return make_program()


@pytest.fixture
def make_monitor(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Monitor]]:
    """A factory: ``make_monitor(KUE_AUTH="a:b")`` serves the page from this process."""
    made: list[Monitor] = []
    for name in archive.VARIABLES:
        monkeypatch.setenv(name, "1")  # put back afterwards: the app writes them for its child processes

    def make(**environ: str) -> Monitor:
        made.append(Monitor(redis_url, tmp_path / f"monitor{len(made)}", **environ))
        return made[-1]

    yield make
    for monitor in made:
        monitor.close()


@pytest.fixture
def monitor(make_monitor: Callable[..., Monitor]) -> Monitor:
    """The monitor for tests of what the page does; those of the program's own starts and ends need ``program``."""
    return make_monitor()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = require_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A factory of pages, each in a browser profile of its own. A script error on any of them fails the test."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_(url: str, **options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
