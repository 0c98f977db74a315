"""Limits in the chaos run: of keys, of an async type and of an isolated one; what ran is measured outside of Redis."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import kue
from tests.fault.chaos.check import Execution, Faults
from tests.fault.chaos.worker import ASYNC_TYPES, LIMITED_TYPE, PROCESS_TYPES

#: Of each key: jobs that run at once, and that start in a second and at once after a pause.
AT_ONCE, PER_S, BURST = 1, 5, 2
#: Of the types as a whole: jobs that run at once.
OF_TYPES = {LIMITED_TYPE: 12, ASYNC_TYPES[0]: 5, PROCESS_TYPES[0]: 2}


def set_limits(url: str) -> None:
    with kue.create_queue(url) as queue:
        queue.limit(LIMITED_TYPE, by="data.k", concurrency=AT_ONCE, rate=f"{PER_S}/s", burst=BURST)
        for name, count in OF_TYPES.items():
            queue.limit(name, concurrency=count)


def check_limits(
    jobs: Mapping[str, Mapping[str, str]], executions: Mapping[int, list[Execution]], faults: Faults,
    counts: Counter[str],
) -> Iterator[str]:  # fmt: skip
    """Yield which limits were exceeded, at any instant."""
    ran: dict[str, list[tuple[float, float]]] = defaultdict(list)
    starts: dict[str, list[int]] = defaultdict(list)
    for job in [each for each in jobs.values() if each["type"] in OF_TYPES]:
        data = json.loads(job["data"])
        key = f"{job['type']} {data['k']}" if job["type"] == LIMITED_TYPE else None
        times = [span for each in executions.get(data["mark"], []) if (span := _span(each, faults))]
        for name in filter(None, (job["type"], key)):
            ran[name] += times
        if key is not None:
            attempts = json.loads(job.get("attempt_log", "[]"))
            starts[key] += [int(job["started_at"]), *(each["started_at"] for each in attempts)]
    for name, most in {**OF_TYPES, **dict.fromkeys(starts, AT_ONCE)}.items():
        at_once = _most_at_once(ran[name])
        counts[f"{name} at once"] = at_once if name in OF_TYPES else counts[f"{name} at once"]
        if at_once > most:
            yield f"{at_once} jobs of {name} ran at once, {most} may: {sorted(ran[name])}"
    for name, times_ms in starts.items():
        times_ms.sort()
        for first, begun in enumerate(times_ms):
            for last in range(first + 1, len(times_ms)):
                if last - first + 1 > BURST + (times_ms[last] - begun) * PER_S / 1000 + 1e-6:
                    yield f"{last - first + 1} jobs of {name} started in {times_ms[last] - begun} ms: {times_ms}"
    counts["keys"] = len(starts)
    for name in [name for name, count in counts.items() if not count]:
        del counts[name]


def _span(ran: Execution, faults: Faults) -> tuple[float, float] | None:
    """When an execution ran for certain: till its end, or till its process was killed or frozen."""
    cut_off = [at for pid, at, until in faults.cut_off if pid == ran.pid and until > ran.begin]
    end = min([ran.end or float("inf"), *cut_off])
    return (ran.begin, end) if end > ran.begin else None


def _most_at_once(spans: list[tuple[float, float]]) -> int:
    running = most = 0
    for _, step in sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans]):
        running += step
        most = max(most, running)
    return most
