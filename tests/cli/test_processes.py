"""``python -m kue`` as a process: exit codes, pipes, signals, the worker, the dashboard."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.process.stop_signals import STOPPING
from kue.queue import Queue
from tests.cli.conftest import environment
from tests.interop.harness.node import Node
from tests.support import ROOT, wait_until

MODULE = """
import os, sys, time
import kue

def make():
    queue = kue.create_queue(os.environ["REDIS_URL"], os.environ.get("KUE_PREFIX", "q"))

    @queue.process("email", 2)
    def send(job):
        job.log("green" if "eventlet" in sys.modules else "plain")
        time.sleep(job.data.get("s", 0))
        return {"sent": True}

    return queue

if "AT_IMPORT" in os.environ:
    queue = make()
empty = kue.Queue(os.environ["REDIS_URL"])
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A directory with jobs.py, which has a queue and a function that makes one."""
    (tmp_path / "jobs.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    return tmp_path


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and what was logged."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_the_exit_codes_and_one_line_on_stderr(command: Callable[..., Any]) -> None:
    assert command("create", "email", "-", text='{"to": "a"}')[:2] == (0, "1\n")
    for words, code in (
        (("show", 9), 1),
        (("ls", "--nonsense"), 2),
        (("stats", "-r", "redis://127.0.0.1:1"), 3),
    ):
        said = command(*words)
        assert said.code == code and said.out == ""
        assert said.err.startswith("kue: ") and said.err.count("\n") == 1 and "Traceback" not in said.err


def test_help_names_every_command(command: Callable[..., Any]) -> None:
    said = command("--help").out
    for name in ("dashboard", "worker", "stats", "ls", "show", "log", "create", "retry", "rm", "promote", "cancel",
                 "pause", "resume", "clean", "doctor", "bench"):  # fmt: skip
        assert f"  {name} " in said
    assert "Exit codes" in said and "..." not in said.partition("Commands:")[2]


def test_a_reader_that_has_seen_enough_is_no_error(queue: Queue, start: Callable[..., Any]) -> None:
    queue.create_many({"type": "email", "data": {"text": "x" * 2000}} for _ in range(500))
    process = start("ls", "-n", 500)
    assert line(process).split()[0] == "ID"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 0


def test_colors_are_for_terminals_that_want_them(queue: Queue, redis_url: str) -> None:
    queue.set_state(queue.create("email").save().id or 0, "failed")

    def on_terminal(**more: str) -> str:
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:
            subprocess.run(
                [sys.executable, "-m", "kue", "ls"],
                stdout=theirs,
                env=environment(redis_url, TERM="xterm", **more),
                timeout=60,
                check=True,
            )
            os.close(theirs)
            return screen.read(10_000).decode()

    assert "\x1b[31mfailed\x1b[0m" in on_terminal()
    assert "\x1b" not in on_terminal(NO_COLOR="1")


def test_a_log_is_followed_until_its_job_ends(queue: Queue, start: Callable[..., Any]) -> None:
    job = queue.create("email").save()
    job.log("one")
    process = start("log", job.id, "-f")
    assert line(process) == "one\n"
    job.log("two")
    assert line(process) == "two\n"
    queue.set_state(job.id or 0, "complete")
    assert ended(process) == (0, "")


def test_stats_are_watched_until_interrupted(start: Callable[..., Any]) -> None:
    process = start("stats", "--watch", "--json", "-i", "0.1")
    assert [json.loads(line(process))["workTime"] for _ in range(3)] == [0, 0, 0]
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, "")


def test_a_worker_runs_handlers_and_ends_when_its_jobs_have(
    queue: Queue, start: Callable[..., Any], module: Path
) -> None:
    # Given a worker for a queue made by a function, with a concurrency from the command line
    process = start("worker", "jobs:make", "-c", "email=7", cwd=module)
    assert line(process) == f"Ready: running email (7) of queue q, pid {process.pid}\n"
    # When it is told to stop while a job runs
    job = queue.create("email", {"s": 1}).save()
    wait_until(lambda: queue.active_count() == 1, 60)
    process.terminate()
    # Then it lets the job end
    code, err = ended(process)
    assert code == 0 and "Shutting down" in err and "Stopped" in err
    assert job.refresh().state == "complete" and queue.log(job.id or 0) == ["plain"]
    assert queue.workers() == []


@pytest.mark.parametrize("twice", [False, True], ids=["deadline", "twice"])
def test_a_worker_hands_back_what_does_not_end(
    queue: Queue, start: Callable[..., Any], module: Path, twice: bool
) -> None:
    words = ("worker", "jobs:queue", "--green", *(() if twice else ("--timeout", "100ms")))
    process = start(*words, cwd=module, env={"AT_IMPORT": "1"})
    assert line(process).startswith("Ready")
    job = queue.create("email", {"s": 60}).save()
    wait_until(lambda: queue.log(job.id or 0) == ["green"], 60)
    process.send_signal(signal.SIGINT)
    if twice:
        assert process.stderr is not None
        assert any("Shutting down" in line for line in iter(process.stderr.readline, ""))
        process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 0 and "running jobs released: 1" in err
    job.refresh()
    assert (job.state, job.attempts_made) == ("inactive", 0)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing:queue", "no module named nothing"),
        ("jobs:queu", 'module jobs has no "queu"; queues in it: empty'),
        ("jobs:kue", "is not a kue Queue, but of type module"),
        ("jobs:empty", "has no handlers"),
        ("broken:queue", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_worker_without_a_queue_says_why(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, module: Path, capsys: Any, target: str, said: str
) -> None:
    from kue.cli.root import run

    monkeypatch.chdir(module)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("jobs", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    try:
        code = run(["worker", target])
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    err = capsys.readouterr().err
    assert code == 1 and said in err and err.count("\n") == 1


def test_the_dashboard_shows_and_operates_a_queue_and_works_on_nothing(
    queue: Queue, start: Callable[..., Any], port: int, tmp_path: Path
) -> None:
    # Given a queue with a job of a type and one of the kind that app.py would work on
    queue.create("email", {"title": "hello"}).save()
    queue.create("startdownload", {"url": "http://127.0.0.1:1/"}).save()
    # When the dashboard runs in an empty directory
    process = start("dashboard", "-p", port, cwd=tmp_path)
    assert process.stderr is not None
    wait_until(lambda: f"Open http://localhost:{port}" in process.stderr.readline(), 30)

    def ask(path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    # Then it shows both, and changes what it is told to
    assert json.loads(ask("/stats"))["inactiveCount"] == 2
    assert "hello" in ask("/inactive")
    assert "removed" in ask("/job/1", "DELETE")
    # And nobody works, and no files or folders appear
    assert queue.workers() == [] and queue.inactive_count() == 1
    process.terminate()
    code, err = ended(process)
    assert code == 0 and "Stopped" in err
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_over_a_queue_of_node_shows_its_lists_jobs_logs_and_search(
    queue: Queue, redis_url: str, start: Callable[..., Any], port: int
) -> None:
    # Given jobs that Node made, indexed and worked on
    node = Node().open(redis_url, disableSearch=False)
    node.call("process", "email", [[["log", "sent %d", 7], ["return", {"sent": True}]]], 1)
    node.call("create", "email", {"title": "welcome tobi"}, {"priority": "high"})
    node.call("create", "waiting", {"title": "later"}, {})
    wait_until(lambda: queue.complete_count() == 1, 60)
    # When the dashboard runs over them
    process = start("dashboard", "-p", port)
    wait_until(lambda: "Open http" in process.stderr.readline(), 30)

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return json.load(answer)

    # Then it answers as Node's would
    assert ask("/stats")["completeCount"] == 1 and ask("/job/types") == ["email", "waiting"]
    assert ask("/jobs/complete/0..9/asc")[0]["result"] == {"sent": True}
    assert ask("/job/1")["data"] == {"title": "welcome tobi"} and ask("/job/1/log") == ["sent 7"]
    wait_until(lambda: ask("/job/search?q=welcome") == ["1"], 5)
    node.close()


def test_the_dashboard_asks_for_the_password_that_it_is_given(
    redis_url: str, start: Callable[..., Any], port: int
) -> None:
    process = start("dashboard", "-p", port, "--auth", "ada:secret")
    assert process.stderr is not None
    wait_until(lambda: "Open http" in process.stderr.readline(), 30)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=60)
    assert refused.value.code == 401
    refused.value.close()


def test_the_dashboard_without_flask_or_a_free_port_says_what_to_do(
    start: Callable[..., Any], command: Callable[..., Any], port: int, tmp_path: Path
) -> None:
    # Given an interpreter that has no Flask
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'flask' else find(name, *more)\n"
    )
    said = command("dashboard", "-p", port, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert said.code == 1 and said.err == "kue: the dashboard needs flask: pip install 'kue[web]'\n"
    import socket

    with socket.create_server(("127.0.0.1", port)):
        said = command("dashboard", "-p", port)
    assert said.code == 1 and f"port {port} is already in use" in said.err and "Traceback" not in said.err


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_and_its_supervisor_say_what_they_do(start: Any, module: Path, queue: Queue) -> None:
    process = start("worker", "jobs:make", cwd=module)
    assert line(process).startswith("Ready")
    wait_until(lambda: title(process.pid).startswith("kue worker jobs:make [0/"), 60)
    queue.create("email", {"s": 60}).save()
    wait_until(lambda: title(process.pid).startswith("kue worker jobs:make [1/"), 60)
    parent = start("worker", "jobs:make", "-p", "2", cwd=module)
    wait_until(lambda: title(parent.pid) == "kue supervisor (2 processes)", 60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str) -> None:
    words = [sys.executable, "-m", "kue", "completion", shell]
    script = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "_KUE_COMPLETE" in script
    place = "work" if shell == "fish" else "1"
    environ = {**os.environ, "_KUE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "kue work", "COMP_CWORD": place}
    found = subprocess.run(
        [sys.executable, "-m", "kue"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    ).stdout
    assert "worker" in found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "kue", "--version"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (1, "kue: cannot write the output: No space left on device\n")
