"""`kue worker`: a subset of the types, an end when nothing waits, and what the log says of attempts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.queue import Queue

MODULE = """
import kue

queue = kue.create_queue()

@queue.process("email")
def email(job):
    if job.data == "bug":
        return {}["missing"]
    if job.data == "refused":
        raise kue.UnrecoverableError("no such address")

@queue.process("report")
def report(job):
    pass
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "mail.py").write_text(MODULE)
    return tmp_path


def output(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=40)
    return process.returncode, out, err


def test_burst_runs_what_waits_and_exits(queue: Queue, start: Callable[..., Any], module: Path) -> None:
    jobs = queue.create_many({"type": name} for name in ("email", "report", "email"))
    code, out, _ = output(start("worker", "mail:queue", "--burst", "--only", "email, ", cwd=module))
    assert code == 0 and out.startswith("Ready: running email (1) of")
    assert [job.refresh().state for job in jobs] == ["complete", "inactive", "complete"]


def test_burst_waits_for_the_jobs_that_a_limit_lets_start_later(
    queue: Queue, start: Callable[..., Any], module: Path
) -> None:
    queue.limit("email", by="data.to", rate="2/s")
    jobs = queue.create_many({"type": "email", "data": {"to": "ada"}} for _ in range(4))
    assert output(start("worker", "mail:queue", "--burst", "--only", "email", cwd=module))[0] == 0
    assert [job.refresh().state for job in jobs] == ["complete"] * 4


def test_a_queue_for_asyncio_is_worked_by_the_queue_that_it_owns(
    queue: Queue, start: Callable[..., Any], module: Path
) -> None:
    text = MODULE.replace("import kue\n", "import kue.aio\n").replace("kue.create_queue", "kue.aio.create_queue")
    (module / "mail.py").write_text(text)
    job = queue.create("email", {"to": "ada"}).save()
    code, out, _ = output(start("worker", "mail:queue", "--burst", cwd=module))
    assert code == 0 and out.startswith("Ready: running email (1), report (1) of")
    assert job.refresh().state == "complete"
    code, _, err = output(start("worker", "mail:quue", cwd=module))
    assert code == 1 and err == "kue: module mail has no \"quue\"; queues in it: queue\n"


def test_only_of_a_type_without_a_handler_is_an_error(start: Callable[..., Any], module: Path) -> None:
    code, _, err = output(start("worker", "mail:queue", "--only", "email,rapport", cwd=module))
    assert code == 1 and "kue: --only: no handler for type rapport; the module has handlers for email, report\n" in err


def test_a_failed_attempt_is_a_warning_and_the_last_one_an_error(
    queue: Queue, start: Callable[..., Any], module: Path
) -> None:
    queue.create("email", "bug").attempts(2).save()
    queue.create("email", "refused").attempts(5).save()
    _, out, err = output(start("worker", "mail:queue", "--burst", "--quiet", cwd=module))
    lines = [line.split(" ", 3)[3] for line in err.splitlines() if " Job " in line]
    first, second = (line for line in lines if "Job 1 " in line)
    assert first.startswith("WARNING Job 1 (email) failed after ") and "attempt 1 of 2: KeyError: 'missing'" in first
    assert first.endswith(". Retrying now.") and second.startswith("ERROR") and "attempt 2 of 2" in second
    (refused,) = (line for line in lines if "Job 2 " in line)
    assert "attempt 1 of 5: no such address. It will not be retried." in refused
    # Tracebacks show the handler alone, and none for a failure that the handler chose
    assert err.count("Traceback") == 2 and 'mail.py", line 9, in email' in err and "kue/worker" not in err
    assert out == "" and "INFO" not in err


def test_completed_jobs_are_logged_with_v(queue: Queue, start: Callable[..., Any], module: Path) -> None:
    queue.create("report").save()
    assert "completed in" not in output(start("worker", "mail:queue", "--burst", cwd=module))[2]
    queue.create("report").save()
    assert (
        "INFO    Job 2 (report) completed in " in output(start("worker", "mail:queue", "--burst", "-v", cwd=module))[2]
    )
