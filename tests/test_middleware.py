"""Middleware around the creation and execution of jobs, in the order in which it was added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kue
from kue.middleware import acompose, compose
from kue.testing import collected
from tests.support.loops import run


class Noted(kue.Middleware):
    """Notes what goes through it."""

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.name, self.notes = name, notes

    def create(self, job: kue.Job, call_next: Callable[[kue.Job], None]) -> None:
        self.notes.append((self.name, "create", job.type, job.id))
        call_next(job)
        self.notes.append((self.name, "created", job.id))

    def execute(self, job: kue.Job, call_next: Callable[[kue.Job], Any]) -> Any:
        self.notes.append((self.name, "execute", job.id))
        try:
            result = call_next(job)
        except BaseException as exc:
            self.notes.append((self.name, "raised", repr(exc)))
            raise
        self.notes.append((self.name, "returned", result))
        return result

    async def aexecute(self, job: Any, call_next: Callable[[Any], Any]) -> Any:
        self.notes.append((self.name, "aexecute"))
        result = await call_next(job)
        self.notes.append((self.name, "areturned", result))
        return result


class Nothing(kue.Middleware):
    """Hands everything on."""


class Refuse(kue.Middleware):
    def create(self, job: kue.Job, call_next: Callable[[kue.Job], None]) -> None:
        if job.data.get("tenant") is None:
            raise PermissionError("a job needs a tenant")
        call_next(job)


def test_the_first_is_the_outermost(queue: kue.Queue) -> None:
    # Given two, and one that only hands on
    notes: list[Any] = []
    assert queue.use(Noted("a", notes)).use(Nothing()).use(Noted("b", notes)) is queue
    # When a job is saved, and run
    job = queue.create("t").save()
    assert notes == [("a", "create", "t", None), ("b", "create", "t", None), ("b", "created", 1), ("a", "created", 1)]
    notes.clear()
    queue.process("t", lambda job: 5)
    assert job.wait(10) == 5
    assert notes == [("a", "execute", 1), ("b", "execute", 1), ("b", "returned", 5), ("a", "returned", 5)]


def test_data_and_options_may_be_changed_before_a_job_is_saved(queue: kue.Queue) -> None:
    class Tenant(kue.Middleware):
        def create(self, job: kue.Job, call_next: Callable[[kue.Job], None]) -> None:
            job.data["tenant"] = "acme"
            call_next(job.priority("high"))

    @queue.task()
    def task(n: int, tenant: str = "") -> None: ...

    queue.use(Tenant())
    queue.create("t", {}).save()
    queue.create_many([{"type": "t", "data": {"n": n}} for n in range(2)])
    queue.save_unique(queue.create("t", {"url": "u"}), "url")
    task.create(1).save()
    task.create_many([{"n": 2}])
    jobs = [job for job in queue.get_many(range(1, 7)) if job]
    assert len(jobs) == 6 and all(job.data["tenant"] == "acme" and job.options.priority == -10 for job in jobs)


def test_every_job_of_a_flow_goes_through(queue: kue.Queue) -> None:
    notes: list[Any] = []
    queue.use(Noted("a", notes))
    children = [queue.create("child"), queue.create("child")]
    queue.create("parent").after(children).save()
    assert [note[2] for note in notes if note[1] == "create"] == ["parent", "child", "child"]
    notes.clear()

    def parent(job: kue.Job) -> Any:
        if next(job.children(), None) is None:
            job.add_children(queue.create("late"))
            return kue.WAIT
        return "done"

    queue.process("grower", parent)
    queue.process("late", print)
    assert queue.create("grower").save().wait(10) == "done"
    assert [note[2] for note in notes if note[1] == "create"] == ["grower", "late"]


def test_a_job_may_be_refused_and_none_of_its_batch_is_saved(queue: kue.Queue) -> None:
    queue.use(Refuse())
    for save in (
        lambda: queue.create("t", {}).save(),
        lambda: queue.create_many([{"type": "t", "data": {"tenant": "a"}}, {"type": "t", "data": {}}]),
        lambda: queue.save_unique(queue.create("t", {"url": "u"}), "url"),
    ):
        with pytest.raises(PermissionError, match="needs a tenant"):
            save()
    assert queue.card("inactive") == 0
    # What was saved already may be saved again
    job = queue.create("t", {"tenant": "a"}).save()
    job.data = {}
    job.save()


def test_several_jobs_are_handed_on_before_all_are_saved_together(queue: kue.Queue) -> None:
    notes: list[Any] = []
    queue.use(Noted("a", notes))
    made = queue.create_many([{"type": "x"}, {"type": "y"}])
    assert notes == [
        ("a", "create", "x", None), ("a", "created", None), ("a", "create", "y", None), ("a", "created", None),
    ]  # fmt: skip
    assert [job.id for job in made] == [1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_is_not_handed_on_is_an_error(queue: kue.Queue, count: int) -> None:
    class Forgets(kue.Middleware):
        def create(self, job: kue.Job, call_next: Callable[[kue.Job], None]) -> None:
            pass

    queue.use(Forgets())
    with pytest.raises(kue.InvalidJob, match="did not pass on <Job t, not saved>: it must call call_next"):
        queue.create_many([{"type": "t"}] * count)
    assert queue.card("inactive") == 0


def test_what_a_handler_raises_is_seen_and_retried_as_ever(queue: kue.Queue) -> None:
    notes: list[Any] = []
    queue.use(Noted("a", notes))

    def fail(job: kue.Job) -> None:
        raise ValueError("no") if job.data == "retried" else kue.UnrecoverableError("never")

    queue.process("t", fail)
    with pytest.raises(kue.JobFailed, match="never"):
        queue.create("t").attempts(5).save().wait(10)
    job = queue.create("t", "retried").attempts(2).save()
    with pytest.raises(kue.JobFailed, match="no"):
        job.wait(10)
    raised = [note[2] for note in notes if note[1] == "raised"]
    assert raised == ["UnrecoverableError('never')", "ValueError('no')", "ValueError('no')"]
    job.refresh()
    # And the stack has the handler and the middleware, but not what calls them
    stack = job.attempt_log[0]["stack"]
    assert "kue/middleware.py" not in stack and "kue/worker" not in stack and "in fail" in stack


def test_an_execution_may_be_answered_without_the_handler_or_with_another_result(queue: kue.Queue) -> None:
    class Doubled(kue.Middleware):
        def execute(self, job: kue.Job, call_next: Callable[[kue.Job], Any]) -> Any:
            return "cached" if job.data == "known" else call_next(job) * 2

    queue.use(Doubled())
    queue.process("t", lambda job: 21)
    assert queue.create("t", "known").save().wait(10) == "cached"
    assert queue.create("t").save().wait(10) == 42


def test_handlers_of_every_form_are_inside(queue: kue.Queue) -> None:
    notes: list[Any] = []
    queue.use(Noted("a", notes))

    @queue.task()
    def task(n: int) -> int:
        return n

    def with_done(job: kue.Job, done: Any) -> None:
        done(None, job.data)

    def with_ctx(job: kue.Job, ctx: Any, done: Any) -> None:
        done("not so")

    queue.work()
    queue.process("done", with_done)
    queue.process("ctx", with_ctx)
    assert task.create(7).save().wait(10) == 7
    assert queue.create("done", 8).save().wait(10) == 8
    with pytest.raises(kue.JobFailed, match="not so"):
        queue.create("ctx").save().wait(10)
    assert [note[2] for note in notes if note[1] == "returned"] == [7, 8]
    assert sum(note[1] == "raised" for note in notes) == 1


def test_one_given_later_is_around_the_next_attempt(queue: kue.Queue) -> None:
    queue.process("t", lambda job: 1)
    assert queue.create("t").save().wait(10) == 1
    notes: list[Any] = []
    queue.use(Noted("a", notes))
    assert queue.create("t").save().wait(10) == 1
    assert ("a", "returned", 1) in notes


def test_collected_jobs_have_gone_through_it() -> None:
    queue = kue.create_queue("redis://127.0.0.1:1/0").use(Refuse())
    with collected(queue) as jobs:
        queue.create("t", {"tenant": "a"}).save()
        with pytest.raises(PermissionError):
            queue.create("t", {}).save()
    assert [job.data for job in jobs] == [{"tenant": "a"}]


def test_it_costs_nothing_when_unused() -> None:
    def handler(job: Any) -> None: ...

    async def async_handler(job: Any) -> None: ...

    assert compose(handler, []) is handler and acompose(async_handler, []) is async_handler


def test_async_handlers_have_their_own_methods() -> None:
    notes: list[Any] = []

    async def handler(job: Any) -> str:
        return "done"

    made = acompose(handler, [Noted("a", notes), Nothing(), Noted("b", notes)])
    assert run(made(None)) == "done"  # type: ignore[arg-type]
    assert notes == [("a", "aexecute"), ("b", "aexecute"), ("b", "areturned", "done"), ("a", "areturned", "done")]


@pytest.mark.parametrize("wrong", [5, None, Refuse, object()])
def test_an_object_that_is_not_middleware_is_rejected(queue: kue.Queue, wrong: Any) -> None:
    with pytest.raises(kue.InvalidJob, match=r"takes an instance of a subclass of kue\.Middleware, not "):
        queue.use(wrong)
