"""The two sides of a comparison behind one set of methods: all Node, or all Python.

Job options are spelled as in Python (``remove_on_complete``); tests/node/behavior.js describes a behavior script.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import kue
from tests.interop.harness import behavior
from tests.interop.harness.node import Node

#: Node Kue's names of the options that are spelled otherwise in Python.
NODE_NAMES = {"remove_on_complete": "removeOnComplete", "search_keys": "searchKeys"}


def node_options(options: dict[str, Any]) -> dict[str, Any]:
    return {NODE_NAMES.get(name, name): value for name, value in options.items()}


class Side(Protocol):
    """What a scenario can do. Every method returns when its work in Redis is over."""

    name: str

    def create(self, job_type: str, data: Any, **options: Any) -> int: ...
    def work(self, job_type: str, script: behavior.Script, concurrency: int = 1) -> None: ...
    def remove(self, job_id: int) -> None: ...
    def set_state(self, job_id: int, state: str) -> None: ...
    def set_priority(self, job_id: int, priority: float) -> None: ...
    def promote(self, job_id: int) -> None: ...
    def save(self, job_id: int) -> None: ...
    def close(self) -> None: ...


class NodeSide:
    """Everything done by Node Kue, in one Node process."""

    name = "Node"

    def __init__(self, redis_url: str, node: Node | None = None, prefix: str = "q", **options: Any) -> None:
        """``node``: a process already started, with no queue yet."""
        self.node = (node or Node()).open(redis_url, prefix, **options)

    def create(self, job_type: str, data: Any, **options: Any) -> int:
        return int(self.node.call("create", job_type, data, node_options(options)))

    def work(self, job_type: str, script: behavior.Script, concurrency: int = 1) -> None:
        self.node.call("process", job_type, script, concurrency)

    def remove(self, job_id: int) -> None:
        self.node.call("remove", job_id)

    def set_state(self, job_id: int, state: str) -> None:
        self.node.call("setState", job_id, state)

    def set_priority(self, job_id: int, priority: float) -> None:
        self.node.call("setPriority", job_id, priority)

    def promote(self, job_id: int) -> None:
        """Node Kue has no call for it; what its timer does to a due job is an event and a change of state."""
        self.node.call("setState", job_id, "inactive")

    def save(self, job_id: int) -> None:
        self.node.call("save", job_id)

    def close(self) -> None:
        self.node.close()


class PythonSide:
    """Everything done by this project's library, in threads of this process."""

    name = "Python"

    def __init__(self, redis_url: str, prefix: str = "q", **options: Any) -> None:
        self.queue = kue.create_queue(redis_url, prefix=prefix, **options)
        #: (job id, attempt) of each run of a handler, in order.
        self.ran: list[tuple[int, int]] = []
        self._let_go = threading.Event()

    def create(self, job_type: str, data: Any, **options: Any) -> int:
        job = self.queue.create(job_type, data, **options).save()
        assert isinstance(job.id, int)
        return job.id

    def work(self, job_type: str, script: behavior.Script, concurrency: int = 1) -> None:
        def handler(job: Any, done: Any) -> None:
            self.ran.append((job.id, (job.attempts_made or 0) + 1))
            behavior.run(behavior.attempt_of(script, job), job, done, self._let_go)

        self.queue.process(job_type, concurrency, handler)

    def remove(self, job_id: int) -> None:
        self.queue.remove(job_id)

    def set_state(self, job_id: int, state: str) -> None:
        self.queue.set_state(job_id, state)

    def set_priority(self, job_id: int, priority: float) -> None:
        self.queue.set_priority(job_id, priority)

    def promote(self, job_id: int) -> None:
        self.queue.promote(job_id)

    def save(self, job_id: int) -> None:
        self.queue.get(job_id).save()

    def close(self) -> None:
        self._let_go.set()
        self.queue.shutdown(timeout_s=2)


class MixedSide:
    """One side makes the jobs, the other works them, and changes them afterwards."""

    def __init__(self, producer: Side, worker: Side) -> None:
        self.producer, self.worker = producer, worker
        self.name = f"{producer.name} producer, {worker.name} worker"
        self.create = producer.create
        self.work = worker.work
        self.remove, self.set_state, self.set_priority = worker.remove, worker.set_state, worker.set_priority
        self.promote, self.save = worker.promote, worker.save

    def close(self) -> None:
        self.producer.close()
        self.worker.close()
