"""Unique jobs, schedules, limits and flows together, with processes that die between any two commands, next to a model.

Each rule does one thing through the library. A fate may end it before or after any of its commands, or cut its
connection, so that the library repeats the command. What Redis has executed is done to the model too, and after each
step the two must agree. ``KUE_SEQUENCES=1000`` runs so many random sequences instead of the same few.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

import kue
from kue.storage.script_loader import scripts as script_names
from kue.storage.script_loader import source
from tests.queue.whole.machine import LIMITS, SHAPES, Options, options
from tests.queue.whole.operators import Operators
from tests.support.mortality import Fate, Mortal, MortalScripts

SEQUENCES = int(os.environ.get("KUE_SEQUENCES", "0"))


class Everything(Operators):
    @initialize(shape=st.sampled_from(sorted(SHAPES)[:4]), of=options)
    def begin(self, shape: str, of: Options) -> None:
        for kind, parts in LIMITS.items():
            for part in parts:
                self.set_limit(kind, part, parts[part])
        self.flow("free", shape, of, "fail", None)


def run(machine: type[Everything], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, derandomize=not SEQUENCES, deadline=None, database=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink) if SEQUENCES else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.fixture
def machine(redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Everything]]:
    with kue.create_queue(redis_url) as queue:
        mortal = Mortal(redis_client.connection_pool, Fate())
        scripts = MortalScripts(queue.keys, mortal)
        for name in script_names():
            redis_client.script_load(source(name))
        queue.session.scripts = scripts
        for part in (queue._schedules, queue._queries, queue._operations, queue._store.producer):
            part._scripts = scripts  # type: ignore[attr-defined]
        monkeypatch.setattr(queue.session.connector, "shared", lambda: mortal)
        monkeypatch.setattr("kue.connection.failures.RETRY_FIRST_S", 0.0)
        monkeypatch.setattr("kue.schedules.firing.time", scripts)
        monkeypatch.setattr("kue.schedules.store.server_ms", lambda client: scripts.now)
        monkeypatch.setattr("kue.worker.maintenance.BALANCE_S", 0)
        monkeypatch.setattr("kue.worker.maintenance.FLOWS_S", 0)
        parts = {"client": redis_client, "queue": queue, "scripts": scripts, "mortal": mortal}
        yield type("Machine", (Everything,), parts)


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [8, pytest.param(20, marks=pytest.mark.long)])
def test_whatever_dies_the_queue_is_as_the_model_says(machine: type[Everything], sequences: int) -> None:
    run(machine, SEQUENCES or sequences, 40)
