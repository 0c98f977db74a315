"""Declared schedules: Redis matches the code after one atomic step, despite concurrent declarations."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue import Schedule
from tests.support import ROOT, wait_until


def names(queue: kue.Queue) -> dict[str, str]:
    return {each.name: each.owner for each in queue.schedules()}


def test_what_is_no_longer_declared_goes_and_what_was_made_by_hand_stays(queue: kue.Queue) -> None:
    queue.schedule("by hand", "t", every=60_000)
    queue.declare_schedules([Schedule("theirs", "t", every=60_000)], owner="billing")
    assert queue.declare_schedules([Schedule("a", "t", cron="0 3 * * *"), Schedule("b", "t", every=60_000)]) == []
    assert names(queue) == {"by hand": "", "theirs": "billing", "a": "code", "b": "code"}
    kept = queue.get_schedule("b")
    queue.pause_schedule("a")
    # When the code has changed
    assert queue.declare_schedules([Schedule("b", "t", every=60_000), Schedule("c", "t", every=60_000)]) == ["a"]
    # Then one is gone, one is new, and what is unchanged keeps its next time
    assert names(queue) == {"by hand": "", "theirs": "billing", "b": "code", "c": "code"}
    assert queue.get_schedule("b").next_at == kept.next_at
    assert queue.declare_schedules([]) == ["b", "c"]
    assert names(queue) == {"by hand": "", "theirs": "billing"}


def test_a_declared_schedule_that_was_changed_or_paused_by_hand(queue: kue.Queue) -> None:
    declared = [Schedule("s", "t", cron="0 3 * * *")]
    queue.declare_schedules(declared)
    queue.schedule("s", "t", cron="0 4 * * *")
    queue.pause_schedule("s")
    assert names(queue) == {"s": "code"}
    # The next start brings the code's definition back; it stays paused
    queue.declare_schedules(declared)
    saved = queue.get_schedule("s")
    assert (saved.definition.cron, saved.paused) == ("0 3 * * *", True)


def test_nothing_is_written_if_one_of_them_is_refused(queue: kue.Queue) -> None:
    with pytest.raises(kue.InvalidJob, match="two schedules named 's'"):
        queue.declare_schedules([Schedule("s", "t", every=60_000), Schedule("s", "u", every=60_000)])
    with pytest.raises(kue.InvalidJob, match="no backoff named 'mine'"):
        queue.declare_schedules([Schedule("a", "t", every=60_000), Schedule("b", "t", every=60_000, backoff="mine")])
    with pytest.raises(kue.InvalidJob, match=r"kue.Schedule\(name"):
        queue.declare_schedules([{"name": "x"}])  # type: ignore[list-item]
    assert queue.schedules() == []


def test_a_handler_or_a_task_may_say_when_it_runs(queue: kue.Queue) -> None:
    @queue.task(name="mail.digest", attempts=3, priority="low")
    def digest(to: str, days: int = 7) -> None: ...

    @queue.scheduled(cron="0 3 * * *", timezone="Europe/Berlin", priority="low")
    @queue.process("report")
    def report(job: Any) -> None: ...

    @queue.process("sync")
    @queue.scheduled(name="sync often", data={"full": False}, every=timedelta(minutes=5))
    @queue.scheduled(name="sync all", data={"full": True}, every=timedelta(hours=5))
    def sync(job: Any) -> None: ...

    queue.scheduled(every=60_000, data={"to": "x"}, priority="high")(digest)
    queue.declare_schedules([Schedule("listed", "t", every=60_000)])
    found = {each.name: (each.type, each.data) for each in queue.schedules()}
    assert found == {
        "report": ("report", {}), "sync often": ("sync", {"full": False}), "sync all": ("sync", {"full": True}),
        "mail.digest": ("mail.digest", {"to": "x"}), "listed": ("t", {}),
    }  # fmt: skip
    assert queue.get_schedule("mail.digest").definition.options == {"priority": -10, "attempts": 3}
    with pytest.raises(kue.InvalidJob, match="to"):
        queue.save_schedule(Schedule("bad", digest, {"days": 1}, every=60_000))
    queue.scheduled(every=60_000)(print)
    with pytest.raises(kue.InvalidJob, match="is not a handler"):
        queue.declare_schedules()
    with pytest.raises(kue.InvalidJob, match="one of cron"):
        queue.scheduled()


@pytest.mark.slow
def test_two_processes_declare_at_once(redis_url: str, redis_client: redis.Redis) -> None:
    program = """if True:
        import sys, kue
        queue = kue.create_queue(sys.argv[1])
        mine = sys.argv[2]
        sys.stdin.readline()
        for turn in range(60):
            listed = [kue.Schedule(name, "t", {"of": mine}, every=60_000 + turn) for name in ("both", mine)]
            queue.declare_schedules(listed, owner=mine)
            assert mine in [each.name for each in queue.schedules()]
    """
    children = [
        subprocess.Popen([sys.executable, "-c", program, redis_url, name], stdin=subprocess.PIPE, text=True,
                         cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        for name in ("one", "two")
    ]  # fmt: skip
    for child in children:
        child.communicate("\n", timeout=60) if child is children[-1] else child.stdin.write("\n")  # type: ignore
        if child.stdin and not child.stdin.closed:
            child.stdin.close()
    assert [child.wait(60) for child in children] == [0, 0]
    with kue.create_queue(redis_url) as queue:
        found = {each.name: (each.owner, each.data["of"], each.definition.every_ms) for each in queue.schedules()}
    assert found["one"] == ("one", "one", 60_059) and found["two"] == ("two", "two", 60_059)
    # The one of that name is of the last who declared it, as a whole
    assert found["both"] in [(name, name, 60_059) for name in ("one", "two")]
    assert set(redis_client.zrange("q:schedules", 0, -1)) == {"one", "two", "both"}


@pytest.mark.slow
def test_a_worker_writes_what_its_program_declares(redis_url: str, tmp_path: Path) -> None:
    module = tmp_path / "scheduled_jobs.py"

    def run(text: str, expected: set[str]) -> None:
        module.write_text(text)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": redis_url, "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-m", "kue", "worker", "--quiet", "scheduled_jobs:queue"]
        child = subprocess.Popen(words, cwd=tmp_path, env=environ)
        try:
            wait_until(lambda: set(names(queue)) == expected, 20, message=f"{expected}, not {names(queue)}")
        finally:
            child.terminate()
            assert child.wait(20) == 0

    head = 'import kue\nqueue = kue.create_queue()\n@queue.process("report")\ndef report(job): ...\n'
    with kue.create_queue(redis_url) as queue:
        queue.schedule("by hand", "t", every=60_000)
        run(head + 'queue.scheduled(cron="0 3 * * *")(report)\n', {"by hand", "report"})
        assert names(queue)["report"] == "scheduled_jobs:queue"
        # Taken out of the code, it is gone with the next start
        run(head, {"by hand"})


def test_work_writes_the_schedules_of_tasks(queue: kue.Queue) -> None:
    ran = []

    @queue.scheduled(cron="* * * * * *", data={"word": "x"})
    @queue.task()
    def shout(word: str) -> None:
        ran.append(word)

    assert queue.schedules() == []
    queue.work()
    wait_until(lambda: ran == ["x"], 5)
    assert names(queue)["shout"] != ""


def test_in_test_mode_schedules_are_kept_in_the_process() -> None:
    from kue.testing import collecting_queue

    queue = collecting_queue()
    queue.schedule("s", "t", {"a": 1}, every=60_000)
    queue.declare_schedules([Schedule("d", "t", cron="0 3 * * *")])
    assert [each.name for each in queue.schedules()] == ["s", "d"] and queue.schedule_count() == 2
    assert len(queue.get_schedule("d").upcoming()) == 10
    job = queue.run_schedule_now("s")
    assert queue.test_mode.jobs == [job] and job.data == {"a": 1}
    assert queue.pause_schedule("s") and queue.get_schedule("s").paused and queue.resume_schedule("s")
    assert queue.declare_schedules([]) == ["d"]
    assert queue.unschedule("s") and queue.schedules() == []
    with pytest.raises(kue.ScheduleNotFound):
        queue.run_schedule_now("s")
    queue.close()
