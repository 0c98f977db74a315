"""What the scripts keep when the server's clock jumps: every case, at a clock that the test sets."""

from __future__ import annotations

import json
import time

import pytest

from kue.storage.script_values import ClockWatch
from kue.worker.registry import FORGET_MS, Registry
from tests.support.script_steps import NOW, Steps

HOUR_MS = 3_600_000
BLIND_MS, GRACE_MS, LEASE_MS = 3000, 12_000, 30_000


def look(steps: Steps, now: int, elapsed: int = 250) -> None:
    steps.scripts.watch_clock(steps.client, ClockWatch(BLIND_MS, GRACE_MS, elapsed), now_ms=now)


def rescue(steps: Steps, now: int, elapsed: int = 250) -> list[str]:
    clock = ClockWatch(BLIND_MS, GRACE_MS, elapsed)
    return steps.scripts.rescue(steps.client, clock=clock, now_ms=now)


def running(steps: Steps, ttl: str = "") -> str:
    """Return the id of a job that runs under a lease of the usual length, taken at ``NOW``."""
    steps.create(ttl=ttl)
    return steps.reserve(lease=LEASE_MS)[0].job_id


def due(steps: Steps, job_id: str) -> int:
    score = steps.client.zscore(steps.keys.state("delayed"), f"{len(job_id):02d}|{job_id}")
    assert int(steps.field(job_id, "promote_at") or 0) == score
    return int(score)


@pytest.mark.parametrize("elapsed", [0, 250])  # of a process that has just started, and of one that looks all the time
def test_whoever_comes_first_after_a_jump_rescues_nothing_until_all_could_renew(steps: Steps, elapsed: int) -> None:
    job_id = running(steps)
    look(steps, NOW)
    after = NOW + HOUR_MS
    assert rescue(steps, after, elapsed) == []
    for passed in range(250, GRACE_MS, 250):
        assert rescue(steps, after + passed) == []
    assert rescue(steps, after + GRACE_MS) == [job_id]


def test_a_jump_asks_all_workers_to_renew_at_once(steps: Steps) -> None:
    look(steps, NOW)
    with steps.client.pubsub() as subscription:
        subscription.subscribe(steps.keys.revoked)
        subscription.get_message(timeout=5)
        look(steps, NOW + 250)
        look(steps, NOW + HOUR_MS)
        look(steps, NOW + HOUR_MS + 250)
        look(steps, NOW)
        heard = [subscription.get_message(timeout=0.2) for _ in range(3)]
    assert [message and message["data"] for message in heard] == ["* * renew", "* * renew", None]


def test_a_lease_is_never_longer_than_one_after_a_step_back(steps: Steps) -> None:
    job_id = running(steps)
    look(steps, NOW)
    before = NOW - HOUR_MS
    assert rescue(steps, before) == []
    for passed in range(250, LEASE_MS, 250):
        assert rescue(steps, before + passed) == []
    assert rescue(steps, before + LEASE_MS) == [job_id]


def test_a_process_that_is_often_blocked_rescues_anyway(steps: Steps) -> None:
    """Its hub is blocked by its handlers, so its looks are far apart; nobody else looks."""
    job_id = running(steps)
    for passed in range(0, 2 * LEASE_MS, 4000):
        if rescue(steps, NOW + passed, elapsed=4000 if passed else 0):
            assert passed <= LEASE_MS + GRACE_MS + 4000
            break
    else:
        pytest.fail(f"job {job_id} was never rescued")


def test_a_server_that_often_stands_still_takes_no_job_from_a_worker_that_renews(steps: Steps) -> None:
    job_id = running(steps)
    token = steps.field(job_id, "token") or ""
    now = NOW
    look(steps, now)
    for _ in range(5):
        now += 2 * LEASE_MS
        assert rescue(steps, now, elapsed=2 * LEASE_MS) == []
        steps.scripts.renew(steps.client, [(job_id, token)], lease_ms=LEASE_MS, now_ms=now + 50)
        now += 250
        look(steps, now)


def test_a_step_back_after_a_jump_leaves_stalls_their_grace(steps: Steps) -> None:
    job_id = running(steps)
    look(steps, NOW)
    look(steps, NOW + HOUR_MS)
    look(steps, NOW)
    steps.scripts.renew(steps.client, [(job_id, steps.field(job_id, "token") or "")], lease_ms=LEASE_MS, now_ms=NOW)
    assert rescue(steps, NOW + 2 * LEASE_MS, elapsed=2 * LEASE_MS) == []


