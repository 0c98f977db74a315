"""What somebody else wrote into our keys stops nothing but itself."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.integration.script_steps import NOW, Steps
from tests.support import wait_until

LIMIT_S = 15


def test_upkeep_does_the_rest_when_one_of_its_tasks_always_fails(
    queue: Any, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a key of the wrong kind, which upkeep reads first of all
    queue.process("t", lambda job: "ran")
    wait_until(lambda: redis_client.exists(queue.keys.workers))
    redis_client.set(queue.keys.workers, "not a hash")
    wait_until(lambda: caplog.records, LIMIT_S)
    # Then delayed jobs are promoted all the same, and the log tells once
    for _ in range(3):
        assert queue.create("t", delay=500).save().wait(LIMIT_S) == "ran"
    said = [record.getMessage() for record in caplog.records if record.name == "kue.upkeep"]
    assert said == ["upkeep: reclaim failed; trying again each second"]


@pytest.mark.parametrize("garbage", ["no JSON", "7", '["x", {"number": "y"}]', "{}"])
def test_an_attempt_log_that_is_none_does_not_keep_a_job_from_its_rescue(
    redis_client: redis.Redis, garbage: str
) -> None:
    steps = Steps(redis_client)
    job_id = steps.create(attempts="5")
    for death in range(1, 5):
        steps.reserve(nonce=f"n{death}")
        if death in (1, 4):
            redis_client.hset(steps.keys.job(job_id), "attempt_log", garbage)
        assert steps.scripts.rescue(steps.client, now_ms=NOW + 1000) == [job_id]
    assert steps.state(job_id) == "failed"
