"""reserve, complete, fail, release, progress, log and renew: every return code, on a real server."""

from __future__ import annotations

import pytest

from kue.errors import JobNotFound, LeaseLost
from kue.storage.script_values import Outcome, Reservation, ScriptResult
from tests.support.script_steps import NOW, WORKER, Steps

FAILURE = ("Error: no\n at x", "Error: no", "no", "now", "", "")
ACKNOWLEDGEMENTS = [("complete", ("null", "0")), ("fail", FAILURE), ("release", ("stopped",))]


def test_reserve_takes_the_lowest_priority_first_and_then_by_id(steps: Steps) -> None:
    for priority in (0, 10, -10, 0, -10):
        steps.create(priority=priority)
    assert [job.job_id for job in steps.reserve(4)] == ["3", "5", "1", "4"]
    assert steps.client.llen(steps.keys.tokens("t")) == 1


def test_reserve_writes_worker_token_and_lease(steps: Steps) -> None:
    job_id, token = steps.held()
    assert steps.state(job_id) == "active"
    assert steps.field(job_id, "token") == token
    assert steps.field(job_id, "workerId") == f"{WORKER}:t:0"
    assert steps.client.zscore(steps.keys.leases, job_id) == NOW + 1000


def test_reserve_of_an_empty_type_takes_nothing(steps: Steps) -> None:
    assert steps.reserve() == []


def test_a_job_with_a_ttl_is_ranked_by_its_deadline(steps: Steps) -> None:
    steps.held(ttl="300")
    assert steps.client.zscore(steps.keys.state("active"), "01|1") == NOW + 300


def test_reserve_clears_a_hash_without_a_type_and_takes_the_next_job(steps: Steps) -> None:
    # Given two jobs, the first one's hash broken
    broken, whole = steps.create(), steps.create()
    steps.client.hdel(steps.keys.job(broken), "type")
    # When a worker asks for one
    taken = steps.reserve()
    # Then it gets the whole one, and nothing of the other is left
    assert [job.job_id for job in taken] == [whole]
    assert not steps.client.exists(steps.keys.job(broken))
    assert steps.client.zscore(steps.keys.jobs, "01|1") is None


def test_reserve_takes_nothing_of_a_paused_type_and_names_it(steps: Steps) -> None:
    steps.create()
    steps.client.sadd(steps.keys.paused, "t")
    turn = steps.scripts.reserve(steps.client, Reservation({"t": [0]}, 9, "n", WORKER), now_ms=NOW)
    assert (turn.jobs, turn.paused, turn.now_ms) == ([], ["t"], NOW)


@pytest.mark.parametrize(("verb", "values"), ACKNOWLEDGEMENTS)
def test_an_acknowledgement_counts_once(steps: Steps, verb: str, values: tuple[str, ...]) -> None:
    job_id, token = steps.held()
    assert steps.acknowledge(verb, job_id, token, *values) == 1
    before = steps.client.hgetall(steps.keys.job(job_id))
    assert steps.acknowledge(verb, job_id, token, *values, now=NOW + 9) == 0
    assert steps.client.hgetall(steps.keys.job(job_id)) == before
    assert steps.client.zcard(steps.keys.leases) == 0


@pytest.mark.parametrize(("verb", "values"), ACKNOWLEDGEMENTS)
def test_an_acknowledgement_of_another_attempt_changes_nothing(
    steps: Steps, verb: str, values: tuple[str, ...]
) -> None:
    job_id, _ = steps.held()
    assert steps.acknowledge(verb, job_id, "other.1", *values) == -2
    assert steps.state(job_id) == "active"


@pytest.mark.parametrize(("verb", "values"), ACKNOWLEDGEMENTS)
def test_an_acknowledgement_of_no_job_makes_none(steps: Steps, verb: str, values: tuple[str, ...]) -> None:
    assert steps.acknowledge(verb, "9", "n.1", *values) == -1
    assert not steps.client.exists(steps.keys.job(9))


def test_complete_keeps_result_and_duration(steps: Steps) -> None:
    job_id, token = steps.held()
    subscription = steps.listen()
    steps.acknowledge("complete", job_id, token, '{"a":1}', "1", now=NOW + 40)
    assert steps.state(job_id) == "complete"
    assert (steps.field(job_id, "result"), steps.field(job_id, "duration")) == ('{"a":1}', "40")
    assert steps.client.get(steps.keys.work_time) == "40"
    assert steps.heard(subscription) == ["complete"]


