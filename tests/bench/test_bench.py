"""`python -m bench` runs. With tiny numbers, so only that it measures is tested, not the results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from bench.comparison import report
from bench.comparison.limit import create_limit, work_limit
from bench.comparison.plan import LIMIT, Measured
from bench.guard import RATIOS, fallen
from bench.harness import catalog, envs
from bench.harness.steps import ALL_DONE_BEFORE
from tests.support import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads the processes' times from /proc")


def run(*words: str) -> str:
    """Return what the bench prints; it has to end well."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", *words], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_kue_is_measured_in_a_table() -> None:
    told = run("--jobs", "300", "--only", "kue (plain", "--peers", "none")
    rows = {line.split("|")[1].strip(): line for line in told.splitlines() if line.startswith("| ")}
    assert report.PLAIN in rows and LIMIT not in rows
    titles = [cell.strip() for cell in told.splitlines()[0].split("|")[2:-1]]
    figures = [cell.strip().replace(",", "") for cell in rows[report.PLAIN].split("|")[2:-1]]
    assert len(titles) == len(figures) >= 8
    for title, figure in zip(titles, figures, strict=True):
        if figure.startswith("failed"):  # so few jobs are sometimes done before a second process has begun
            assert "2 processes" in title and ALL_DONE_BEFORE in told
        else:
            assert float(figure) > 0, title


def test_saves_from_tasks_are_compared_with_those_from_threads() -> None:
    words = ("--runs", "1", "--jobs", "200", "--tasks", "10")
    done = subprocess.run(
        [sys.executable, "-m", "bench.asyncio_saves", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["from", "1"], ["from", "10"]]
    assert all(float(figure.replace(",", "")) > 0 for row in rows for figure in row[2:4])


def test_the_servers_own_limit_is_measured_with_the_real_scripts(redis_client: redis.Redis) -> None:
    # Given a server, as the limit's client sees it
    server = SimpleNamespace(client=redis_client, port=redis_client.connection_pool.connection_kwargs["port"])

    # When it makes jobs and works them off, then all of them are there, and done
    assert create_limit(server, 10, 0.05) > 0  # type: ignore[arg-type]
    made = redis_client.zcard("q:jobs:bench:inactive")
    assert made and made % 10 == 0
    assert work_limit(server, 10, 60) > 0  # type: ignore[arg-type]
    assert redis_client.zcard("q:jobs:complete") == made


@pytest.mark.long
@pytest.mark.parametrize("kind", ["green", "plain"])
def test_the_profile_shows_the_engine_and_the_servers_commands(kind: str) -> None:
    told = run("--jobs", "1500", "--profile", "-c", "20", *(["--threads"] if kind == "plain" else []))
    assert re.search(rf"== kue \({kind} threads\), concurrency 20: [\d,]+ jobs/s", told)
    assert re.search(r"^ +\d+\.\d+ +\d+\.\d+  (evalsha|fcall)$", told, re.MULTILINE)
    assert re.search(r"worker/\w+\.py", told)


def test_the_page_has_every_row_and_says_what_failed_and_what_was_reached() -> None:
    # Given figures of kue and of two peers, one of which could not be installed
    main, growth, coroutines = Measured(), Measured(), Measured()
    for row, drain in ((report.GREEN, 12_000.0), ("saq", 3_000.0), (report.BEE, 16_000.0)):
        main.add(row, "drain", drain)
        main.add(row, "drain", drain * 3)
        main.add(row, "drain", drain * 2)
    main.add("celery (threads)", "drain", "not installed: no network")
    growth.add("1,000 waiting", "worker_us", 20.0)
    growth.add("100,000 waiting", "worker_us", 40.0)
    for row, drain in ((report.ASYNC, 12_000.0), ("arq", 1_000.0), ("saq", 2_000.0)):
        coroutines.add(row, "drain", drain)
    coroutines.add(report.ASYNC, "seconds", 1.2)

    # When the page is made
    facts: dict[str, Any] = {"machine": "a machine", "busy": True, "server": "a server", "runs": 3, "words": ""}
    page = report.page(main, {"growth": growth, "async": coroutines}, **facts)

    # Then it holds medians, ratios to the fastest of each kind, and the reason for what is missing
    assert "| saq | 6,000 |" in page and "| celery (threads) | failed (1) |" in page
    assert "(1) not installed: no network" in page
    assert "Other programs kept the machine busy" in page
    assert "| drain at 10 / fastest Python peer, kept (saq) | 4.00 | ≥ 3 | yes |" in page
    assert "| drain at 10 / bee-queue, kept | 0.75 | ≥ 1 | no |" in page
    assert "| worker µs a job, most waiting / fewest | 2.00 | ≤ 1.15 | no |" in page
    assert "drain of async handlers at 10, kept / fastest peer with coroutines (saq) | 6.00 | ≥ 5 | yes |" in page
    assert "| 10,000 async jobs that sleep 50 ms, 500 at once, s | 1.20 | ≤ 1.3 | yes |" in page
    assert "celery 5" in page and "bullmq" in page


def test_each_peer_has_its_program_and_its_pinned_packages() -> None:
    for entry in catalog.ENTRIES:
        if entry.package:
            assert (catalog.PEERS / entry.program).is_file()
            pinned = (catalog.PEERS / "requirements" / f"{entry.package}.txt").read_text().split()
            assert pinned and all("==" in line for line in pinned)
        else:
            assert (envs.NODE / entry.program).is_file()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for _, version in envs.node_versions())


def test_the_guard_tells_what_fell_by_more_than_fifteen_percent() -> None:
    committed = {"server": 2.0, "worker": 3.0}
    assert fallen({"server": 1.71, "worker": 9.0}, committed) == []
    assert [line.partition(":")[0] for line in fallen({"server": 1.69, "worker": 2.9}, committed)] == ["server"]


def test_the_guard_knows_all_that_it_measures() -> None:
    committed = json.loads(RATIOS.read_text(encoding="utf-8"))
    assert set(committed) == {"server time of a kept job", "worker time of a kept job"}
    assert all(ratio > 1 for ratio in committed.values())
