"""What a drained job costs the server, in numbers that do not depend on the machine; and how its hash is returned."""

from __future__ import annotations

from typing import Any

import pytest

from kue.storage.script_loader import source
from kue.storage.script_values import SEPARATOR, Outcome, Reservation
from tests.support.script_steps import NOW, WORKER, Steps

SLOTS, CALLS = 5, 10
ROUNDS = 3
#: Commands that a script calls for each job that it finishes and reserves, five at a time.
COMMANDS_A_JOB = 10.2
#: Functions that each call of the script makes.
FUNCTIONS = 30


def test_a_drained_job_costs_no_more_commands_than_it_did(steps: Steps) -> None:
    # Given more jobs than are drained, five at a time
    steps.create(SLOTS * (ROUNDS * CALLS + 2), attempts="1")
    outcomes: list[Outcome] = []

    def call(number: int) -> None:
        reservation = Reservation({"t": range(SLOTS)}, 1000, f"n{number}", WORKER)
        jobs = steps.scripts.finish_and_reserve(steps.client, outcomes, reservation, now_ms=NOW).jobs
        outcomes[:] = [Outcome("complete", job.job_id, job.token, ("null", "0")) for job in jobs]

    call(0)
    # When the commands are counted, a few times: what an earlier test has started may have something to say
    rounds: list[dict[str, int]] = []
    for start in range(1, ROUNDS * CALLS + 1, CALLS):
        steps.client.config_resetstat()
        for number in range(start, start + CALLS):
            call(number)
        stats: Any = steps.client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}
        rounds.append({name: count for name, count in calls.items() if not name.startswith(("config", "info"))})
    counted = min(rounds, key=lambda each: sum(each.values()))
    # Then there are no more than there were
    assert counted.pop("evalsha") == CALLS
    assert sum(counted.values()) / (SLOTS * CALLS) <= COMMANDS_A_JOB, counted


def test_a_busy_workers_script_makes_few_functions_in_each_call() -> None:
    eager, _, rest = source("finish_and_reserve").partition("\nfunction lazy()\n")
    assert eager.count("local function ") <= FUNCTIONS
    assert "local function settle(" in rest and "local function fail(" in rest


@pytest.mark.parametrize("field", ["data", "title", SEPARATOR])
def test_a_separator_in_a_jobs_hash_does_no_harm(steps: Steps, field: str) -> None:
    job_id = steps.create()
    steps.client.hset(steps.keys.job(job_id), field, f'"a{SEPARATOR}b{SEPARATOR}"')
    (job,) = steps.reserve()
    assert (job.job_id, job.slot) == (job_id, 0)
    assert job.fields[field] == f'"a{SEPARATOR}b{SEPARATOR}"'
    assert job.fields["type"] == "t" and job.fields["priority"] == "0"
