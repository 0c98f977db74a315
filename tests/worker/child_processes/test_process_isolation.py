"""Handlers in child processes: what their jobs can do, and how attempts and children end."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.worker.child_processes.parent import pool
from kue.worker.child_processes.parent.supervision import Supervision
from kue.worker.isolation.options import size_bytes, size_text
from tests.support import ROOT, wait_until
from tests.worker.child_processes.handlers import HANDLERS, register

#: Seconds for the slowest step of a test: a child imports the library on a busy machine.
LIMIT_S = 60.0


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children() -> list[int]:
    """Return the pids of this process's children that run handlers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
                if int(fields[1]) == os.getpid() and fields[0] != "Z" and (b"kue worker child" in command or
                                                                           b"bootstrap.py" in command):  # fmt: skip
                    found.append(int(entry.name))
    return found


def failure_of(job: kue.Job) -> kue.JobFailed:
    with pytest.raises(kue.JobFailed) as caught:
        job.wait(LIMIT_S)
    return caught.value


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_attempts_run_in_children_that_are_used_again_and_end_with_the_queue(queue: kue.Queue) -> None:
    register(queue, "pid", concurrency=2)
    pids = {queue.create("pid").save().wait(LIMIT_S) for _ in range(5)}
    assert os.getpid() not in pids and pids <= set(children())
    wait_until(lambda: len(children()) == 2, LIMIT_S)
    title = Path(f"/proc/{pids.pop()}/cmdline").read_bytes().rstrip(b"\0")
    assert title == b"kue worker child pid [idle]"
    queue.concurrency("pid", 1)
    wait_until(lambda: len(children()) == 1, LIMIT_S)
    queue.shutdown(1)
    assert children() == []


def test_without_prestart_the_first_job_starts_the_children(queue: kue.Queue) -> None:
    register(queue, "pid", concurrency=2, prestart=False)
    register(queue, "echo")
    assert queue.create("echo", 1).save().wait(LIMIT_S) == 1
    assert len(children()) == 1, "those of echo"
    pid = queue.create("pid").save().wait(LIMIT_S)
    wait_until(lambda: len(children()) == 3, LIMIT_S)
    assert pid in children()


def test_the_supervision_ends_although_it_never_had_a_child() -> None:
    supervision = Supervision()
    supervision.start()
    looks: list[int] = []
    supervision.post(looks.append, 1)
    wait_until(lambda: looks, LIMIT_S)
    supervision.post(supervision.stop, time.monotonic())
    wait_until(lambda: supervision.has_ended, LIMIT_S)


