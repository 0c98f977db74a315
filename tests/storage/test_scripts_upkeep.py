"""promote, timeout, rescue, balance, move, cancel and remove: every return code, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from kue.errors import JobNotFound, WrongState
from tests.support.script_steps import NOW, WORKER, Steps


def timeout(steps: Steps, job_id: str, deadline: int, now: int, attempts: int = 0) -> int:
    return steps.scripts.timeout(steps.client, job_id, deadline, attempts, "now", "", "", now_ms=now)


def test_promote_moves_what_is_due_and_tells_when_the_next_is(steps: Steps) -> None:
    steps.create(2, delay="100")
    later = steps.create(delay="500")
    subscription = steps.listen()
    assert steps.scripts.promote(steps.client, now_ms=NOW + 99) == (0, 1)
    assert steps.scripts.promote(steps.client, 1, now_ms=NOW + 100) == (1, 0)
    assert steps.scripts.promote(steps.client, now_ms=NOW + 100) == (1, 400)
    assert steps.heard(subscription) == ["promotion", "enqueue"] * 2
    assert [steps.state("1"), steps.state("2"), steps.state(later)] == ["inactive", "inactive", "delayed"]
    assert steps.scripts.promote(steps.client, now_ms=NOW + 500) == (1, -1)


def test_promote_leaves_the_jobs_to_node_while_node_promotes(steps: Steps) -> None:
    job_id = steps.create(delay="100")
    steps.client.set("promotion:lock", "x")
    promoted, next_ms = steps.scripts.promote(steps.client, now_ms=NOW + 900)
    assert promoted == 0 and next_ms > 0
    assert steps.state(job_id) == "delayed"


def test_timeout_fails_an_attempt_past_its_deadline(steps: Steps) -> None:
    job_id, token = steps.held(ttl="300")
    subscription = steps.listen()
    assert timeout(steps, job_id, NOW + 300, NOW + 300) == 1
    assert steps.state(job_id) == "failed"
    assert steps.field(job_id, "error") == "TTL exceeded"
    assert steps.heard(subscription) == ["ttl exceeded", "error", "ttl exceeded ack", "failed"]
    assert steps.acknowledge("complete", job_id, token, "1", "1") == -2


def test_timeout_does_nothing_before_the_deadline_or_after_it_moved(steps: Steps) -> None:
    job_id, _ = steps.held(ttl="300")
    assert timeout(steps, job_id, NOW + 300, NOW + 299) == 0
    assert timeout(steps, job_id, NOW + 200, NOW + 400) == 0
    assert steps.state(job_id) == "active"


def test_timeout_of_no_job_of_a_waiting_one_or_of_another_attempt_is_refused(steps: Steps) -> None:
    assert timeout(steps, "9", NOW, NOW) == -1
    held, _ = steps.held(ttl="300")
    waiting = steps.create()
    assert timeout(steps, waiting, NOW, NOW) == -2
    assert timeout(steps, held, NOW + 300, NOW + 300, attempts=1) == -2
    assert steps.state(held) == "active"


def test_timeout_leaves_a_node_workers_job_to_node_first(steps: Steps) -> None:
    job_id = steps.create(ttl="300")
    steps.scripts.move(steps.client, job_id, "active", now_ms=NOW)
    assert timeout(steps, job_id, NOW + 300, NOW + 400) == 0
    assert timeout(steps, job_id, NOW + 300, NOW + 60_000) == 1


def test_rescue_takes_nothing_while_the_lease_runs(steps: Steps) -> None:
    job_id, _ = steps.held()
    assert steps.scripts.rescue(steps.client, now_ms=NOW + 999) == []
    assert steps.state(job_id) == "active"


def test_rescue_lets_a_job_wait_again_and_blames_it_only_for_a_death_alone(steps: Steps) -> None:
    # Given a job whose workers die one after another
    job_id = steps.create(attempts="5")
    for death in range(1, 6):
        token = steps.reserve(nonce=f"n{death}")[0].token
        # When its lease has lapsed
        assert steps.scripts.rescue(steps.client, now_ms=NOW + 1000) == [job_id]
        # Then it waits again, its attempt not counted, and the late worker can write nothing
        assert steps.state(job_id) == "inactive"
        assert steps.field(job_id, "rescues") == steps.field(job_id, "deaths") == str(death)
        assert steps.field(job_id, "attempts") is None
        assert steps.acknowledge("complete", job_id, token, "1", "1") == -2
    # And one that ran nothing else fails it
    token = steps.reserve(nonce="n6")[0].token
    assert steps.scripts.isolate(steps.client, job_id, token, "alone", alone=True, now_ms=NOW) == 1
    assert steps.scripts.rescue(steps.client, now_ms=NOW + 1000) == [job_id]
    assert steps.state(job_id) == "failed"
    assert (steps.field(job_id, "error") or "").startswith("Failed after 5 rescues: its worker process died each time")


def test_a_job_that_ends_by_itself_is_no_longer_suspect(steps: Steps) -> None:
    ends = {
        "complete": ("1", "1"), "fail": ("e", "l", "m", "never", "", ""), "release": ("later", "1000"),
    }  # fmt: skip
    for verb, values in ends.items():
        job_id, token = suspect(steps, attempts="5")
        steps.scripts.isolate(steps.client, job_id, token, "alone", alone=True, now_ms=NOW)
        assert steps.acknowledge(verb, job_id, token, *values) == 1
        assert steps.field(job_id, "deaths") is None and steps.field(job_id, "alone") is None
        assert steps.field(job_id, "rescues") == "2"
    # Not if its child process died, or its worker was told to stop
    for verb, values in {"fail": ("e", "l", "m", "never", "", "", "1"), "release": ("stopped",)}.items():
        job_id, token = suspect(steps, attempts="5")
        assert steps.acknowledge(verb, job_id, token, *values) == 1
        assert steps.field(job_id, "deaths") == "2"


def test_isolate_moves_the_deadline_and_logs_once(steps: Steps) -> None:
    job_id, token = suspect(steps, ttl="500")
    for _ in range(2):
        assert steps.scripts.isolate(steps.client, job_id, token, "apart", alone=False, now_ms=NOW + 400) == 1
    deadline = steps.client.zscore(steps.keys.state("active"), f"{len(job_id):02d}|{job_id}")
    assert deadline == NOW + 900 and steps.field(job_id, "alone") is None
    assert steps.client.lrange(f"q:job:{job_id}:log", -2, -1)[1] == "apart"
    assert steps.client.lrange(f"q:job:{job_id}:log", -2, -1)[0].startswith("Suspect: 2 worker processes died")
    assert steps.scripts.isolate(steps.client, job_id, "old", "", alone=True) == -2
    assert steps.scripts.isolate(steps.client, "99999", "old", "", alone=True) == -1


def suspect(steps: Steps, **options: str) -> tuple[str, str]:
    """A job that is reserved after two of its workers have died; its id and token."""
    job_id = steps.create(**options)
    for death in range(2):
        steps.reserve(nonce=f"d{death}of{job_id}")
        steps.scripts.rescue(steps.client, now_ms=NOW + 1000)
    return job_id, steps.reserve(nonce=f"after{job_id}")[0].token


def test_rescue_of_a_dead_worker_does_not_wait_for_the_lease(steps: Steps) -> None:
    job_id, _ = steps.held()
    assert steps.scripts.rescue(steps.client, dead_worker="kue:host:12", now_ms=NOW) == []
    assert steps.scripts.rescue(steps.client, dead_worker=WORKER, now_ms=NOW) == [job_id]


def test_rescue_does_nothing_when_the_server_comes_to_it_too_late(steps: Steps) -> None:
    job_id, _ = steps.held()
    assert steps.scripts.rescue(steps.client, until_ms=NOW + 3000, now_ms=NOW + 3001) == []
    assert steps.scripts.rescue(steps.client, until_ms=NOW + 3000, now_ms=NOW + 3000) == [job_id]


def test_rescue_clears_a_lease_of_no_active_job(steps: Steps) -> None:
    steps.client.zadd(steps.keys.leases, {"9": NOW})
    assert steps.scripts.rescue(steps.client, now_ms=NOW) == []
    assert steps.client.zcard(steps.keys.leases) == 0


def test_balance_restores_lost_tokens(steps: Steps) -> None:
    steps.create(3)
    steps.client.delete(steps.keys.tokens("t"))
    assert steps.scripts.run(steps.client, "restore_tokens") == 1
    assert steps.client.llen(steps.keys.tokens("t")) == 3


@pytest.mark.parametrize("target", ["inactive", "active", "complete", "failed", "delayed"])
@pytest.mark.parametrize("origin", ["inactive", "active", "complete", "failed", "delayed"])
def test_move_goes_from_every_state_to_every_state(steps: Steps, origin: str, target: str) -> None:
    job_id = steps.create()
    steps.scripts.move(steps.client, job_id, origin, now_ms=NOW)
    assert steps.scripts.move(steps.client, job_id, target, now_ms=NOW) == origin
    assert steps.state(job_id) == target


def test_move_refuses_another_state_than_named_and_no_job(steps: Steps) -> None:
    job_id = steps.create()
    with pytest.raises(WrongState) as caught:
        steps.scripts.move(steps.client, job_id, "inactive", ("failed",))
    assert caught.value.found == "inactive"
    with pytest.raises(JobNotFound):
        steps.scripts.move(steps.client, 9, "inactive")


@pytest.mark.parametrize("state", ["inactive", "delayed", "active"])
def test_cancel_fails_a_job_that_has_not_ended(steps: Steps, state: str) -> None:
    job_id = steps.create()
    steps.scripts.move(steps.client, job_id, state, now_ms=NOW)
    subscription = steps.listen()
    assert steps.scripts.cancel(steps.client, job_id, now_ms=NOW) == state
    assert steps.state(job_id) == "failed"
    assert steps.field(job_id, "error") == "Cancelled"
    assert steps.heard(subscription) == ["cancel", "error", "failed"]


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_cancel_refuses_a_job_that_has_ended(steps: Steps, state: str) -> None:
    job_id = steps.create()
    steps.scripts.move(steps.client, job_id, state, now_ms=NOW)
    with pytest.raises(WrongState):
        steps.scripts.cancel(steps.client, job_id)


def test_cancel_takes_the_lease(steps: Steps) -> None:
    job_id, token = steps.held()
    steps.scripts.cancel(steps.client, job_id, now_ms=NOW)
    assert steps.acknowledge("complete", job_id, token, "1", "1") == -2
    assert steps.state(job_id) == "failed"


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda steps, job_id: steps.scripts.cancel(steps.client, job_id, now_ms=NOW), "cancelled"),
        (lambda steps, job_id: steps.scripts.move(steps.client, job_id, "failed", now_ms=NOW), "moved"),
        (lambda steps, job_id: steps.scripts.remove(steps.client, job_id, now_ms=NOW), "removed"),
        (lambda steps, job_id: steps.scripts.rescue(steps.client, now_ms=NOW + 1000), "rescued"),
        (lambda steps, job_id: timeout(steps, job_id, NOW + 300, NOW + 300), "timeout"),
    ],
)
def test_a_worker_is_told_which_attempt_lost_its_job_and_why(steps: Steps, act: Any, reason: str) -> None:
    job_id, token = steps.held(ttl="300")
    with steps.client.pubsub() as subscription:
        subscription.subscribe(steps.keys.revoked)
        subscription.get_message(timeout=5)
        act(steps, job_id)
        assert subscription.get_message(timeout=5)["data"] == f"{job_id} {token} {reason}"


def test_cancel_and_remove_of_no_job_say_so(steps: Steps) -> None:
    with pytest.raises(JobNotFound):
        steps.scripts.cancel(steps.client, 9)
    with pytest.raises(JobNotFound):
        steps.scripts.remove(steps.client, 9)


def test_remove_takes_all_of_a_running_job_away_for_good(steps: Steps) -> None:
    # Given a job that runs and has a log
    job_id, token = steps.held()
    steps.scripts.log(steps.client, job_id, token, "line")
    # When it is removed and its worker completes it
    steps.scripts.remove(steps.client, job_id, now_ms=NOW)
    assert steps.acknowledge("complete", job_id, token, "1", "1") == -1
    # Then only the counter and the list of types are left
    assert sorted(steps.client.keys("q:*")) == ["q:ids", "q:job:types"]


def test_tidy_clears_the_leavings_of_no_job_and_leaves_a_job_alone(steps: Steps) -> None:
    there = steps.create()
    steps.client.zadd(steps.keys.state("failed"), {"01|9": 0})
    steps.scripts.tidy(steps.client, 9)
    steps.scripts.tidy(steps.client, there)
    assert steps.client.zcard(steps.keys.state("failed")) == 0
    assert steps.state(there) == "inactive"
