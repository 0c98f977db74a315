"""What the page asks a queue beside its jobs: history, memory, leases, the look through all jobs, copies."""

from __future__ import annotations

from typing import Any

import pytest

import kue
from kue.management.history import KEPT, combine
from tests.support.script_steps import Steps


def test_of_each_figure_that_several_note_the_largest_stays(queue: Any) -> None:
    history = queue.history
    history.record("minutes", 100, {"complete": 5, "failed": 0, "waiting": 9})
    history.record("minutes", 100, {"complete": 3, "failed": 1, "waiting": 9, "run_mid": 40})
    history.record("minutes", 100, {"complete": 3, "failed": 1, "waiting": 9, "run_mid": 40})
    assert history.read("minutes") == [
        {"at": 6_000_000, "complete": 5, "failed": 1, "waiting": 9, "run_mid": 40},
    ]


def test_history_is_bounded_whoever_writes_it(queue: Any) -> None:
    for at in range(1000, 1200):
        queue.history.record("minutes", at, {"complete": 1})
    kept = queue.history.read("minutes")
    assert len(kept) == KEPT["minutes"] and kept[-1]["at"] == 1199 * 60_000
    queue.history.record("minutes", 9000, {"complete": 1})
    assert len(queue.history.read("minutes")) == 1
    assert queue.history.read("halves") == []


def test_half_an_hour_is_its_minutes_together() -> None:
    minutes: Any = [
        {"at": 0, "complete": 2, "failed": 1, "waiting": 5, "run_mid": 10, "run_slow": 50},
        {"at": 1, "complete": 3, "failed": 0, "waiting": 7, "run_mid": 30, "run_slow": 40},
        {"at": 2, "complete": 0, "failed": 0, "waiting": 0},
    ]
    assert combine(minutes) == {"complete": 5, "failed": 1, "waiting": 7, "run_mid": 30, "run_slow": 50}
    assert combine([]) == {"complete": 0, "failed": 0, "waiting": 0}


def test_memory_is_estimated_from_a_few_jobs(queue: Any) -> None:
    assert queue.memory()["jobs"] == 0 and queue.memory()["queue"] == 0
    queue.create_many([{"type": "t", "data": {"text": "x" * 1000}} for _ in range(200)])
    told = queue.memory()
    assert told["jobs"] == 200 and told["used"] > 500_000 and told["limit"] is None
    assert told["policy"] == "noeviction"
    assert 200 * 1000 < told["queue"] < 200 * 3000


def test_leases_are_counted_and_a_late_one_is_told(redis_client: Any, queue: Any) -> None:
    assert queue.leases() == {"held": 0, "late_ms": 0}
    steps = Steps(redis_client)
    steps.create()
    steps.reserve(now=0, lease=60_000)
    assert queue.leases() == {"held": 1, "late_ms": 0}
    steps.create()
    steps.reserve(nonce="m")  # its lease ended long ago
    assert queue.leases()["held"] == 2 and queue.leases()["late_ms"] > 1000


@pytest.mark.parametrize(
    ("words", "found"),
    [(["clip"], [2]), (["CLIP", "video"], [2]), (["clip", "mail"], []), (["HỌP"], [1]), (["họp"], [1]), (["thư"], [1]),
     (["1"], [1, 3]), (["boom"], [3]), (["%d+", "x"], []), ([".mp4"], [2]), (["t1"], [3])],
)  # fmt: skip
def test_find_compares_id_type_data_and_error(queue: Any, words: list[str], found: list[int]) -> None:
    queue.create("mail", {"title": "Thư mời HỌP"}).save()
    queue.create("Video", {"deep": [{"url": "http://example.com/Clip.mp4"}]}).save()
    queue.create("t1").save()
    queue.session.call(lambda client: client.hset("q:job:3", "error", "BOOM"))
    ids, looked = queue.look_through([word for word in words], 0, 100, 10)
    assert sorted(ids) == found and looked == 3


def test_find_ends_at_its_bounds(queue: Any, redis_client: Any) -> None:
    queue.create_many([{"type": "t", "data": {"text": "x" * 1000}} for _ in range(50)])
    assert queue.look_through(["x"], 0, 100, 5) == ([50, 49, 48, 47, 46], 5)
    assert queue.look_through(["x"], 48, 100, 5) == ([2, 1], 2)
    assert queue.look_through(["x"], 50, 100, 5) == ([], 0)
    redis_client.hset("q:job:50", "data", '"' + "y" * 3_000_000 + '"')
    assert queue.look_through(["x"], 0, 100, 50) == ([], 1)
    redis_client.delete("q:job:50")
    assert queue.look_through(["x"], 0, 2, 50) == ([49], 2)


def test_a_copy_has_the_originals_options_and_each_links_to_the_other(queue: Any) -> None:
    job = queue.create("t", {"n": 1}).priority("high").attempts(5).backoff({"type": "fixed", "delay": 9}).ttl(1000)
    job.delay(60_000).remove_on_complete().save()
    copy = queue.run_as_new(job.id)
    other = queue.run_as_new(job.id, {"n": 2})
    read, kept = queue.get(copy.id), queue.get(job.id)
    assert (read.type, read.data, read.state) == ("t", {"n": 1}, "inactive")
    assert queue.get(other.id).data == {"n": 2}
    for name in ("priority", "attempts", "backoff", "ttl_ms", "remove_on_complete"):
        assert getattr(read.options, name) == getattr(kept.options, name), name
    assert read.copy_of == str(job.id) and kept.copy_of is None
    assert kept.copies == [str(copy.id), str(other.id)] and read.copies == []
    assert queue.get(job.id).state == "delayed"


def test_a_link_brings_no_removed_job_back(queue: Any, redis_client: Any) -> None:
    steps = Steps(redis_client)
    steps.create(2)
    assert steps.scripts.run(redis_client, "link_rerun", 9, 1) == -1
    assert steps.scripts.run(redis_client, "link_rerun", 2, 9) == 1
    assert not redis_client.exists("q:job:9") and steps.field("2", "copy_of") == "9"
    for copy in range(30):
        steps.scripts.run(redis_client, "link_rerun", 2, 1)
        assert queue.get(1).copies[-1] == "2", copy
    assert len(queue.get(1).copies) == 20
    with pytest.raises(kue.JobNotFound):
        queue.run_as_new(77)
