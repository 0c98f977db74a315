"""The soak run's verdicts."""

from __future__ import annotations

from bench.soak import grown


def line(cycles: int, **changed: int) -> dict[str, int]:
    usual = {"redis": 3_000_000, "keys": 3_000, "worker": 50_000_000, "producer": 45_000_000}
    return {"cycles": cycles, **usual, **changed}


def test_what_grows_before_the_warm_up_is_over_does_not_count() -> None:
    assert grown([line(50_000, worker=20_000_000), line(100_000), line(150_000), line(200_000)]) == []


def test_what_grows_afterwards_is_named() -> None:
    lines = [line(100_000), line(150_000), line(200_000, worker=60_000_000, redis=8_000_000, keys=9_000)]
    assert grown(lines) == [
        "redis grew from 3.0 to 8.0 MB",
        "worker grew from 50.0 to 60.0 MB",
        "the keys grew from 3000 to 9000",
    ]
