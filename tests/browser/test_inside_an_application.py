"""The example applications, started as their README says: the monitor inside them, by their own login."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.test_accessibility import serious_findings
from tests.support import ROOT, free_port, require_node, wait_until
from tests.support.programs import environment

LIVE = '#live_status[data-live="live"]'
NO_ACCESS = "This application does not give you access to its jobs"


class Example:
    """A copy of an example's folder, and the processes that its README names."""

    def __init__(self, name: str, folder: Path, redis_url: str) -> None:
        self.folder = folder / name
        shutil.copytree(ROOT / "examples" / name, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = environment({"REDIS_URL": redis_url})
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = self.folder / "log"

    def start(self) -> None:
        block = re.search(r"```console\n(.*?)```", (self.folder / "README.md").read_text(), re.DOTALL)
        assert block is not None
        for line in re.findall(r"^\$ (.*)$", block.group(1), re.MULTILINE):
            self._run(line)
        wait_until(self._answers, 30, message=f"the example answers; see {self.log}")

    def _run(self, line: str) -> None:
        *given, words = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(.*)", line).groups()  # type: ignore[union-attr]
        program, *rest = shlex.split(words.replace("8000", str(self.port)))
        if program == "pip":
            return
        command = [sys.executable, *([] if program == "python" else ["-m", program]), *rest]
        environ = {**self._environ, **dict(each.split("=", 1) for each in given[0].split())}
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=log, stderr=log)
        if program == "python":
            assert process.wait(60) == 0, self.log.read_text()
        else:
            self._processes.append(process)

    def _answers(self) -> bool:
        assert all(each.poll() is None for each in self._processes), self.log.read_text()
        try:
            return requests.get(f"{self.url}/jobs/static/icon.svg", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def close(self) -> None:
        for each in self._processes:
            each.send_signal(signal.SIGTERM)
        for each in self._processes:
            try:
                each.wait(20)
            finally:
                each.kill()


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Callable[[str], Example]]:
    started: list[Example] = []

    def start(name: str) -> Example:
        example = Example(name, tmp_path, redis_url)
        started.append(example)
        example.start()
        return example

    yield start
    for example in started:
        example.close()


def log_in(page: Any, user: str) -> None:
    page.fill("[name=user], [name=username]", user)
    page.fill("[name=password]", "enigma")
    page.click("button")


@pytest.mark.long
@pytest.mark.parametrize("name", ["flask", "django", "fastapi"])
def test_the_monitor_inside_an_example_application(
    start: Callable[[str], Example], open_page: Callable[..., Any], name: str
) -> None:
    require_node("axe-core")
    example = start(name)
    # Given a visitor whom the application does not know: its own login comes first, then the page asked for
    page = open_page(f"{example.url}/jobs/", bypass_csp=True)
    assert "/login" in page.url or page.locator("[name=user]").count()
    assert serious_findings(page, None) == []
    log_in(page, "ada")
    page.wait_for_selector(LIVE)
    assert page.url == f"{example.url}/jobs/"
    assert page.inner_text("#live_status [data-part=why]") == ""  # by WebSocket, not by polling
    # When the application creates a job
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(example.url)))
    page.on("websocket", lambda socket: asked.append(socket.url.removeprefix(example.url.replace("http", "ws"))))
    if name == "fastapi":
        made = page.request.post(f"{example.url}/reports", data={"month": "2026-11"})
        page.goto(f"{example.url}/jobs/job/{made.json()['id']}")
    else:
        page.goto(f"{example.url}/")
        asked.clear()
        page.click("text=/^Create/")
    # Then its page shows, live, that a worker runs it
    page.wait_for_selector(LIVE)
    page.wait_for_selector("main .span_log:text-is('Completed')")
    assert {path for path in asked if not path.startswith(("/jobs/", "/invoices/", "/reports"))} == set()
    assert serious_findings(page, None) == []
    # And it can be changed from here
    page.on("dialog", lambda dialog: dialog.accept())
    answer = page.evaluate("fetch('/jobs/job/1', {method: 'DELETE'}).then((got) => got.status)")
    assert answer == 200
    # Others may only look, or not even that
    if name != "django":
        eve, bob = (open_page(f"{example.url}/jobs/") for _ in range(2))
        log_in(eve, "eve")
        eve.wait_for_selector(LIVE)
        assert eve.inner_text(".role") == "read only"
        assert eve.evaluate("fetch('/jobs/job', {method: 'POST', body: '{}'}).then((got) => got.status)") == 403
        log_in(bob, "bob")
        bob.wait_for_selector(f"text={NO_ACCESS}")
