"""Flows: jobs that wait for other jobs, and what happens when those fail, are retried or removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

import kue
from kue import doctor
from kue.states import HOLD_UNTIL_MS, WAIT_UNTIL_MS
from kue.storage.script_values import Outcome, Reservation, ScriptResult
from tests.support import wait_until


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    with kue.create_queue(redis_url) as made:
        yield made


def state(job: kue.Job) -> str | None:
    return job.refresh().state


def end(queue: kue.Queue, job: kue.Job, how: str) -> None:
    """End a job by hand."""
    if how == "removed":
        job.remove()
    elif how == "cancelled":
        job.cancel()
    else:
        queue.set_state(job.id or 0, how)


def test_a_parent_runs_when_its_children_have_completed_and_reads_their_results(queue: kue.Queue) -> None:
    order: list[str] = []

    @queue.process("child", 5)
    def child(job: kue.Job) -> int:
        order.append(job.type)
        return int(job.data["n"]) * 10

    @queue.process("parent")
    def parent(job: kue.Job) -> Any:
        order.append(job.type)
        return [list(job.child_results()), [each.data["n"] for each in job.children()]]

    children = [queue.create("child", {"n": n}) for n in range(7)]
    job = queue.create("parent").after(children).save()
    assert job.state == "delayed" and job.promote_at == WAIT_UNTIL_MS
    results = [[each.id, index * 10] for index, each in enumerate(children)]
    assert job.wait(10) == [results, list(range(7))]
    assert order == ["child"] * 7 + ["parent"]
    job.refresh()
    assert (job.children_total, job.children_ended) == (7, 7) and children[0].refresh().parents == [job.id]


def test_flows_are_nested_and_a_job_may_be_awaited_by_several(queue: kue.Queue) -> None:
    order: list[str] = []
    queue.process("t", 4, lambda job: order.append(job.data["name"]))

    def make(name: str) -> kue.Job:
        return queue.create("t", {"name": name})

    a, b, c = make("a"), make("b"), make("c")
    left, right = make("left").after([a, b]), make("right").after([b, c])
    top = make("top").after([left, right]).save()
    assert len({job.id for job in (a, b, c, left, right, top)}) == 6
    assert b.refresh().parents == [left.id, right.id]
    top.wait(10)
    assert sorted(order[:3]) == ["a", "b", "c"] or order.index("left") > max(order.index("a"), order.index("b"))
    assert order[-1] == "top" and order.index("right") > max(order.index("b"), order.index("c"))
    assert len(order) == 6


def test_a_chain_runs_one_after_another_and_a_batch_ends_with_its_callbacks(queue: kue.Queue) -> None:
    order: list[str] = []

    @queue.process("t", 4)
    def work(job: kue.Job) -> None:
        order.append(job.data)
        if job.data == "bad":
            raise kue.UnrecoverableError("bad luck")

    last = queue.chain(*(queue.create("t", name) for name in ("one", "two", "three")))
    last.wait(10)
    assert order == ["one", "two", "three"]
    batch = queue.batch(
        [queue.create("t", "good"), queue.create("t", "bad")],
        then=queue.create("t", "then"),
        always=queue.create("t", "always"),
    )
    assert batch.always is not None and batch.then is not None
    batch.always.wait(10)
    with pytest.raises(kue.JobFailed, match=f"Its child, job {batch.jobs[1].id}, failed: bad luck"):
        batch.then.wait(10)
    assert "then" not in order and order[-1] == "always"


@pytest.mark.parametrize("how", ["failed", "cancelled", "removed"])
@pytest.mark.parametrize("policy", ["fail", "ignore", "wait"])
def test_what_a_child_that_does_not_complete_does_to_its_parent(queue: kue.Queue, how: str, policy: str) -> None:
    good, bad = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([good, bad], on_failure=policy).save()
    above = queue.create("q").after(parent).save()
    end(queue, bad, how)
    assert state(parent) == ("failed" if policy == "fail" else "delayed")
    assert state(above) == ("failed" if policy == "fail" else "delayed")
    if policy == "fail":
        said = "was removed" if how == "removed" else "failed: "
        assert f"Its child, job {bad.id}, {said}" in str(parent.error)
        assert f"Its child, job {parent.id}, failed: Its child" in str(above.error)
    end(queue, good, "complete")
    waits = policy == "wait" and how != "removed"
    assert state(parent) == ("failed" if policy == "fail" else "delayed" if waits else "inactive")


def test_a_failed_child_that_is_retried_lets_its_failed_parents_continue(queue: kue.Queue) -> None:
    child, other = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([child, other]).save()
    above = queue.create("q").after(parent).save()
    end(queue, child, "failed")
    assert state(above) == state(parent) == "failed" and parent.children_ended == 1
    # When it is retried, Then both wait again
    queue.retry(child.id or 0)
    assert state(above) == state(parent) == "delayed" and parent.children_ended == 0 and parent.error is None
    end(queue, other, "complete")
    assert state(parent) == "delayed"
    end(queue, child, "complete")
    assert state(parent) == "inactive" and state(above) == "delayed"


def work(queue: kue.Queue, job_type: str) -> None:
    """Take the waiting job of a type and complete it, as a worker does."""
    scripts, client = queue.session.scripts, queue.session.connector.shared()
    [job] = scripts.reserve(client, Reservation({job_type: [1]}, 30_000, f"n{time.monotonic_ns()}", "kue:t:1")).jobs
    nothing = Reservation({}, 30_000, "", "kue:t:1")
    result = scripts.finish_and_reserve(client, [Outcome("complete", job.job_id, job.token, ("1", "1"))], nothing)
    assert result.codes == [ScriptResult.OK]


@pytest.mark.parametrize("by_hand", [True, False])
def test_with_several_failed_children_all_must_be_retried(queue: kue.Queue, by_hand: bool) -> None:
    a, b = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([a, b]).save()
    above = queue.create("q").after(parent).save()
    end(queue, a, "failed")
    end(queue, b, "failed")
    queue.retry(a.id or 0)
    end(queue, a, "complete") if by_hand else work(queue, "c")
    assert state(parent) == "failed" and f"job {b.id}" in str(parent.error)
    assert state(above) == "failed" and f"job {parent.id}" in str(above.error)
    queue.retry(b.id or 0)
    assert state(above) == "delayed"
    end(queue, b, "complete") if by_hand else work(queue, "c")
    assert state(parent) == "inactive"


def test_failed_children_may_be_retried_in_any_order(queue: kue.Queue) -> None:
    a, b = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([a, b]).save()
    end(queue, a, "failed")
    end(queue, b, "failed")
    queue.retry(b.id or 0)  # the one that did not make the parent fail
    end(queue, b, "complete")
    queue.retry(a.id or 0)
    assert state(parent) == "delayed"
    end(queue, a, "complete")
    assert state(parent) == "inactive" and parent.children_ended == 2


def test_a_suspended_parent_continues_as_its_children_have_ended_meanwhile(queue: kue.Queue) -> None:
    a, b = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([a, b]).save()
    queue.pause_job(parent.id or 0)
    end(queue, a, "failed")
    end(queue, b, "complete")
    queue.resume_job(parent.id or 0)
    assert state(parent) == "failed" and f"job {a.id}" in str(parent.error)
    # And a child that is retried while its parent is suspended is waited for
    queue.retry(a.id or 0)
    queue.pause_job(parent.id or 0)
    end(queue, a, "failed")
    queue.retry(a.id or 0)
    queue.resume_job(parent.id or 0)
    assert state(parent) == "delayed" and parent.promote_at == WAIT_UNTIL_MS
    end(queue, a, "complete")
    assert state(parent) == "inactive"


def test_a_child_counts_once_however_often_it_ends(queue: kue.Queue) -> None:
    a, b = queue.create("c"), queue.create("c")
    parent = queue.create("p").after([a, b]).save()
    for _ in range(3):
        end(queue, a, "complete")
        queue.set_state(a.id or 0, "inactive")
    end(queue, a, "complete")
    assert state(parent) == "delayed" and parent.children_ended == 1


def test_children_that_are_saved_or_have_ended_already(queue: kue.Queue) -> None:
    done, running = queue.create("c").save(), queue.create("c").save()
    end(queue, done, "complete")
    parent = queue.create("p").after([done, running]).save()
    assert state(parent) == "delayed"
    end(queue, running, "complete")
    assert state(parent) == "inactive"
    assert state(queue.create("p").after([done, running]).save()) == "inactive"
    end(queue, done, "failed")
    assert state(queue.create("p").after(done).save()) == "failed"
    assert state(queue.create("p").after(done, on_failure="ignore").save()) == "inactive"
    assert state(queue.create("p").after([]).save()) == "inactive"


def test_a_parents_delay_begins_when_its_children_have_ended(queue: kue.Queue) -> None:
    child = queue.create("c")
    parent = queue.create("p").delay(60_000).after(child).save()
    assert state(parent) == "delayed" and parent.promote_at == WAIT_UNTIL_MS
    end(queue, child, "complete")
    assert state(parent) == "delayed" and 0 < (parent.promote_at or 0) - queue.server_ms() <= 60_000


def test_a_parent_with_a_date_waits_for_it_too(queue: kue.Queue) -> None:
    date = datetime.now(UTC) + timedelta(hours=1)
    at_ms = int(date.timestamp() * 1000)
    parents = [queue.create("p", attempts=2).delay(date).after(queue.create("c")).save() for _ in "12"]
    parents[1].delay(date + timedelta(hours=1)).save()
    for parent in parents:
        end(queue, next(parent.children()), "complete")
    assert [abs((parent.refresh().promote_at or 0) - at_ms) for parent in parents] == [0, 3_600_000]
    # The date of one that is past makes no difference; and a suspended job keeps no date as its delay
    past = queue.create("p").delay(datetime.now(UTC) + timedelta(milliseconds=20)).after(queue.create("c")).save()
    queue.pause_job(past.id or 0)
    past.refresh().delay(date).save()
    assert past.refresh().options.delay_ms > 3_000_000 and past.promote_at == HOLD_UNTIL_MS


def test_all_are_created_or_none(queue: kue.Queue, redis_client: redis.Redis) -> None:
    gone = queue.create("c").save()
    gone.remove()
    other = kue.create_queue(redis_client, "other").create("c")
    a, b = queue.create("c"), queue.create("c")
    a.after(b)
    b.after(a)
    wrong: list[Any] = [gone, other, queue.create("c", object()), queue.create("c").unique(on_duplicate="replace"), a]
    for child in wrong:
        with pytest.raises((kue.InvalidJob, kue.JobNotFound)):
            queue.create("p").after([queue.create("c"), child]).save()
    assert sum(queue.counts().values()) == 0
    with pytest.raises(kue.InvalidJob, match="wait for jobs"):
        queue.create("p").after(["x"])  # type: ignore[list-item]
    with pytest.raises(kue.InvalidJob, match="fail, ignore, wait"):
        queue.create("p").after([], on_failure="stop")
    with pytest.raises(kue.InvalidJob, match="already saved"):
        queue.create("p").save().after(queue.create("c"))
    with pytest.raises(kue.InvalidJob, match="then="):
        queue.batch([queue.create("c")])


def test_a_flow_whose_answer_was_lost_is_created_once_when_it_is_saved_again(
    queue: kue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = queue.session.scripts
    create_flow = scripts.create_flow

    def lose_the_answer(*args: Any, **options: Any) -> int:
        create_flow(*args, **options)
        raise kue.QueueUnavailable("the answer was lost")

    job = queue.create("p").after([queue.create("c"), queue.create("c")])
    with monkeypatch.context() as faulty, pytest.raises(kue.QueueUnavailable):
        faulty.setattr(scripts, "create_flow", lose_the_answer)
        job.save()
    assert job.save().id == 1 and [each.id for each in job.children()] == [2, 3]
    assert (queue.delayed_count(), queue.inactive_count()) == (1, 2)


def test_a_handler_adds_children_and_runs_again_when_they_have_ended(queue: kue.Queue) -> None:
    runs: list[int] = []

    @queue.process("fan")
    def fan(job: kue.Job) -> Any:
        runs.append(job.children_total)
        if not job.children_total:
            for start in (0, 10):
                job.add_children([queue.create("c", {"n": start + n}) for n in range(10)])
            return kue.WAIT
        return sum(result for _, result in job.child_results())

    queue.process("c", 4, lambda job: job.data["n"])
    job = queue.create("fan").attempts(1).save()
    assert job.wait(10) == sum(range(20)) and runs == [0, 20]
    job.refresh()
    assert job.attempts_made == 1 and [each["outcome"] for each in job.attempt_log] == ["waiting"]


def test_to_wait_for_nothing_runs_again_and_for_a_failed_child_fails(queue: kue.Queue) -> None:
    runs: list[int] = []

    @queue.process("again")
    def again(job: kue.Job) -> Any:
        runs.append(1)
        return kue.WAIT if len(runs) < 3 else "done"

    assert queue.create("again").save().wait(10) == "done"

    @queue.process("fan")
    def fan(job: kue.Job) -> Any:
        child = queue.create("nobody")
        job.add_children(child)
        child.cancel()
        return kue.WAIT

    with pytest.raises(kue.JobFailed, match="Its child"):
        queue.create("fan").save().wait(10)


def test_only_the_attempt_that_holds_the_job_adds_children(queue: kue.Queue) -> None:
    caught: list[BaseException] = []

    @queue.process("fan")
    def fan(job: kue.Job) -> Any:
        job.queue.cancel(job.id)
        try:
            job.add_children(queue.create("c"))
        except BaseException as exc:
            caught.append(exc)
            raise

    queue.create("fan").save()
    wait_until(lambda: caught != [])
    assert isinstance(caught[0], (kue.JobCancelled, kue.LeaseLost)) and queue.counts()["inactive"] == 0


def test_what_an_operator_does_to_a_waiting_parent(queue: kue.Queue) -> None:
    def flow() -> tuple[kue.Job, kue.Job]:
        child = queue.create("c")
        return child, queue.create("p").after(child).save()

    # Started by hand, it runs without its children
    child, parent = flow()
    queue.promote(parent.id or 0)
    assert state(parent) == "inactive"
    end(queue, child, "failed")
    assert state(parent) == "inactive"
    # Suspended, it stays so when its children end; resumed before, it waits for them
    child, parent = flow()
    queue.pause_job(parent.id or 0)
    queue.resume_job(parent.id or 0)
    assert state(parent) == "delayed" and parent.promote_at == WAIT_UNTIL_MS
    queue.pause_job(parent.id or 0)
    end(queue, child, "complete")
    assert state(parent) == "delayed"
    queue.resume_job(parent.id or 0)
    assert state(parent) == "inactive"
    # Changed, it goes on waiting
    child, parent = flow()
    parent.data = {"new": 1}
    parent.delay(10).save()
    queue.set_priority(parent.id or 0, "high")
    assert state(parent) == "delayed" and parent.promote_at == WAIT_UNTIL_MS
    # Cancelled or removed, it leaves its children alone
    parent.cancel()
    end(queue, child, "complete")
    assert state(parent) == "failed"
    child, parent = flow()
    parent.remove()
    end(queue, child, "complete")
    assert state(child) == "complete"


def test_a_child_that_is_removed_as_it_completes_counts(queue: kue.Queue) -> None:
    queue.process("c", lambda job: 1)
    queue.process("p", lambda job: [list(job.child_results()), list(job.children())])
    job = queue.create("p").after(queue.create("c").remove_on_complete()).save()
    assert job.wait(10) == [[], []] and job.children_ended == 1


def test_test_mode_collects_all_jobs_of_a_flow(queue: kue.Queue) -> None:
    queue.test_mode.enter()
    queue.create("p").after([queue.create("c"), queue.create("c")]).save()
    assert [job.type for job in queue.test_mode.jobs] == ["p", "c", "c"]
    queue.test_mode.exit()


@pytest.mark.slow
def test_ten_thousand_children_are_counted_and_read_in_pages(queue: kue.Queue) -> None:
    children = [queue.create("c", {"n": n}) for n in range(10_000)]
    parent = queue.create("p").after(children).save()
    queue.process("c", 50, lambda job: job.data["n"])
    queue.process("p", lambda job: sum(result for _, result in job.child_results()))
    assert parent.wait(60) == sum(range(10_000))


@pytest.mark.parametrize("verb", ["cancel", "remove"])
def test_a_whole_flow_is_cancelled_or_removed_in_one_step(queue: kue.Queue, verb: str) -> None:
    leaf, shared, done = queue.create("leaf"), queue.create("shared"), queue.create("done")
    middle = queue.create("middle").after([leaf, done])
    top = queue.create("top").after([middle, shared]).save()
    other = queue.create("other").after(shared).save()
    end(queue, done, "complete")
    getattr(queue, verb)(top.id, children=True)
    if verb == "cancel":
        assert [state(job) for job in (top, middle, leaf)] == ["failed"] * 3 and state(done) == "complete"
    else:
        assert queue.get_many([job.id or 0 for job in (top, middle, leaf, done)]) == []
    assert state(shared) == "inactive" and state(other) == "delayed"


def test_children_that_end_without_our_scripts_are_counted(queue: kue.Queue, redis_client: redis.Redis) -> None:
    gone, done, bad = (queue.create("c") for _ in range(3))
    first = queue.create("p").after([gone, done], on_failure="ignore").save()
    second = queue.create("p").after([bad]).save()
    # As Node Kue does it
    for job, new in ((gone, None), (done, "complete"), (bad, "failed")):
        member = f"{len(str(job.id)):02d}|{job.id}"
        for key in ("q:jobs:inactive", "q:jobs:c:inactive"):
            redis_client.zrem(key, member)
        if new is None:
            redis_client.delete(f"q:job:{job.id}")
        else:
            redis_client.hset(f"q:job:{job.id}", mapping={"state": new, "error": "at Node"})
            redis_client.zadd(f"q:jobs:{new}", {member: 0})
            redis_client.zadd(f"q:jobs:c:{new}", {member: 0})
    ran: list[Any] = []
    queue.process("p", lambda job: ran.append(job.id))
    wait_until(lambda: ran == [first.id])
    assert state(second) == "failed" and "failed: at Node" in str(second.error)


def test_a_unique_child_that_is_there_already_is_waited_for(queue: kue.Queue, redis_client: redis.Redis) -> None:
    known = queue.create("c", {"n": 1}).unique().save()
    children = [queue.create("c", {"n": n}).unique() for n in (0, 1, 2, 2)]
    parent = queue.create("p").after(children).save()
    # One was there, one is in the flow twice
    assert [child.duplicate for child in children] == [False, True, False, True]
    assert children[1].id == known.id and children[2].id == children[3].id
    assert {child.id for child in parent.children()} == {known.id, children[0].id, children[2].id}
    assert known.refresh().parents == [parent.id] and parent.refresh().children_total == 3
    end(queue, children[0], "complete")
    end(queue, children[2], "complete")
    assert state(parent) == "delayed"
    end(queue, known, "complete")
    assert state(parent) == "inactive"
    # The new ones are unique too, until they end
    assert not queue.create("c", {"n": 0}).unique().save().duplicate
    assert [str(each) for each in doctor.examine(queue, settle_s=0, tokens_settle_s=0)] == []


def test_of_a_unique_parent_that_is_there_already_nothing_is_created(queue: kue.Queue) -> None:
    def report() -> kue.Job:
        return queue.create("report", 1).unique().after([queue.create("part", n) for n in range(3)])

    first, shared = report().save(), queue.create("part", "shared")
    again = report()
    top = queue.create("top").after([again, queue.create("other").after(shared), shared]).save()
    assert again.duplicate and again.id == first.id and again.state == "delayed"
    assert sorted(job.type for job in top.children()) == ["other", "part", "report"]
    alone = report().save()
    assert alone.duplicate and alone.id == first.id
    for job in [*first.children(), shared]:
        end(queue, job, "complete")
    assert state(first) == "inactive" and state(top) == "delayed"


def test_a_flow_with_a_job_to_be_rejected_is_not_created(queue: kue.Queue, redis_client: redis.Redis) -> None:
    known = queue.create("c").unique().save()
    before = redis_client.dbsize()
    with pytest.raises(kue.DuplicateJob) as found:
        queue.create("p").after([queue.create("d"), queue.create("c").unique(on_duplicate="reject")]).save()
    assert found.value.job_id == known.id and redis_client.dbsize() == before
    twins = [queue.create("e").unique(on_duplicate="reject") for _ in "12"]
    with pytest.raises(kue.InvalidJob, match="in the flow twice"):
        queue.create("p").after(twins).save()


def test_a_running_job_never_waits_for_itself_by_a_unique_child(queue: kue.Queue) -> None:
    errors: list[str] = []

    @queue.process("p", 2)
    def parent(job: kue.Job) -> None:
        for wanted in (queue.create("top", 1).unique(), queue.create("p", 1).unique()):
            try:
                job.add_children([queue.create("c"), wanted])
            except kue.InvalidJob as exc:
                errors.append(str(exc))

    top = queue.create("top", 1).unique().after(queue.create("p", 1).unique()).save()
    wait_until(lambda: len(errors) == 2, 10)
    assert all("would wait for itself" in error for error in errors)
    wait_until(lambda: state(top) == "inactive", 10)


def test_a_child_whose_claim_outlives_it_needs_no_waiting(queue: kue.Queue) -> None:
    queue.process("c", 1, lambda job: None)
    gone = queue.create("c").unique(for_ms=60_000).remove_on_complete().save()
    wait_until(lambda: queue.complete_count() == 0 and queue.inactive_count() == 0 and queue.active_count() == 0, 10)
    child = queue.create("c").unique(for_ms=60_000)
    parent = queue.create("p").after(child).save()
    assert child.duplicate and child.id == gone.id
    wait_until(lambda: state(parent) == "inactive", 10)


def test_a_flow_with_duplicates_is_created_once_when_its_answer_was_lost(
    queue: kue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = queue.create("c", 1).unique().save()
    scripts = queue.session.scripts
    create_flow = scripts.create_flow

    def lose_the_answer(*args: Any, **options: Any) -> Any:
        create_flow(*args, **options)
        raise kue.QueueUnavailable("the answer was lost")

    children = [queue.create("c", n).unique() for n in range(3)]
    job = queue.create("p").after(children)
    with monkeypatch.context() as faulty, pytest.raises(kue.QueueUnavailable):
        faulty.setattr(scripts, "create_flow", lose_the_answer)
        job.save()
    job.save()
    assert [job.id, *(each.id for each in children)] == [2, 3, known.id, 4]
    assert [each.duplicate for each in children] == [False, True, False]
    assert (queue.delayed_count(), queue.inactive_count()) == (1, 3)


def test_a_copy_of_a_parent_waits_for_the_same_children_as_they_are_now(queue: kue.Queue) -> None:
    # Given a parent that ran although a child had failed, which is retried then
    good, bad, gone = (queue.create("c", n) for n in range(3))
    parent = queue.create("p", "data").after([good, bad, gone], on_failure="ignore").save()
    for child, how in ((good, "complete"), (bad, "failed"), (gone, "removed")):
        end(queue, child, how)
    end(queue, parent, "complete")
    queue.retry(bad.id or 0)
    # When the parent is run as new
    copy = queue.run_as_new(parent.id or 0)
    # Then it waits for what runs again
    assert state(copy) == "delayed" and copy.promote_at == WAIT_UNTIL_MS and copy.data == "data"
    assert [child.id for child in copy.children()] == [good.id, bad.id]
    end(queue, bad, "complete")
    assert state(copy) == "inactive" and copy.children_ended == 2
    # And for nothing, if all have ended
    assert queue.run_as_new(parent.id or 0).state == "inactive"
