"""create and update: every return code, on a real server."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from kue.errors import InvalidJob, JobNotFound
from tests.support.script_steps import NOW, Steps


def test_create_answers_the_first_id_and_the_others_follow(steps: Steps) -> None:
    assert steps.create(3) == "1"
    assert steps.create() == "4"
    assert [steps.state(job_id) for job_id in "1234"] == ["inactive"] * 4
    assert steps.client.llen(steps.keys.tokens("t")) == 4


def test_a_delayed_job_is_created_without_an_event_or_a_token(steps: Steps) -> None:
    # Given a listener
    subscription = steps.listen()
    # When a delayed job and one that is delayed until a time in the past are created
    delayed, due = steps.create(delay="500"), steps.create(delay=f"@{NOW - 5}")
    # Then only the second waits for a worker
    assert (steps.state(delayed), steps.state(due)) == ("delayed", "inactive")
    assert steps.heard(subscription) == ["enqueue"]
    assert steps.client.zscore(steps.keys.state("delayed"), "01|1") == NOW + 500
    assert steps.client.llen(steps.keys.tokens("t")) == 1


def test_a_create_repeated_with_its_mark_creates_nothing_twice(steps: Steps) -> None:
    # Given a call of a lane whose answer was lost
    first = steps.create(2, lane="a", sequence=1)
    # When it is repeated
    again = steps.create(2, lane="a", sequence=1)
    # Then it answers as before, and the next mark and another lane create anew
    assert again == first == "1"
    assert steps.client.zcard(steps.keys.jobs) == 2
    assert steps.create(lane="a", sequence=2) == "3"
    assert steps.create(lane="b", sequence=2) == "4"


def test_an_update_of_a_waiting_job_writes_its_fields_and_its_rank(steps: Steps) -> None:
    job_id = steps.create()
    steps.scripts.update(steps.client, job_id, {"priority": "-5", "ttl": "9"}, now_ms=NOW + 1)
    assert steps.client.zscore(steps.keys.type_state("t", "inactive"), "01|1") == -5
    assert steps.field(job_id, "updated_at") == str(NOW + 1)
    steps.scripts.update(steps.client, job_id, {"ttl": ""}, now_ms=NOW)
    assert steps.field(job_id, "ttl") is None


@pytest.mark.parametrize(
    ("delay", "promote_at"), [("900", NOW + 900), (f"@{NOW + 5_000}", NOW + 5_000), ("", NOW + 50)]
)
def test_an_updated_delay_counts_from_the_creation(steps: Steps, delay: str, promote_at: int) -> None:
    job_id = steps.create(delay="50")
    steps.scripts.update(steps.client, job_id, {"delay": delay}, now_ms=NOW + 20)
    assert steps.field(job_id, "promote_at") == str(promote_at)
    assert steps.client.zscore(steps.keys.state("delayed"), "01|1") == promote_at
    assert steps.field(job_id, "delay") == (str(promote_at - NOW) if delay else None)


@pytest.mark.parametrize("state", ["inactive", "active", "complete", "failed", "delayed"])
def test_an_update_leaves_a_job_in_its_state(steps: Steps, state: str) -> None:
    job_id = steps.create()
    steps.scripts.move(steps.client, job_id, state, now_ms=NOW)
    steps.scripts.update(steps.client, job_id, {"data": "{}"}, now_ms=NOW)
    assert steps.state(job_id) == state


def test_an_update_of_no_job_says_so_and_makes_none(steps: Steps) -> None:
    with pytest.raises(JobNotFound):
        steps.scripts.update(steps.client, 9, {"data": "{}"}, now_ms=NOW)
    assert not steps.client.exists(steps.keys.job(9))


@pytest.mark.parametrize("kind", ["t", "mail-out_2", "a/b \"c\" Grüße"])
def test_one_alone_becomes_what_it_would_among_others(steps: Steps, kind: str) -> None:
    # Given a job that is created alone, the short way, and the same one as a member of a batch
    subscription = steps.listen()
    alone = steps.create(kind=kind, priority=-5, attempts="1")
    among = steps.create(2, kind=kind, priority=-5, attempts="1")
    # Then nothing tells them apart
    client, keys = steps.client, steps.keys
    assert client.hgetall(keys.job(alone)) == client.hgetall(keys.job(among))
    assert steps.state(alone) == steps.state(among) == "inactive"
    for key in (keys.jobs, keys.state("inactive"), keys.type_state(kind, "inactive")):
        assert client.zrange(key, 0, -1, withscores=True) == [(f"01|{n}", -5) for n in (1, 2, 3)]
    assert client.llen(keys.tokens(kind)) == 3 and client.smembers("q:job:types") == {kind}
    messages = [subscription.get_message(timeout=5)["data"] for _ in range(3)]
    assert [message.replace(f'"id":{n},', "") for n, message in enumerate(messages, 1)] == [
        messages[0].replace('"id":1,', "")
    ] * 3
    subscription.close()


def test_one_alone_repeated_with_its_mark_is_not_created_twice(steps: Steps) -> None:
    assert steps.create(attempts="1", lane="a", sequence=1) == steps.create(attempts="1", lane="a", sequence=1) == "1"
    assert steps.create(attempts="1", lane="a", sequence=11) == "2"
    assert steps.create(attempts="1", lane="a", sequence=1) == "3"
    assert steps.client.zcard(steps.keys.jobs) == 3
    assert steps.client.ttl(steps.keys.lane("a")) > 0


@pytest.mark.parametrize("ttl", ["", "5000"])
@pytest.mark.parametrize("state", ["inactive", "delayed", "active", "complete", "failed"])
def test_set_priority_changes_the_priority_and_nothing_else(steps: Steps, state: str, ttl: str) -> None:
    # Given a job in a state, and all that Redis holds of it
    job_id = steps.create(ttl=ttl, delay="1000" if state == "delayed" else "")
    if state == "active":
        steps.reserve()
    elif state in ("complete", "failed"):
        steps.scripts.move(steps.client, job_id, state, now_ms=NOW)
    before = steps.client.hgetall(f"q:job:{job_id}")
    score, tokens = steps.client.zscore(f"q:jobs:{state}", "01|1"), steps.client.llen("q:t:jobs")
    # When its priority changes
    steps.scripts.set_priority(steps.client, job_id, "-10", now_ms=NOW + 5)
    # Then only its places in line do
    after = steps.client.hgetall(f"q:job:{job_id}")
    assert after == before | {"priority": "-10", "updated_at": str(NOW + 5)}
    assert steps.client.zscore("q:jobs", "01|1") == steps.client.zscore(f"q:jobs:t:{state}", "01|1") == -10
    by_time = state == "delayed" or (state == "active" and ttl)
    assert steps.client.zscore(f"q:jobs:{state}", "01|1") == (score if by_time else -10)
    assert steps.client.llen("q:t:jobs") == tokens + (state == "inactive")  # Node pushes one more as it saves
    assert steps.state(job_id) == state


def test_set_priority_tells_of_a_job_that_is_gone(steps: Steps) -> None:
    with pytest.raises(JobNotFound):
        steps.scripts.set_priority(steps.client, "9", "1")
    assert steps.client.keys("*") == []


def test_the_type_of_a_saved_job_stays_what_it_is(queue: Any, redis_client: redis.Redis) -> None:
    job = queue.create("a", {"n": 1}).save()
    job.type, job.data = "b", {"n": 2}
    with pytest.raises(InvalidJob, match="type of job 1 cannot be changed to 'b': create a new job"):
        job.save()
    assert queue.get(1).type == "a" and queue.get(1).data == {"n": 1}
    assert redis_client.zcard("q:jobs:a:inactive") == 1 and redis_client.zcard("q:jobs:b:inactive") == 0


def test_a_change_of_priority_does_not_undo_what_others_saved_meanwhile(queue: Any) -> None:
    job = queue.create("t", {"n": 1}).save()
    other = queue.get(job.id)
    other.data = {"n": 2}
    other.save()
    assert queue.set_priority(job.id, "high").data == {"n": 2}
    assert queue.get(job.id).options.priority == -10
