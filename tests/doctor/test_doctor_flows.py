"""The doctor on flows and on the claims of unique jobs."""

from __future__ import annotations

from typing import Any

import pytest

from kue.management import flow_examination
from kue.queue import Queue
from kue.states import WAIT_UNTIL_MS
from tests.doctor.test_doctor import findings, repaired


@pytest.fixture
def flow(queue: Queue) -> tuple[Any, list[Any]]:
    """A parent with an id of its own, and three children."""
    children = [queue.create("part", {"n": n}) for n in range(3)]
    return queue.create("whole").after(children).save(), children


def test_flows_in_every_state_have_nothing_wrong(queue: Queue, flow: Any) -> None:
    parent, children = flow
    deep = queue.create("deep").after([parent], on_failure="wait").save()
    for policy in ("fail", "ignore", "wait"):
        parts = [queue.create("part") for _ in range(4)]
        queue.create("whole").after(parts, on_failure=policy).delay(10**6).save()
        for part, state in zip(parts, ("complete", "failed", "active"), strict=False):
            queue.set_state(part.id or 0, state)
        queue.remove(parts[3].id or 0)
    large = [queue.create("part") for _ in range(250)]
    queue.create("large").after(large).save()
    queue.cancel(children[0].id)
    queue.retry(children[0].id)
    queue.create("t").unique("x").save().remove()
    # The jobs that were moved to active by hand have no lease, which is another matter
    found = findings(queue, fix=True)
    assert {each.what for each in found} == {"active, but no worker holds its lease"}
    assert findings(queue) == []
    assert [child.id for child in parent.refresh().children()] == [child.id for child in children]
    assert deep.refresh().state == "delayed" and parent.state == "delayed"


def test_a_list_of_children_without_its_parent_is_removed(queue: Queue, flow: Any, redis_client: Any) -> None:
    redis_client.zadd("q:job:99:children", {"5": -1})
    assert repaired(queue) == ["99 a list of children, but there is no such job"]
    assert redis_client.exists("q:job:99:children") == 0


def test_children_that_ended_or_are_gone_are_counted(queue: Queue, flow: Any, redis_client: Any) -> None:
    parent, children = flow
    ids = [child.id for child in children]
    redis_client.hset(f"q:job:{ids[0]}", mapping={"state": "complete", "result": "1"})
    for key in ("q:jobs:inactive", "q:jobs:part:inactive"):
        redis_client.zrem(key, f"01|{ids[0]}", f"01|{ids[1]}")
    for key in ("q:jobs:complete", "q:jobs:part:complete"):
        redis_client.zadd(key, {f"01|{ids[0]}": 0})
    redis_client.zrem("q:jobs", f"01|{ids[1]}")
    redis_client.delete(f"q:job:{ids[1]}")
    redis_client.hset(f"q:job:{parent.id}", "on_child_failure", "ignore")
    assert sorted(repaired(queue)) == [
        f"{parent.id} it waits for job {ids[0]}, which has ended",
        f"{parent.id} it waits for job {ids[1]}, which does not exist",
    ]
    assert parent.refresh().children_ended == 2 and parent.state == "delayed"
    queue.set_state(ids[2], "complete")
    assert parent.refresh().state == "inactive"


def test_a_parent_that_waits_for_nothing_continues_or_fails(queue: Queue, redis_client: Any) -> None:
    parents = []
    for state in ("complete", "failed"):
        child = queue.create("part").save()
        parent = queue.create("whole").after(child).save()
        queue.set_state(child.id or 0, state)
        queue.set_state(parent.id or 0, "delayed")
        redis_client.hset(f"q:job:{parent.id}", "promote_at", str(WAIT_UNTIL_MS))
        redis_client.zadd("q:jobs:delayed", {f"01|{parent.id}": WAIT_UNTIL_MS})
        parents.append(parent)
    assert repaired(queue) == [f"{each.id} it waits for children, but none is pending" for each in parents]
    assert [each.refresh().state for each in parents] == ["inactive", "failed"]


def test_a_parent_whose_list_of_children_is_gone_continues(queue: Queue, flow: Any, redis_client: Any) -> None:
    parent, _ = flow
    redis_client.delete(f"q:job:{parent.id}:children")
    assert repaired(queue) == [f"{parent.id} it waits for children, but none is pending"]
    assert parent.refresh().state == "inactive"


def test_a_wrong_number_of_ended_children_is_corrected(queue: Queue, flow: Any, redis_client: Any) -> None:
    parent, children = flow
    queue.set_state(children[0].id, "complete")
    redis_client.hset(f"q:job:{parent.id}", "children_ended", "7")
    assert repaired(queue) == [f"{parent.id} its number of children that have ended, 7, is wrong"]
    assert parent.refresh().children_ended == 1


def test_of_very_many_children_each_is_checked(queue: Queue, redis_client: Any) -> None:
    children = [queue.create("part") for _ in range(450)]
    parent = queue.create("whole").after(children, on_failure="ignore").save()
    for child in children[::2]:
        queue.session.scripts.run(redis_client, "remove", child.id)
        redis_client.zadd(f"q:job:{parent.id}:children", {str(child.id): -1 - children.index(child)})
    redis_client.hset(f"q:job:{parent.id}", "children_ended", "0")
    assert len(repaired(queue)) == 225
    assert parent.refresh().children_ended == 225


def test_very_many_claims_of_jobs_that_do_not_exist_are_dropped(
    queue: Queue, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = queue.create("t").unique("kept").save()
    lasting = queue.create("t").unique("lasting", for_ms=10**6).remove_on_complete().save()
    queue.process("t", lambda job: None)
    lasting.wait(10)
    redis_client.zadd("q:unique", {f't="gone {n}"': 1000 + n for n in range(20)})
    assert findings(queue) == []
    monkeypatch.setattr(flow_examination, "SURPLUS_CLAIMS", 10)
    assert repaired(queue) == ["None 20 claims in q:unique are of unique jobs that do not exist"]
    assert redis_client.zcard("q:unique") == 2 and kept.id


def test_claims_under_a_key_of_another_kind_are_named(queue: Queue, redis_client: Any) -> None:
    redis_client.set("q:unique", "x")
    (found,) = findings(queue, fix=True)
    assert "q:unique is a string, not a sorted set" in found.what and not found.fixed
