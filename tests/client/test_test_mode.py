"""Test mode: jobs are collected, with no Redis at all, and by a fixture that a user can import."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import kue
from kue.concurrency import green
from kue.testing import NOWHERE, collected, collecting_queue, kue_queue
from tests.support import ROOT, wait_until


@pytest.fixture
def nowhere() -> kue.Queue:
    return collecting_queue()


def test_jobs_are_collected_and_nothing_reaches_redis(nowhere: kue.Queue) -> None:
    # When jobs are saved in every way, on a queue that has no Redis
    first = nowhere.create("myJob", {"foo": "bar"}).priority("high").on("complete", print).save()
    nowhere.create_many([{"type": "anotherJob", "data": {"baz": "bip"}}, nowhere.create("third", delay=500)])
    # Then they are in the list, in order
    jobs = nowhere.test_mode.jobs
    assert [job.type for job in jobs] == ["myJob", "anotherJob", "third"]
    assert jobs[0] is first and first.data == {"foo": "bar"} and first.options.priority == -10
    assert [job.id for job in jobs] == [1, 2, 3]
    assert [job.state for job in jobs] == ["inactive", "inactive", "delayed"]
    # And what is done to them afterwards stays there too
    first.data["foo"] = "other"
    assert first.save() is first and first.refresh() is first and len(jobs) == 3
    first.on("failed", print)
    jobs[1].remove()
    assert [job.id for job in jobs] == [1, 3]
    nowhere.test_mode.clear()
    assert jobs == [] == nowhere.test_mode.jobs


def test_a_handler_can_be_tried_on_a_collected_job(nowhere: kue.Queue) -> None:
    def send(job: kue.Job) -> str:
        job.log("sending to %s", job.data["to"])
        job.progress(1, 2, {"half": True})
        return "sent"

    job = nowhere.create("email", {"to": "tj"}).save()
    assert send(job) == "sent"
    assert nowhere.test_mode.logs == {1: ["sending to tj"]}
    assert (job.progress_percent, job.progress_data) == (50, {"half": True})


def test_what_cannot_be_stored_is_refused_as_ever(nowhere: kue.Queue) -> None:
    with pytest.raises(kue.InvalidJob):
        nowhere.create("t", {"when": object()}).save()
    with pytest.raises(kue.InvalidJob):
        nowhere.create("t").priority("urgent").save()
    assert nowhere.test_mode.jobs == []


def test_what_a_collected_job_cannot_do_is_said(nowhere: kue.Queue) -> None:
    job = nowhere.create("t").save()
    for act in (lambda: job.wait(1), job.cancel):
        with pytest.raises(kue.InvalidJob, match="only collected"):
            act()


def test_with_process_the_jobs_are_worked_and_collected(queue: kue.Queue) -> None:
    queue.process("t", lambda job: job.data["n"] * 2)
    queue.test_mode.enter(process=True)
    job = queue.create("t", {"n": 21}).save()
    assert job.wait(10) == 42
    assert queue.test_mode.jobs == [job]
    queue.test_mode.exit()
    queue.create("t", {"n": 1}).save()
    assert queue.test_mode.jobs == [job] and queue.get(2).type == "t"


def test_handlers_given_in_test_mode_begin_at_its_end(queue: kue.Queue) -> None:
    # Given a queue in test mode, with a job that waits in Redis
    waiting = queue.create("t").save()
    ran = threading.Event()
    with collected(queue) as jobs:
        # When a handler is given
        queue.process("t", lambda job: ran.set())
        queue.create("t").save()
        # Then it does not work yet
        assert queue.processing() == {} and len(jobs) == 1
    # And afterwards it does
    wait_until(ran.is_set, 10)
    waiting.wait(10)
    assert queue.counts()["complete"] == 1


def test_collected_leaves_the_mode_as_it_was(nowhere: kue.Queue) -> None:
    nowhere.create("before").save()
    with collected(nowhere) as jobs:
        nowhere.create("inside").save()
        assert [job.type for job in jobs] == ["inside"]
    assert nowhere.test_mode.collecting


def test_the_fixture_can_be_imported(request: pytest.FixtureRequest) -> None:
    assert callable(kue_queue)
    queue: kue.Queue = request.getfixturevalue("kue_queue")
    queue.create("t").save()
    assert len(queue.test_mode.jobs) == 1


USERS_TESTS = '''
import kue
from shop import order, queue
from kue.testing import collected

def test_the_fixture(kue_queue):
    order(kue_queue, 7)
    assert [(job.type, job.data) for job in kue_queue.test_mode.jobs] == [("mail", {"order": 7})]

def test_the_fixture_is_new_for_each_test(kue_queue):
    assert kue_queue.test_mode.jobs == []

def test_a_queue_of_ones_own():
    with collected(queue) as jobs:
        order(queue, 8)
    assert len(jobs) == 1
'''
SHOP = f'''
import kue
queue = kue.create_queue("{NOWHERE}")
def order(queue, number):
    queue.create("mail", {{"order": number}}).save()
'''


@pytest.mark.slow
@pytest.mark.skipif(green.enabled(), reason="runs a pytest of its own, which is not green")
def test_a_user_has_the_fixture_by_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["kue.testing"]', encoding="utf-8")
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "test_shop.py").write_text(USERS_TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    answer = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert "3 passed" in answer.stdout, answer.stdout + answer.stderr


def test_the_library_and_its_helpers_need_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import kue.testing as t; print(hasattr(t, 'kue_queue'))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert answer.stdout == "False\n", answer.stderr
