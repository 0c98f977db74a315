"""create_unique and hold: each return code, and what stands in Redis afterwards."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import kue
from kue.errors import InvalidJob, JobNotFound, WrongState
from kue.states import HOLD_UNTIL_MS
from kue.storage.hash_fields import Unique
from kue.storage.script_values import Claim
from tests.support import wait_until
from tests.support.script_steps import NOW, Steps

URL = "https://example.com/a/Grüße.bin?x=1"


def row(url: str = URL, delay: str = "") -> tuple[str, ...]:
    """Return the values of one job."""
    data = json.dumps({"title": "x", "url": url}, separators=(",", ":"), ensure_ascii=False)
    return ("t", data, "0", "", delay, "", "", "")


def claim_of(url: str) -> Claim:
    return Unique({"url": url}, of_data=True).claim(None)


def unique(steps: Steps, url: str = URL, delay: str = "", now: int = NOW) -> tuple[int, bool]:
    claim = claim_of(url)
    job_id, is_new, _ = steps.scripts.create_unique(steps.client, row(url, delay), claim, uuid.uuid4().hex, now_ms=now)
    return job_id, is_new


@pytest.mark.parametrize("state", ["inactive", "delayed", "active"])
def test_a_job_that_has_not_ended_is_found(steps: Steps, state: str) -> None:
    subscription = steps.listen()
    assert unique(steps, delay="1000" if state == "delayed" else "") == (1, True)
    if state == "active":
        steps.reserve()
    assert unique(steps) == (1, False)
    assert steps.state("1") == state
    assert steps.client.get(steps.keys.ids) == "1"
    assert steps.heard(subscription).count("enqueue") == (0 if state == "delayed" else 1)


@pytest.mark.parametrize("end", ["complete", "failed", "removed"])
def test_a_job_that_has_ended_makes_room_for_another(steps: Steps, end: str) -> None:
    unique(steps)
    if end == "removed":
        steps.scripts.remove(steps.client, 1)
    else:
        steps.scripts.move(steps.client, 1, end)
    assert unique(steps) == (2, True)
    assert unique(steps) == (2, False)


def test_only_jobs_that_were_made_unique_are_seen(steps: Steps) -> None:
    steps.scripts.create(steps.client, [row(URL)], now_ms=NOW)
    assert unique(steps) == (2, True)
    assert unique(steps) == (2, False)


def test_a_job_that_claims_is_seen_unless_another_is(steps: Steps) -> None:
    steps.scripts.create(steps.client, [row(URL)] * 2, now_ms=NOW)
    assert steps.scripts.claim(steps.client, 1, "t", claim_of(URL))
    assert not steps.scripts.claim(steps.client, 2, "t", claim_of(URL))
    assert unique(steps) == (1, False)
    with pytest.raises(JobNotFound):
        steps.scripts.claim(steps.client, 9, "t", claim_of(URL))


def test_a_unique_job_costs_the_same_whatever_the_length_of_the_queue(steps: Steps) -> None:
    def commands_of_one() -> int:
        steps.client.config_resetstat()
        unique(steps, URL + str(steps.client.incr("n")))
        stats = steps.client.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name.startswith("cmdstat_"))

    unique(steps), unique(steps, URL + "x")
    short = max(commands_of_one() for _ in range(8))
    for at in range(0, 5000, 500):
        steps.scripts.create(steps.client, [row(f"{URL}&{at + n}") for n in range(500)], now_ms=NOW)
    assert max(commands_of_one() for _ in range(8)) <= short + 10


def test_claims_of_jobs_that_are_gone_go_without_further_unique_jobs(steps: Steps) -> None:
    for n in range(300):
        unique(steps, URL + str(n))
        if n:
            steps.scripts.remove(steps.client, n + 1)
    for n in range(400):
        steps.scripts.run(steps.client, "restore_tokens", now_ms=NOW + 1 + 37 * n)
        if steps.client.zcard("q:unique") == 1:
            break
    assert steps.client.zrange("q:unique", 0, -1, withscores=True)[0][1] == 1


def test_another_type_and_text_elsewhere_in_the_data_do_not_count(steps: Steps) -> None:
    inner = json.dumps({"url": "https://other", "more": {"url": URL}}, separators=(",", ":"), ensure_ascii=False)
    steps.scripts.create(steps.client, [("t", inner, *row()[2:]), ("u", *row()[1:])], now_ms=NOW)
    assert unique(steps) == (3, True)


def test_data_that_was_changed_meanwhile_is_no_longer_found(steps: Steps) -> None:
    unique(steps)
    steps.client.hset(steps.keys.job(1), "data", '{"url":"https://other"}')
    assert unique(steps) == (2, True)


def test_remembered_state_does_not_grow_forever(steps: Steps) -> None:
    for number in range(400):
        job_id, made = unique(steps, f"https://example.com/{number}", now=NOW + number * 7)
        assert made
        steps.scripts.remove(steps.client, job_id)
    assert steps.client.zcard("q:unique") < 20


def test_many_at_once_make_one_job(redis_url: str, redis_client: redis.Redis) -> None:
    queues = [kue.create_queue(redis_url) for _ in range(8)]

    def start(number: int) -> object:
        queue = queues[number % len(queues)]
        return queue.save_unique(queue.create("t", {"url": URL}), "url").id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(start, range(64)))
    assert ids == {1} and redis_client.get("q:ids") == "1"
    for queue in queues:
        queue.shutdown()


def test_listeners_given_before_a_unique_save_miss_nothing(redis_url: str) -> None:
    queue = kue.create_queue(redis_url)
    queue.process("t", lambda job: "done")
    heard: list[str] = []
    job = queue.create("t", {"url": URL}).on("enqueue", lambda *_: heard.append("enqueue"))
    job.on("complete", lambda *_: heard.append("complete"))
    queue.save_unique(job, "url").wait(10)
    wait_until(lambda: heard == ["enqueue", "complete"])
    queue.shutdown()


def test_what_save_unique_cannot_take_is_refused(redis_url: str) -> None:
    queue = kue.create_queue(redis_url)
    saved = queue.create("t", {"url": "x"}).save()
    for job in (saved, queue.create("t", ["x"]), queue.create("t", {"url": 5})):
        with pytest.raises(InvalidJob):
            queue.save_unique(job, "url")
    queue.shutdown()


@pytest.mark.parametrize("state", ["inactive", "delayed", "active"])
def test_a_suspended_job_waits_until_it_is_promoted(steps: Steps, state: str) -> None:
    subscription = steps.listen()
    job_id, token = steps.held() if state == "active" else (steps.create(delay="5" if state == "delayed" else ""), "")
    assert steps.scripts.suspend(steps.client, job_id, now_ms=NOW) == state
    assert steps.state(job_id) == "delayed"
    assert steps.scripts.promote(steps.client, now_ms=NOW + 10**12)[0] == 0
    assert steps.field(job_id, "promote_at") == str(HOLD_UNTIL_MS)
    if token:
        # The worker that had it can say nothing about it any more, and the attempt does not count.
        assert steps.acknowledge("complete", job_id, token, "null", "0") == -2
        assert steps.field(job_id, "attempts") is None
    assert steps.scripts.suspend(steps.client, job_id, now_ms=NOW) == "delayed"
    assert steps.scripts.move(steps.client, job_id, "inactive", ("delayed",), now_ms=NOW) == "delayed"
    assert steps.state(job_id) == "inactive" and steps.field(job_id, "promote_at") == str(NOW)
    assert steps.heard(subscription).count("postpone") == 1
    assert steps.client.lrange(steps.keys.log(job_id), 0, -1)[-1] == "Paused"


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_job_that_has_ended_is_not_suspended(steps: Steps, state: str) -> None:
    job_id = steps.create()
    steps.scripts.move(steps.client, job_id, state)
    with pytest.raises(WrongState):
        steps.scripts.suspend(steps.client, job_id)
    assert steps.state(job_id) == state


def test_a_job_that_does_not_exist_is_not_suspended(steps: Steps) -> None:
    with pytest.raises(JobNotFound):
        steps.scripts.suspend(steps.client, 9)


def test_the_worker_of_a_cancelled_job_is_told_why(steps: Steps) -> None:
    job_id, token = steps.held()
    subscription = steps.client.pubsub()
    subscription.subscribe(steps.keys.revoked)
    subscription.get_message(timeout=5)
    steps.scripts.cancel(steps.client, job_id, "discarded")
    message = subscription.get_message(timeout=5)
    subscription.close()
    assert message["data"] == f"{job_id} {token} discarded"