def test_a_job_in_a_child_does_what_it_does_elsewhere(queue: kue.Queue, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("reports", "echo", "reports_done"):
        register(queue, name)
    job = queue.create("reports").save()
    result = job.wait(LIMIT_S)
    assert result["percent"] == 25 and result["state"] == "active"
    assert result["worker"] == job.refresh().worker_id
    assert queue.log(job.id) == ['one {"two":3}'] and job.progress_data == {"at": "a quarter"}
    wait_until(lambda: "to stderr" in capfd.readouterr().err, LIMIT_S)
    large = {"text": "\ud800" + "x" * 5_000_000}
    assert queue.create("echo", large).save().wait(LIMIT_S) == large
    assert queue.create("reports_done").save().wait(LIMIT_S) == "by done"


def test_tasks_run_in_children_inside_the_middleware(queue: kue.Queue) -> None:
    register(queue, "add")
    result = queue.create("add", {"one": 1, "two": 2}).save().wait(LIMIT_S)
    assert result["marked"] == 3 and result["pid"] != os.getpid()
    assert "one" in failure_of(queue.create("add", {"two": 2}).save()).error


def test_async_handlers_run_in_children(queue: kue.Queue) -> None:
    register(queue, "async_waits", concurrency=2)
    done, cancelled = queue.create("async_waits", 0.01).save(), queue.create("async_waits", 60).save()
    assert done.wait(LIMIT_S) == "slept" and queue.log(done.id) == ["begun", "cleaned up"]
    wait_until(lambda: queue.log(cancelled.id) == ["begun"], LIMIT_S)
    before = children()
    cancelled.cancel()
    wait_until(lambda: not set(before) <= set(children()), LIMIT_S)
    assert cancelled.refresh().error == "Cancelled"


def test_failures_in_a_child_are_failures_as_elsewhere(queue: kue.Queue) -> None:
    register(queue, "fails")
    wrong = queue.create("fails").save()
    assert failure_of(wrong).error == "wrong"
    assert wrong.refresh().error.splitlines()[0] == "ValueError: wrong"
    assert "handlers.py" in wrong.error.splitlines()[1] and len(wrong.error.splitlines()) == 3
    never = queue.create("fails", "never").attempts(5).save()
    assert failure_of(never).error == "it is no use" and never.refresh().attempts_made == 1
    assert failure_of(queue.create("fails", "set").save()).error.startswith("not JSON: Object of type set")
    later = queue.create("fails", "later").attempts(2).save()
    wait_until(lambda: later.refresh().state == "delayed", LIMIT_S)
    assert later.attempts_made == 0 and queue.log(later.id) == ["in a minute"]


def test_a_child_that_dies_fails_its_own_attempt(queue: kue.Queue) -> None:
    register(queue, "dies")
    register(queue, "pid")
    for how, why in {
        "segfault": "The handler's process was killed by SIGSEGV",
        "exit": "The handler's process exited with code 3",
        "kill": "The handler's process was killed by SIGKILL (out of memory, or killed manually)",
    }.items():
        job = queue.create("dies", {"how": how}).attempts(2).save()
        assert failure_of(job).error == why
        assert job.refresh().attempts_made == 2
        lines = queue.log(job.id)
        assert len(lines) == 2 and lines[0].splitlines()[:2] == [why, "last words"]
        if how == "segfault":  # the stack by faulthandler
            assert "in dies" in lines[0]
    assert queue.create("pid").save().wait(LIMIT_S)


@pytest.mark.parametrize("how", ["sleep", "busy", "swallow", "c"])
def test_a_cancelled_attempt_ends_whatever_its_handler_does(
    queue: kue.Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(pool, "GRACE_S", 5.0 if how in ("sleep", "busy") else 0.5)
    register(queue, "waits")
    file = tmp_path / "waits"
    job = queue.create("waits", {"file": str(file), "how": how}).save()
    pid = int(wait_until(lambda: lines_of(file), LIMIT_S)[0])
    time.sleep(0.1)  # it is in its loop
    job.cancel()
    wait_until(lambda: not is_alive(pid), LIMIT_S)
    rest = ["JobCancelled: cancelled", "finally"] if how in ("sleep", "busy") else []
    assert lines_of(file)[1:] == rest
    assert job.refresh().state == "failed" and job.error == "Cancelled"
    second = queue.create("waits", {"file": str(tmp_path / "second")}).save()
    wait_until(lambda: lines_of(tmp_path / "second"), LIMIT_S)
    assert second.refresh().state == "active"


def test_an_attempt_past_its_ttl_and_one_at_the_end_of_its_worker_are_stopped(
    queue: kue.Queue, redis_url: str, tmp_path: Path
) -> None:
    register(queue, "waits", concurrency=2)
    late, running = tmp_path / "late", tmp_path / "running"
    timed_out = queue.create("waits", {"file": str(late)}).ttl(300).save()
    assert failure_of(timed_out).error == "TTL exceeded"
    wait_until(lambda: lines_of(late)[1:] == ["JobTimeout: ttl exceeded", "finally"], LIMIT_S)
    job = queue.create("waits", {"file": str(running)}).attempts(2).save()
    wait_until(lambda: lines_of(running), LIMIT_S)
    queue.shutdown(0)
    assert children() == [] and lines_of(running)[1:] == ["WorkerStopping: ", "finally"]
    with kue.create_queue(redis_url) as other:
        job = other.get(job.id)
        assert job.state == "inactive" and job.attempts_made == 0


def test_a_child_is_replaced_after_its_attempts(queue: kue.Queue) -> None:
    register(queue, "pid", max_jobs=2)
    pids = [queue.create("pid").save().wait(LIMIT_S) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_an_attempt_beyond_the_memory_limit_fails_and_others_do_not(queue: kue.Queue) -> None:
    register(queue, "allocates", memory_limit="128M")
    why = "The handler's process exceeded its memory limit of 128 MB"
    killed = queue.create("allocates", "step by step").save()
    assert failure_of(killed).error == why and queue.log(killed.id) == [why]
    refused = queue.create("allocates", "at once").save()
    assert failure_of(refused).error == why
    assert refused.refresh().error.splitlines()[:2] == [why, "MemoryError"] and "in allocates" in refused.error
    # One that a handler has left with much memory is replaced, since the next attempt is not to blame
    pids = [queue.create("allocates", 60).save().wait(LIMIT_S) for _ in range(3)]
    assert len(set(pids)) == 3


def test_a_memory_limit_is_a_size() -> None:
    assert size_bytes("512M") == size_bytes("0.5 GiB") == size_bytes(2**29) == 2**29 and size_bytes(None) is None
    assert size_text(2**29) == "512 MB" and size_text(3 * 2**30) == "3 GB"
    for wrong in ("much", "-5M", 1000, True, "12M"):
        with pytest.raises(kue.InvalidJob, match="memory_limit"):
            size_bytes(wrong)  # type: ignore[arg-type]


def test_handlers_that_no_child_can_import_are_refused(queue: kue.Queue) -> None:
    def nested(job: kue.Job) -> None: ...

    for fn in (nested, lambda job: None, HANDLERS["pid"].__call__):
        with pytest.raises(kue.InvalidJob, match="at the top level of a module"):
            queue.process("x", 1, fn, isolation="process")
    for options in ({"isolation": "thread"}, {"max_jobs": 3}, {"isolation": "process", "max_jobs": 0}):
        with pytest.raises(kue.InvalidJob):
            queue.process("x", 1, HANDLERS["pid"], **options)  # type: ignore[call-overload]


SCRIPT = """
import os, sys, time
import kue

queue = kue.create_queue(os.environ["URL"], lease_ms=3000)

def completed(*args):
    with open("completed", "a") as file:
        print(os.getpid(), file=file)

queue.on("job complete", completed)

@queue.process("here", isolation="process")
def here(job):
    child = job.queue.create("there", "of a child").save()
    time.sleep(job.data.get("seconds", 0))
    return [__name__, os.getpid(), child.wait(30)]

@queue.process("there", isolation="process")
def there(job):
    return job.data

if __name__ == "__main__":
    time.sleep(600)
"""


@pytest.mark.parametrize("command", [("script.py",), ("-m", "kue", "worker", "script:queue")])
def test_scripts_and_modules_are_imported_by_children_which_end_with_a_killed_worker(
    queue: kue.Queue, redis_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environ = {**os.environ, "URL": redis_url, "PYTHONPATH": str(ROOT)}
    program = subprocess.Popen([sys.executable, *command], env=environ, cwd=tmp_path)
    try:
        name, pid, made = queue.create("here").save().wait(LIMIT_S)
        assert name == ("__mp_main__" if command == ("script.py",) else "script") and made == "of a child"
        assert is_alive(pid)
        # Event handlers of the module are called in the worker only
        wait_until(lambda: len(lines_of(tmp_path / "completed")) == 2, LIMIT_S)
        assert lines_of(tmp_path / "completed") == [str(program.pid)] * 2
        running = queue.create("here", {"seconds": 60}).save()
        wait_until(lambda: running.refresh().state == "active", LIMIT_S)
        program.kill()
        program.wait(LIMIT_S)
        wait_until(lambda: not is_alive(pid), LIMIT_S)
    finally:
        program.kill()
        program.wait(LIMIT_S)


def test_jobs_wait_while_no_child_can_be_started(
    queue: kue.Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = tmp_path / "kue_broken_jobs.py"
    module.write_text("def run(job):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = importlib.import_module("kue_broken_jobs").run
    monkeypatch.setattr(pool, "RETRY_FIRST_S", 0.1)
    # Given a module that is broken by a deployment, before the first child of its handler starts
    module.write_text("raise RuntimeError('broken by a deployment')\n")
    monkeypatch.setitem(HANDLERS, "broken", run)
    register(queue, "broken", max_jobs=1)
    job = queue.create("broken").save()
    wait_until(lambda: caplog.text.count("RuntimeError: broken by a deployment") == 2, LIMIT_S)
    assert job.refresh().state == "inactive" and queue.log(job.id) == []
    # When it is mended
    module.write_text("def run(job):\n    return 1\n")
    assert job.wait(LIMIT_S) == 1
    # Then a child that cannot be replaced later releases the job that it was to run
    module.write_text("raise RuntimeError('broken by a deployment')\n")
    later = queue.create("broken").save()
    wait_until(lambda: later.refresh().result == 1 or queue.log(later.id), LIMIT_S)
    last = queue.create("broken").save()
    line = "Released: no child process for it (RuntimeError: broken by a deployment)."
    wait_until(lambda: line in queue.log(later.id) or line in queue.log(last.id), LIMIT_S)
    assert last.refresh().attempts_made == 0


def test_a_lost_job_is_told_in_the_child(queue: kue.Queue, redis_client: Any, tmp_path: Path) -> None:
    register(queue, "waits")
    file = tmp_path / "waits"
    job = queue.create("waits", {"file": str(file)}).save()
    pid = int(wait_until(lambda: lines_of(file), LIMIT_S)[0])
    os.kill(pid, signal.SIGTERM)  # of a service manager, to all processes: it is the worker that decides
    queue.pause_job(job.id)
    wait_until(lambda: lines_of(file)[1:2], LIMIT_S)
    assert lines_of(file)[1].startswith("JobCancelled: ")
    wait_until(lambda: not is_alive(pid), LIMIT_S)
