"""Test mode: collect the jobs that a program saves in a list, for its tests. Node Kue: Queue#testMode."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Generic

from ..base_job import BaseJob, J
from ..errors import DuplicateJob
from ..states import DELAYED, INACTIVE
from ..storage.hash_fields import saved_fields


class TestMode(Generic[J]):
    """The test mode of one queue.

    With ``process=False``, jobs are collected in ``jobs`` and nothing is sent to Redis, so none is needed;
    ``queue.process`` takes effect on exit. With ``process=True`` jobs are also created in Redis and run.
    """

    __test__ = False  # or pytest would collect it as a test

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._on = self._process = False
        self._put_off: list[Callable[[], object]] = []
        #: The jobs saved since ``enter`` or the last ``clear``, oldest first.
        self.jobs: list[J] = []
        #: Log lines of collected jobs, by id: a test may pass a job to a handler.
        self.logs: dict[int | str, list[str]] = {}

    @property
    def entered(self) -> bool | None:
        """The argument of ``enter``, None outside test mode."""
        return self._process if self._on else None

    @property
    def collecting(self) -> bool:
        """Whether jobs are only collected."""
        return self._on and not self._process

    def enter(self, process: bool = False) -> None:
        """Collect jobs saved from now on; with ``process`` also create them in Redis."""
        self._on, self._process = True, process

    def exit(self) -> None:
        """Save jobs as usual again; ``jobs`` is kept. Handlers registered meanwhile start."""
        self._on = False
        with self._lock:
            put_off, self._put_off = self._put_off, []
        for begin in put_off:
            begin()

    def clear(self) -> None:
        """Forget the collected jobs."""
        with self._lock:
            self.jobs.clear()
            self.logs.clear()

    def after_fork(self) -> None:
        """Called in a forked child, where a lock held by another thread of the parent would never be released."""
        self._lock = threading.Lock()

    # Called by the queue and its jobs

    def takes(self, made: Sequence[J]) -> bool:
        """Collect new jobs; return whether they are only collected."""
        if not self._on:
            return False
        for job in made:
            saved_fields(job.type, job.data, job.options)  # raises for data that could not be stored
        with self._lock:
            for job in made:
                if self._process:
                    self.jobs.append(job)
                else:
                    self._collect(job)
        return not self._process

    def _collect(self, job: J) -> None:
        known = self._same(job)
        if known is None:
            job.id = next(self._ids)
            job.state = DELAYED if job.options.delay_ms or job.options.delay_until else INACTIVE
            self.jobs.append(job)
        else:
            wanted = job.options.unique
            assert wanted is not None and known.id is not None
            if wanted.on_duplicate == "reject":
                raise DuplicateJob(known.id)
            if wanted.on_duplicate == "replace":
                known.data, known.options = job.data, job.options
            job.id, job.data, job.state, job.duplicate = known.id, known.data, known.state, True
        job._collected = True

    def _same(self, job: J) -> J | None:
        """Return the collected job with the same unique key as a new one. Collected jobs never end."""
        if (unique := job.options.unique) is None:
            return None
        text = unique.claim(job.data).text
        for each in self.jobs:
            if each.type == job.type and each.options.unique and each.options.unique.claim(each.data).text == text:
                return each
        return None

    def holds(self, job: BaseJob) -> bool:
        """Return whether a job was only collected, so nothing may be written."""
        return job._collected

    def drop(self, job: BaseJob) -> None:
        """Remove a collected job."""
        with self._lock:
            self.jobs[:] = [each for each in self.jobs if each is not job]

    def log(self, job: BaseJob, line: str) -> None:
        self.logs.setdefault(job.id or 0, []).append(line)

    def puts_off(self, begin: Callable[[], object]) -> bool:
        """Defer ``begin`` to the exit if nothing may reach Redis before."""
        if self.collecting:
            with self._lock:
                self._put_off.append(begin)
            return True
        return False

