"""Tasks: created by calls, checked on both sides, run by the same function."""

from __future__ import annotations

import enum
import inspect
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

import kue
from kue.testing import collected
from tests.support import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Picture:
    url: str
    taken: datetime | None = None


class Order(pydantic.BaseModel):
    number: int
    picture: Picture


class Tasks:
    """What a module of tasks would have at its top."""

    def __init__(self, queue: kue.Queue) -> None:
        self.runs: list[str] = []

        @queue.task(name="resize", attempts=3, ttl=timedelta(minutes=1), priority="high", concurrency=2)
        def resize(url: str, width: int = 800, *, size: Size = Size.LARGE) -> str:
            """Make a picture smaller."""
            self.runs.append(url)
            return f"{url} {width} {size.name}"

        @queue.task()
        def order(job: kue.Job, order: Order, wait: timedelta) -> Picture:
            job.log("order %d", order.number)
            return Picture(order.picture.url, datetime(2026, 1, 2) + wait)

        @queue.task("lying", attempts=3)
        def lying(n: int) -> int:
            self.runs.append("lying")
            return "text"  # type: ignore[return-value]

        self.resize, self.order, self.lying = resize, order, lying


@pytest.fixture
def tasks(queue: kue.Queue) -> Tasks:
    return Tasks(queue)


# Calling and creating


def test_a_call_is_a_call_of_the_function(queue: kue.Queue, tasks: Tasks) -> None:
    assert tasks.resize("u", width=5) == "u 5 LARGE"
    assert queue.counts() == dict.fromkeys(queue.counts(), 0)
    assert tasks.resize.__doc__ == "Make a picture smaller." and tasks.resize.__name__ == "resize"
    assert list(inspect.signature(tasks.resize).parameters) == ["url", "width", "size"]


def test_a_job_has_the_arguments_as_its_data_and_the_options_of_the_task(queue: kue.Queue, tasks: Tasks) -> None:
    job = tasks.resize.create("u", size=Size.SMALL).attempts(5).save()
    saved = queue.get(job.id or 0)
    assert (saved.type, saved.data) == ("resize", {"url": "u", "size": "small"})
    assert (saved.options.attempts, saved.options.ttl_ms, saved.options.priority) == (5, 60_000, -10)


def test_the_worker_calls_the_function_and_wait_gives_the_declared_type(queue: kue.Queue, tasks: Tasks) -> None:
    queue.work()
    assert tasks.resize.create(url="u", size=Size.SMALL).save().wait(10) == "u 800 SMALL"
    # Objects, and the running job, which is no argument
    job = tasks.order.create(Order(number=7, picture=Picture("p")), timedelta(hours=1)).save()
    assert job.data == {"order": {"number": 7, "picture": {"url": "p", "taken": None}}, "wait": "PT3600S"}
    assert job.wait(10) == Picture("p", datetime(2026, 1, 2, 1))
    assert queue.log(job.id or 0) == ["order 7"]
    assert job.refresh().result == {"url": "p", "taken": "2026-01-02T01:00:00"}


def test_a_task_may_be_unique_by_its_arguments(queue: kue.Queue) -> None:
    @queue.task(unique=True)
    def index(url: str) -> None: ...

    first, second, other = (index.create(url).save() for url in ("u", "u", "v"))
    assert (first.id, second.id, second.duplicate, other.id) == (1, 1, True, 2)


def test_many_are_saved_in_order_and_checked_before_the_first(queue: kue.Queue, tasks: Tasks) -> None:
    made = tasks.resize.create_many([{"url": "a"}, tasks.resize.create("b").priority("low"), {"url": "c", "width": 1}])
    assert [job.id for job in made] == [1, 2, 3]
    assert [job.data for job in queue.get_many([1, 2, 3]) if job] == [
        {"url": "a"}, {"url": "b"}, {"url": "c", "width": 1},
    ]  # fmt: skip
    with pytest.raises(kue.InvalidJob, match='task "resize": parameter "url" is missing'):
        tasks.resize.create_many([{"url": "d"}, {}])
    with pytest.raises(kue.InvalidJob, match='task "resize": create_many takes mappings of arguments, not 5'):
        tasks.resize.create_many([5])  # type: ignore[list-item]
    assert queue.card("inactive") == 3


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, 'parameter "url" is missing'),
        (("u",), {"hight": 5}, 'there is no parameter "hight"; the parameters are url, width, size'),
        (("u", "5"), {}, 'parameter "width": expected int, got str'),
        ((5,), {}, 'parameter "url": expected str, got int'),
        (("u", 1, Size.SMALL), {}, "it takes 2 positional arguments, not 3"),
        (("u",), {"url": "v"}, 'parameter "url" is given twice'),
        (("u",), {"size": "huge"}, "parameter \"size\": invalid enum value 'huge'"),
    ],
)
def test_a_wrong_argument_is_named_when_the_job_is_created(
    tasks: Tasks, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    create: Any = tasks.resize.create
    with pytest.raises(kue.InvalidJob) as caught:
        create(*args, **kwargs)
    assert str(caught.value) == f'task "resize": {said}'


# The worker's side


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"width": 5}, 'task "resize": parameter "url" is missing'),
        ({"url": "u", "hight": 5}, 'task "resize": there is no parameter "hight"; the parameters are url, width, size'),
        ({"url": 5}, 'task "resize": parameter "url": expected str, got int'),
        (["u"], 'task "resize": the data must be a JSON object of the arguments, not list'),
    ],
    ids=str,
)
def test_invalid_data_of_another_program_fails_for_good_in_one_sentence(
    queue: kue.Queue, tasks: Tasks, data: Any, said: str
) -> None:
    queue.work()
    job = queue.create("resize", data).attempts(5).save()
    with pytest.raises(kue.JobFailed) as caught:
        job.wait(10)
    assert caught.value.error == said
    assert job.refresh().error == said
    assert job.attempts_made == 1 and tasks.runs == []


