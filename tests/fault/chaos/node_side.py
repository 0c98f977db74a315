"""Node Kue in the chaos run: it creates jobs, works on some, and its worker is killed once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import redis

import kue
from kue import doctor
from tests.fault.chaos.check import Execution, read_jobs
from tests.fault.chaos.worker import TYPES
from tests.interop.harness.node import Node

NODE_SLOTS = 4


def with_plan(data: dict[str, Any]) -> dict[str, Any]:
    """Add what tells a Node worker to do as ours do with that data."""
    sleep = ["sleep", data["ms"]]
    failures = [[sleep, ["fail", f"failure {n + 1}"]] for n in range(data["fail"])]
    return {**data, "plan": [*failures, [sleep, ["return", {"mark": data["mark"]}]]]}


class NodeSide:
    """A Node producer, and a Node worker that can be killed and replaced."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._producer = Node().open(url)
        self._workers: list[Node] = []
        self._start_worker()
        #: Process ids of killed workers.
        self.killed: list[int] = []

    def _start_worker(self) -> None:
        self._workers.append(Node().open(self._url))
        for name in TYPES:
            self._workers[-1].call("process", name, None, NODE_SLOTS)

    def create(self, jobs: Sequence[kue.Job]) -> None:
        """Save jobs as Node does."""
        made = []
        for job in jobs:
            options: dict[str, Any] = {"priority": job.options.priority}
            if job.options.attempts > 1:
                options["attempts"] = job.options.attempts
            if job.options.backoff:
                options["backoff"] = job.options.backoff
            if job.options.delay_ms:
                options["delay"] = job.options.delay_ms
            made.append([job.type, job.data, options])
        self._producer.call("createMany", made)

    def kill_worker(self) -> None:
        self.killed.append(self._workers[-1].pid)
        self._workers[-1].kill()
        self._start_worker()

    def stop(self) -> None:
        self._workers[-1].call("shutdown", 5000)
        for each in (self._workers[-1], self._producer):
            each.close()

    def clear_away(self, client: redis.Redis) -> set[int]:
        """Take away what the killed workers had in hand, which Node cannot recover; return the marks."""
        queue = kue.create_queue(self._url)
        exempt = set()
        for job_id, job in read_jobs(client).items():
            owner = job.get("workerId", "")
            # Node counts the last attempt in a step after the completion.
            is_counted = int(job.get("attempts", 0)) >= int(job.get("max_attempts", 1))
            is_through = job["state"] in ("inactive", "delayed") or (job["state"] == "complete" and is_counted)
            if not is_through and any(f":{pid}:" in owner for pid in self.killed):
                exempt.add(json.loads(job["data"])["mark"])
                queue.remove(int(job_id))
        for _ in doctor.examine(queue, fix=True, settle_s=0.3):
            pass  # jobs that they had half taken
        queue.close()
        return exempt

    def executions(self, jobs: Mapping[str, Mapping[str, str]]) -> dict[int, list[Execution]]:
        """Return what the Node workers ran, by mark; when an attempt ended is not known."""
        found: dict[int, list[Execution]] = defaultdict(list)
        for worker in self._workers:
            for note in worker.noted("ran"):
                job = jobs.get(str(note["id"]))
                if job is not None:
                    found[json.loads(job["data"])["mark"]].append(Execution(worker.pid, note["at"]))
        return found