def test_complete_takes_a_job_with_remove_on_complete_away(steps: Steps) -> None:
    job_id, token = steps.held(remove="true")
    subscription = steps.listen()
    assert steps.acknowledge("complete", job_id, token, "1", "1") == 1
    assert not steps.client.exists(steps.keys.job(job_id), steps.keys.log(job_id), steps.keys.jobs)
    assert steps.heard(subscription) == ["complete", "remove"]


@pytest.mark.parametrize(
    ("attempts", "retry", "delay", "state", "events"),
    [
        ("1", "now", "", "failed", ["error", "failed"]),
        ("2", "never", "", "failed", ["error", "failed"]),
        ("2", "now", "", "inactive", ["error", "enqueue", "failed attempt"]),
        ("2", "wait", "50", "delayed", ["error", "failed attempt"]),
        ("2", "wait", "", "delayed", ["error", "failed attempt"]),
    ],
)
def test_fail_moves_the_job_where_it_goes_next(
    steps: Steps, attempts: str, retry: str, delay: str, state: str, events: list[str]
) -> None:
    job_id, token = steps.held(attempts=attempts)
    subscription = steps.listen()
    assert steps.acknowledge("fail", job_id, token, "Error: no", "line", "no", retry, delay, "note") == 1
    assert steps.state(job_id) == state
    assert steps.heard(subscription) == events
    assert steps.field(job_id, "attempts") == "1"
    assert steps.client.lrange(steps.keys.log(job_id), 0, -1) == ["line", "note"]


@pytest.mark.parametrize(("later", "told"), [(99, ["complete"]), (100, ["ttl exceeded ack", "complete"])])
def test_an_attempt_that_ends_overdue_answers_a_ttl_watcher(steps: Steps, later: int, told: list[str]) -> None:
    job_id, token = steps.held(ttl="100")
    subscription = steps.listen()
    assert steps.acknowledge("complete", job_id, token, "null", "0", now=NOW + later) == ScriptResult.OK
    assert steps.heard(subscription) == told


def test_release_does_not_count_the_attempt(steps: Steps) -> None:
    job_id, token = steps.held()
    assert steps.acknowledge("release", job_id, token, "stopped") == 1
    assert steps.state(job_id) == "inactive"
    assert steps.field(job_id, "attempts") is None
    assert steps.client.llen(steps.keys.tokens("t")) == 1


def test_release_for_a_while_leaves_the_attempt_and_the_delay_alone(steps: Steps) -> None:
    job_id, token = steps.held()
    subscription = steps.listen()
    assert steps.acknowledge("release", job_id, token, "no room", "500") == 1
    assert steps.heard(subscription) == ["postpone"]
    assert steps.state(job_id) == "delayed"
    assert steps.client.zscore(steps.keys.state("delayed"), "01|1") == NOW + 500
    assert (steps.field(job_id, "attempts"), steps.field(job_id, "delay")) == (None, None)
    assert steps.field(job_id, "promote_at") == str(NOW + 500)
    assert steps.acknowledge("release", job_id, token, "no room", "500") == 0  # said twice is said once


def test_progress_moves_the_deadline_on(steps: Steps) -> None:
    job_id, token = steps.held(ttl="300")
    steps.scripts.progress(steps.client, job_id, token, 40, '{"a":1}', True, now_ms=NOW + 100)
    assert steps.client.zscore(steps.keys.state("active"), "01|1") == NOW + 400
    assert (steps.field(job_id, "progress"), steps.field(job_id, "progress_data")) == ("40", '{"a":1}')
    steps.scripts.progress(steps.client, job_id, token, 50, "null", False, now_ms=NOW)
    assert steps.field(job_id, "progress_data") == '{"a":1}'


def test_progress_and_log_of_another_attempt_or_no_job_are_refused(steps: Steps) -> None:
    job_id, _ = steps.held()
    with pytest.raises(LeaseLost):
        steps.scripts.progress(steps.client, job_id, "other", 1, "null", False)
    with pytest.raises(LeaseLost):
        steps.scripts.log(steps.client, job_id, "other", "x")
    with pytest.raises(JobNotFound):
        steps.scripts.progress(steps.client, 9, "", 1, "null", False)
    with pytest.raises(JobNotFound):
        steps.scripts.log(steps.client, 9, "", "x")
    assert steps.client.llen(steps.keys.log(job_id)) == 0


def test_a_log_keeps_its_newest_thousand_lines(steps: Steps) -> None:
    job_id = steps.create()
    steps.client.rpush(steps.keys.log(job_id), *[str(n) for n in range(1000)])
    steps.scripts.log(steps.client, job_id, "", "newest")
    assert steps.client.llen(steps.keys.log(job_id)) == 1000
    assert steps.client.lindex(steps.keys.log(job_id), -1) == "newest"