def test_a_title_beside_the_arguments_is_none_of_them(queue: kue.Queue, tasks: Tasks) -> None:
    queue.work()
    assert tasks.resize.create("u").title("A picture").save().wait(10) == "u 800 LARGE"


def test_a_result_of_another_type_fails_for_good(queue: kue.Queue, tasks: Tasks) -> None:
    queue.work()
    with pytest.raises(kue.JobFailed, match='task "lying": result: expected int, got str'):
        tasks.lying.create(1).save().wait(10)
    assert tasks.runs == ["lying"]


def test_what_the_function_raises_is_an_ordinary_failure(queue: kue.Queue) -> None:
    @queue.task(attempts=2)
    def fail(n: int) -> None:
        raise ValueError(f"no {n}")

    queue.work()
    job = fail.create(3).save()
    with pytest.raises(kue.JobFailed, match="no 3"):
        job.wait(10)
    error = job.refresh().error or ""
    assert job.attempts_made == 2 and error.startswith("ValueError: no 3\n")
    # Its stack is the function's alone
    assert error.count("File ") == 1 and "in fail" in error


def test_a_foreign_result_is_refused_by_wait(queue: kue.Queue, tasks: Tasks) -> None:
    queue.process("resize", lambda job: 5)
    with pytest.raises(kue.InvalidJob, match='task "resize": result: expected str, got int'):
        tasks.resize.create("u").save().wait(10)


def test_a_task_waits_for_jobs_of_other_tasks(queue: kue.Queue) -> None:
    @queue.task()
    def page(number: int) -> int:
        return number * 10

    @queue.task(attempts=1)
    def book(job: kue.Job, pages: int) -> list[int]:
        results = [result for _, result in job.child_results()]
        if not results:
            job.add_children([page.create(number) for number in range(pages)])
            return kue.WAIT
        return results

    queue.work()
    assert book.create(3).save().wait(10) == [0, 10, 20]


def test_all_kinds_of_parameters_but_one_arrive(queue: kue.Queue) -> None:
    @queue.task()
    def kinds(a: int, /, b: int = 2, *, c: int = 3, **others: int) -> list[Any]:
        return [a, b, c, others]

    queue.work()
    assert kinds.create(1).save().wait(10) == [1, 2, 3, {}]
    assert kinds.create(1, 5, c=6, d=7).save().wait(10) == [1, 5, 6, {"d": 7}]
    with pytest.raises(kue.InvalidJob, match='parameter "e": expected int, got str'):
        kinds.create(1, e="x")  # type: ignore[arg-type]


# Declaring


def test_a_task_only_declares(queue: kue.Queue, tasks: Tasks) -> None:
    assert list(queue.tasks) == ["resize", "order", "lying"] and queue.tasks["resize"] is tasks.resize
    assert queue.processing() == {}
    # Until work() starts them, once
    queue.work("resize")
    queue.work(["resize"])
    assert queue.processing() == {"resize": 2}
    queue.work()
    assert queue.processing() == {"resize": 2, "order": 1, "lying": 1}


DECLARES = f"""
import threading
import kue
queue = kue.create_queue("redis://127.0.0.1:{free_port()}")

@queue.task()
def resize(url: str) -> str:
    return url

job = resize.create("u")
print(threading.active_count(), queue.processing(), resize("v"))
"""


