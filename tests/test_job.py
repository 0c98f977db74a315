"""What a Python program stores, it reads back: by event, by hash, late or early, and Node sees what it always saw."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kue
from kue.job import Job
from kue.storage.codec import from_json, to_json
from tests.support import wait_until

LIMIT_S = 10.0
FALSY = [0, False, "", 0.0, None, [], {}]

#: Any text, also half of a surrogate pair.
TEXT = st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def asked_in_every_way(queue: Any, job: Any) -> list[Any]:
    """Return the result of a job that has ended, as each way of asking tells it."""
    late = queue.get(job.id)
    return [
        late.wait(LIMIT_S),
        late.result,
        queue.range_by_state("complete", 0, -1)[-1].result,
        queue.get_many([job.id])[0].result,
    ]


@pytest.mark.parametrize("result", [*FALSY, 7, "x", [0]], ids=repr)
def test_a_result_is_the_same_in_every_way_of_asking(queue: Any, redis_client: redis.Redis, result: Any) -> None:
    heard: list[Any] = []
    queue.process("t", 1, lambda job: result)
    job = queue.create("t").on("complete", lambda *args: heard.append(args[0])).save()
    assert job.wait(LIMIT_S) == result
    assert asked_in_every_way(queue, job) == [result] * 4
    # As in Node, the field `result` holds truthy results only.
    is_kept = bool(result) or isinstance(result, (list, dict))
    assert redis_client.hget(f"q:job:{job.id}", "result") == (to_json(result) if is_kept else None)
    wait_until(lambda: heard == [result])
    assert queue.get(job.id).to_dict().get("result") == (result if is_kept else None)


@pytest.mark.parametrize("second", [0, None, 6], ids=repr)
@pytest.mark.parametrize("first", [0, 5], ids=repr)
def test_the_result_of_a_second_run_replaces_that_of_the_first(queue: Any, first: Any, second: Any) -> None:
    results = [first, second]
    queue.process("t", 1, lambda job: results.pop(0))
    job = queue.create("t").save()
    assert job.wait(LIMIT_S) == first
    queue.set_state(job.id, "inactive")
    wait_until(lambda: not results and queue.get(job.id).state == "complete", LIMIT_S)
    assert queue.get(job.id).wait(LIMIT_S) == second
    assert asked_in_every_way(queue, job) == [second] * 4


def test_a_result_of_ours_is_void_once_node_has_run_the_job(queue: Any, redis_client: redis.Redis) -> None:
    # Given a job that returned 0 here
    queue.process("t", 1, lambda job: 0)
    job = queue.create("t").save()
    assert job.wait(LIMIT_S) == 0
    queue.shutdown(5)
    # When Node runs it once more, which returns 7 and knows nothing of our field
    redis_client.hset(f"q:job:{job.id}", mapping={"state": "active", "started_at": "99"})
    assert kue.create_queue(redis_client).get(job.id).result is None
    redis_client.hset(f"q:job:{job.id}", mapping={"state": "complete", "result": "7"})
    # Then its result is the one that counts
    assert kue.create_queue(redis_client).get(job.id).result == 7


@pytest.mark.parametrize("data", [0, False, "", [], 0.5, "text", [1]], ids=repr)
def test_data_that_javascript_would_call_false_is_kept(queue: Any, data: Any) -> None:
    seen: list[Any] = []
    queue.process("t", 1, lambda job: seen.append(job.data))
    job = queue.create("t", data).save()
    job.wait(LIMIT_S)
    assert seen == [data] and queue.get(job.id).data == data
    assert type(queue.get(job.id).data) is type(data)


def test_no_data_is_an_empty_object_as_in_node(queue: Any, redis_client: redis.Redis) -> None:
    job = queue.create("t").save()
    assert redis_client.hget(f"q:job:{job.id}", "data") == "{}" and queue.get(job.id).data == {}


@QUICK
@given(data=VALUES.filter(lambda value: value is not None), told=VALUES, result=VALUES)
def test_any_value_survives_the_way_through_redis(queue: Any, data: Any, told: Any, result: Any) -> None:
    events: list[Any] = []

    def handler(job: Any) -> Any:
        assert job.data == data
        job.progress(1, 2, told)
        return result

    if "t" not in queue.processing():
        queue.process("t", 1, lambda job: queue.handler(job))
    queue.handler = handler
    job = queue.create("t", data).on("progress", lambda *args: events.append(args)).save()
    assert job.wait(LIMIT_S) == result
    read = queue.get(job.id)
    assert (read.data, read.result) == (data, result)
    assert read.progress_data == told and all(args[1] == told for args in events)


@given(value=VALUES)
def test_what_is_stored_is_json_that_any_program_reads(value: Any) -> None:
    text = to_json(value)
    text.encode()
    assert json.loads(text, parse_constant=pytest.fail) == value == from_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("NaN", None), ("[1,Infinity,-Infinity]", [1, None, None]), ('{"a":1e400}', {"a": None}), ("-1e999", None),
     ("1e308", 1e308), ('"1e400"', "1e400"), ("9" * 400, int("9" * 400)), ("9" * 400 + ".5", None)],
)  # fmt: skip
def test_a_number_that_json_does_not_have_is_read_as_none(text: str, value: Any) -> None:
    assert from_json(text) == value


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 5000, "9" * 5000, "\x00", "nan"])
def test_what_is_no_json_is_read_as_the_text_it_is(text: str) -> None:
    assert from_json(text) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, b"x", object, [[math.nan]]], ids=repr)
def test_what_json_cannot_say_is_refused_when_the_job_is_saved(queue: Any, value: Any) -> None:
    with pytest.raises(kue.InvalidJob, match="not JSON"):
        queue.create("t", {"value": value}).save()
    assert queue.counts()["inactive"] == 0


def test_data_nested_too_deeply_is_refused_when_the_job_is_saved(queue: Any) -> None:
    value: Any = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(kue.InvalidJob, match="not JSON"):
        queue.create("t", value).save()


@pytest.mark.parametrize("name", ["type", "title", "log", "error", "id"])
def test_half_an_emoji_is_kept_or_refused_and_never_breaks_a_call(queue: Any, name: str) -> None:
    half = "a\ud800b"
    if name == "type":
        with pytest.raises(kue.InvalidJob, match="type is not valid Unicode"):
            queue.create(half).save()
    elif name == "title":
        assert queue.get(queue.create("t").title(half).save().id).data["title"] == half
    elif name == "log":
        job = queue.create("t").save()
        job.log(half)
        assert queue.log(job.id) == ["a?b"]
    elif name == "error":

        @queue.process("t")
        def fail(job: Any) -> None:
            raise ValueError(half)

        with pytest.raises(kue.JobFailed, match=r"a\?b"):
            queue.create("t").save().wait(LIMIT_S)
    else:
        with pytest.raises(kue.InvalidJob):
            queue.get(half)


FIELD_NAMES = (
    "type data priority state created_at promote_at updated_at started_at failed_at duration result exact_result "
    "error workerId progress progress_data attempts max_attempts delay ttl backoff removeOnComplete attempt_log "
    "rescues deaths token copy_of copies"
).split()
ODD = st.sampled_from(
    ["", "NaN", "1e400", "-1e400", "abc", "[" * 3000, '[{"number":"x"}]', '[{"number":1e400,"started_at":[]}]', "[1]",
     '"\\ud800"', '{"bytes":1e400}', '{"bytes":NaN}', "9" * 5000, "-", "0x10", "\x00", "\ufffd", "null", "true", "{}"]
)  # fmt: skip


@given(raw=st.dictionaries(st.sampled_from(FIELD_NAMES), ODD | st.text(max_size=30)))
def test_any_hash_with_a_type_is_read_as_a_job(raw: dict[str, str]) -> None:
    queue = kue.create_queue()
    job = Job.from_hash(queue, 1, {"type": "t", **raw})
    for name in ("data", "options", "attempts_made", "created_at", "result", "progress_data", "attempt_log", "rescues"):
        getattr(job, name)
    for attempt in job.attempt_log:
        assert isinstance(attempt["number"], int)
    to_json(job.attempt_log)
    repr(job)
    job.to_dict()