def test_renew_puts_off_what_is_held_and_names_what_is_lost(steps: Steps) -> None:
    job_id, token = steps.held()
    lost = steps.scripts.renew(steps.client, [(job_id, token), ("9", "n.1")], lease_ms=5000, now_ms=NOW)
    assert lost == ["9"]
    assert steps.client.zscore(steps.keys.leases, job_id) == NOW + 5000
    assert steps.scripts.renew(steps.client, [(job_id, "other")], lease_ms=1, now_ms=NOW) == [job_id]


def test_finish_and_reserve_answers_a_code_for_each_and_the_next_jobs(steps: Steps) -> None:
    # Given three attempts under way and one job that waits
    steps.create(3, attempts="2")
    held = steps.reserve(3)
    waiting = steps.create()
    outcomes = [
        Outcome(verb, job.job_id, job.token, values) for job, (verb, values) in zip(held, ACKNOWLEDGEMENTS, strict=True)
    ]
    strangers = [Outcome("complete", "99", "x", ("1", "1")), Outcome("complete", "1", "x", ("1", "1"))]
    # When all of them, one of no job and one of another attempt are acknowledged
    turn = steps.scripts.finish_and_reserve(
        steps.client, [*outcomes, *strangers], Reservation({"t": [7, 8, 9]}, 9, "m", WORKER), now_ms=NOW
    )
    # Then each has its code, and the two that wait again and the third are reserved
    assert turn.codes == [1, 1, 1, -1, -2]
    assert [(job.job_id, job.slot) for job in turn.jobs] == [("2", 7), ("3", 8), (waiting, 9)]


def test_a_repeated_finish_and_reserve_brings_the_same_jobs(steps: Steps) -> None:
    # Given a call whose answer was lost
    job_id, token = steps.held()
    steps.create(5)

    def call(again: bool) -> tuple[list[int], list[tuple[str, str, int]]]:
        turn = steps.scripts.finish_and_reserve(
            steps.client,
            [Outcome("complete", job_id, token, ("1", "1"))],
            Reservation({"t": [0, 1]}, 1000, "same", WORKER, again),
            now_ms=NOW,
        )
        return turn.codes, sorted((job.job_id, job.token, job.slot) for job in turn.jobs)

    codes, first = call(False)
    # When it is repeated
    codes_again, second = call(True)
    # Then nothing counts twice and the jobs are those from before
    assert (codes, codes_again) == ([1], [0])
    assert second == first and len(first) == 2
    assert steps.client.zcard(steps.keys.state("active")) == 2


def test_a_repeated_call_that_never_arrived_takes_jobs(steps: Steps) -> None:
    steps.create()
    assert len(steps.reserve(nonce="new", again=True)) == 1


def test_an_attempt_that_ended_has_no_say_when_a_node_worker_runs_the_job(steps: Steps) -> None:
    # Given a job that ran here and was released, and that a Node worker then took: it leaves our token where it was
    job_id, token = steps.held(ttl="100")
    steps.acknowledge("release", job_id, token, "why")
    member = f"{len(job_id):02d}|{job_id}"
    for key in (steps.keys.state("inactive"), steps.keys.type_state("t", "inactive")):
        steps.client.zrem(key, member)
    steps.client.hset(steps.keys.job(job_id), mapping={"state": "active", "started_at": NOW})
    steps.client.zadd(steps.keys.state("active"), {member: NOW + 100})
    steps.client.zadd(steps.keys.type_state("t", "active"), {member: 0})

    # When our old attempt speaks again
    for verb, values in (("complete", ("1", "1")), ("fail", ("e", "e", "e", "now", "", "")), ("release", ("why",))):
        assert steps.acknowledge(verb, job_id, token, *values) == ScriptResult.LOST
    with pytest.raises(LeaseLost):
        steps.scripts.log(steps.client, job_id, token, "late")
    with pytest.raises(LeaseLost):
        steps.scripts.progress(steps.client, job_id, token, 50, "null", False)
    assert steps.scripts.renew(steps.client, [(job_id, token)], lease_ms=1000) == [job_id]

    # Then nothing has changed, and Node's own watcher has its time before ours
    assert steps.state(job_id) == "active"
    seen = (job_id, NOW + 100, 0, "now", "", "")
    assert steps.scripts.timeout(steps.client, *seen, now_ms=NOW + 5000) == ScriptResult.DONE
    assert steps.scripts.timeout(steps.client, *seen, now_ms=NOW + 5100) == ScriptResult.OK