def test_a_module_of_tasks_can_be_imported_anywhere() -> None:
    # Given no Redis, importing starts no thread and reaches for nothing
    ended = subprocess.run([sys.executable, "-c", DECLARES], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("1 {} v\n", "")


def test_work_names_what_is_not_a_task(queue: kue.Queue, tasks: Tasks) -> None:
    with pytest.raises(kue.InvalidJob, match="there is no task 'rezise' on this queue; its tasks are resize, order"):
        queue.work(only=["order", "rezise"])
    assert queue.processing() == {}


def test_two_tasks_of_one_name_are_refused(queue: kue.Queue, tasks: Tasks) -> None:
    with pytest.raises(kue.InvalidJob) as caught:

        @queue.task("resize")
        def other(n: int) -> None: ...

    said = str(caught.value)
    assert said.startswith('a task "resize" is already declared on this queue, by ')
    assert "Tasks.__init__.<locals>.resize" in said and "<locals>.other another name" in said


def test_what_cannot_be_a_task_is_refused_where_it_is_declared(queue: kue.Queue) -> None:
    def declare(fn: Any, **options: Any) -> None:
        queue.task(**options)(fn)

    def with_path(where: object) -> None: ...
    def with_args(*names: str) -> None: ...
    def with_job_later(n: int, job: kue.Job) -> None: ...
    def fine() -> None: ...

    for fn, options, said in [
        (with_path, {}, 'task "with_path": parameter "where": object has no JSON form'),
        (with_args, {}, 'task "with_args": parameter "*names": arguments need names in the job\'s data'),
        (with_job_later, {}, 'task "with_job_later": parameter "job": the job must be the first parameter'),
        (fine, {"attempts": -1}, "attempts must be a whole number"),
        (fine, {"concurrency": 0}, "concurrency must be a whole number"),
        (fine, {"ttl": "long"}, "ttl must be a number of milliseconds"),
        (fine, {"backoff": "unknown"}, "no backoff named 'unknown'"),
        (fine, {"atempts": 3}, "a task has no option 'atempts'"),
        (fine, {"name": ""}, "a job's type must be a non-empty string"),
    ]:
        with pytest.raises(kue.InvalidJob) as caught:
            declare(fn, **options)  # type: ignore[arg-type]
        assert said in str(caught.value)
    with pytest.raises(kue.InvalidJob, match="with parentheses"):
        queue.task(fine)  # type: ignore[arg-type]
    assert queue.tasks == {}


def test_an_annotation_may_name_what_comes_later(queue: kue.Queue) -> None:
    def later(value: Later) -> None: ...
    def never(path: Path) -> None: ...

    late, lost = queue.task()(later), queue.task()(never)
    assert late.create(Later(1)).data == {"value": {"n": 1}}
    with pytest.raises(kue.InvalidJob, match='task "never": an annotation cannot be resolved: name \'Path\''):
        lost.create("x")  # type: ignore[arg-type]


@dataclass
class Later:
    n: int


# Handlers, as other parts of the library see them


def test_a_handler_takes_the_job_and_is_found_under_the_name_of_its_function(tasks: Tasks) -> None:
    handler = tasks.order.handler
    assert list(inspect.signature(handler).parameters) == ["job"]
    assert handler.__module__ == __name__ and handler.__qualname__ == "Tasks.__init__.<locals>.order"


def test_the_handler_of_a_coroutine_function_is_one(queue: kue.Queue) -> None:
    @queue.task()
    async def fetch(url: str) -> int:
        return len(url)

    assert inspect.iscoroutinefunction(fetch.handler)
    coroutine = fetch.handler(queue.create("fetch", {"url": "four"}))
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == 4


def test_options_of_the_process_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from kue.tasks.registry import TaskRegistry

    given: list[Any] = []
    queue = kue.create_queue("redis://127.0.0.1:1/0")
    registry = TaskRegistry(queue._store, lambda *args, **options: given.append((args, options)), ["isolation"])
    task = registry.declare("crunch", 4, {}, {"isolation": "process"})(lambda: None)
    registry.work(None)
    assert given == [(("crunch", 4, task.handler), {"isolation": "process"})]


# In tests of programs


def test_jobs_of_tasks_are_collected_and_their_handlers_postponed(queue: kue.Queue, tasks: Tasks) -> None:
    with collected(queue) as jobs:
        tasks.resize.create("u").save()
        tasks.resize.create_many([{"url": "v"}])
        queue.work()
        assert [(job.type, job.data) for job in jobs] == [("resize", {"url": "u"}), ("resize", {"url": "v"})]
        assert tasks.resize.handler(jobs[0]) == "u 800 LARGE"
        assert queue.processing() == {}
    assert queue.processing() == {"resize": 2, "order": 1, "lying": 1}


def test_tasks_of_one_queue_work_from_many_threads_once(queue: kue.Queue, tasks: Tasks) -> None:
    starters = [threading.Thread(target=queue.work) for _ in range(8)]
    for each in starters:
        each.start()
    for each in starters:
        each.join()
    assert queue.processing() == {"resize": 2, "order": 1, "lying": 1}