def test_a_deadline_moves_by_what_did_not_go_by(steps: Steps) -> None:
    job_id = running(steps, ttl="60000")
    look(steps, NOW)
    look(steps, NOW + HOUR_MS, elapsed=1000)
    score = steps.client.zscore(steps.keys.state("active"), f"{len(job_id):02d}|{job_id}")
    assert score == NOW + 60_000 + HOUR_MS - 1000
    clock = ClockWatch(BLIND_MS, GRACE_MS, 250)
    deadline, now = int(score), NOW + HOUR_MS + 1000
    code = steps.scripts.timeout(steps.client, job_id, deadline, 0, "now", "", "", clock=clock, now_ms=now)
    assert code == 0 and steps.state(job_id) == "active"


def test_delayed_jobs_move_back_with_the_clock_and_a_date_stays(steps: Steps) -> None:
    waiting = steps.create(delay="60000")
    dated = steps.create(delay=f"@{NOW + 60_000}")
    look(steps, NOW)
    look(steps, NOW - HOUR_MS)
    assert due(steps, waiting) == NOW + 60_000 - HOUR_MS
    assert due(steps, dated) == NOW + 60_000


@pytest.mark.parametrize("back_ms", [HOUR_MS, 2 * HOUR_MS])
def test_a_clock_that_was_wrong_for_a_while_makes_no_delay_shorter(steps: Steps, back_ms: int) -> None:
    """A jump forward leaves the delayed jobs as they are, so its undoing does so too."""
    before = steps.create(delay=str(5 * HOUR_MS))
    look(steps, NOW)
    look(steps, NOW + HOUR_MS, elapsed=0)
    meanwhile = steps.create(delay=str(5 * HOUR_MS), now=NOW + HOUR_MS + 10_000)
    for passed in range(250, 20_000, 250):
        look(steps, NOW + HOUR_MS + passed)
    now = NOW + HOUR_MS + 20_000 - back_ms
    look(steps, now)
    assert abs(due(steps, before) - (now - 20_000 + 5 * HOUR_MS)) < 1000
    assert abs(due(steps, meanwhile) - (now - 10_000 + 5 * HOUR_MS)) < 1000
    # and what was undone counts no more
    look(steps, now - HOUR_MS)
    assert abs(due(steps, before) - (now - HOUR_MS - 20_000 + 5 * HOUR_MS)) < 1000


def test_a_step_back_that_undoes_no_jump_moves_all_delayed_jobs(steps: Steps) -> None:
    """A laptop slept for eight hours, and later its clock is set back by one."""
    waiting = steps.create(delay=str(20 * HOUR_MS))
    look(steps, NOW)
    look(steps, NOW + 8 * HOUR_MS)
    look(steps, NOW + 7 * HOUR_MS)
    assert abs(due(steps, waiting) - (NOW + 19 * HOUR_MS)) < 1000


@pytest.mark.parametrize("wrong", ["x", "nan", "inf", "-inf", ""])
def test_a_last_look_that_is_no_time_does_no_harm(steps: Steps, wrong: str) -> None:
    job_id = running(steps)
    for field in ("seen", "granted", "ahead", "ahead_since", "balanced"):
        steps.client.hset(steps.keys.prefix + ":clock", field, wrong)
    look(steps, NOW)
    steps.client.hset(steps.keys.prefix + ":clock", "granted", wrong)
    assert rescue(steps, NOW + HOUR_MS) == []
    assert rescue(steps, NOW + HOUR_MS + GRACE_MS) == []  # the first look was long ago
    assert rescue(steps, NOW + HOUR_MS + 2 * GRACE_MS, elapsed=GRACE_MS) == [job_id]
    steps.scripts.balance(steps.client, 100)


def test_a_key_of_another_kind_stops_no_rescue(steps: Steps) -> None:
    job_id = running(steps)
    steps.client.set(steps.keys.prefix + ":clock", "x")
    look(steps, NOW)
    assert rescue(steps, NOW + HOUR_MS) == []
    assert rescue(steps, NOW + HOUR_MS + GRACE_MS, elapsed=GRACE_MS) == [job_id]


def test_old_entries_of_workers_are_told_by_the_servers_clock(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = int(steps.client.time()[0]) * 1000
    entries = {"kue:a:1": now_ms - FORGET_MS // 2, "kue:b:1": now_ms - 2 * FORGET_MS}
    for worker, seen_at in entries.items():
        steps.client.hset(steps.keys.workers, worker, json.dumps({"seen_at": seen_at}))
    monkeypatch.setattr(time, "time", lambda: now_ms / 1000 + FORGET_MS)  # this machine's own clock is wrong
    Registry(steps.scripts, "kue:c:1", dict, lambda: None).reclaim(steps.client)
    assert steps.client.hkeys(steps.keys.workers) == ["kue:a:1"]
