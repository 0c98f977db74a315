"""Evaluate the alert rules: a task of any process with workers, or a web process without; one at a time."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

from ..errors import InvalidJob
from ..management import memory_usage
from ..management.queries import Queries
from ..management.statistics import Statistics
from ..states import ACTIVE, INACTIVE
from ..storage.codec import from_json, number, to_json
from ..storage.epoch_time import server_ms
from ..storage.session import Session
from . import rules as rule
from .rules import AlertRules, Condition

log = logging.getLogger("kue.alerts")

#: Interval of evaluations across all processes, seconds.
EVERY_S = 10.0
#: How long a condition must be good before its alert ends, ms.
END_AFTER_MS = 60_000
#: An alert ends if not evaluated for this long, ms: its rule is off, or its machine no longer runs kue.
FORGET_MS = 15 * 60_000
#: A worker without a heartbeat for this long, ms, takes no jobs. It sends three per lease.
LOST_AFTER_MS = 35_000


class Alert(TypedDict):
    """An active alert. Times are epoch ms."""

    name: str
    """``failure_rate``, ``queue_time``, ``redis_memory``, ``no_worker:TYPE`` or ``disk_free:HOST``."""
    text: str
    """A sentence with the current figures, as last evaluated."""
    started_at: int
    evaluated_at: int


class Alerts:
    """The alerts of one queue. ``finished`` returns the number of ended attempts in this process, by type and verb."""

    def __init__(
        self,
        session: Session,
        queries: Queries[Any],
        statistics: Statistics,
        finished: Callable[[], Mapping[tuple[str, str], int]] = lambda: {},
        apart: frozenset[str] = frozenset(),
    ) -> None:
        self._session, self._queries, self._statistics = session, queries, statistics
        self._finished, self._apart = finished, apart
        self._keys, self._scripts = session.keys, session.scripts
        self._rules = AlertRules()
        #: The part of ``finished`` already written.
        self._written: dict[str, int] = {"complete": 0, "fail": 0}

    def alert_rules(self, wanted: AlertRules | None = None) -> AlertRules:
        """Return the rules that this process evaluates; with ``wanted``, set them first.

        Give all processes of a queue the same rules: one of them evaluates for all, every 10 s. Raises InvalidJob.
        """
        if wanted is not None:
            if not isinstance(wanted, AlertRules):
                raise InvalidJob(f"alert rules are given as kue.AlertRules(…), not {wanted!r}")
            self._rules = wanted
        return self._rules

    def alerts(self) -> list[Alert]:
        """Return the active alerts, the oldest first."""
        found = self._session.read_one("HGETALL", self._keys.alerts, default={})
        active = [alert for name, text in found.items() if (alert := _alert(name, text))]
        return sorted(active, key=lambda alert: (alert["started_at"], alert["name"]))

    def run(self, client: Any) -> float:
        """A maintenance task: evaluate due rules; return the seconds until its next run."""
        rules = self._rules
        if rules.failure_rate is not None:
            self._write_finished(client)
        if rules.any_of_queue and self._claims(client, "queue"):
            self._settle(client, self._of_queue(client, rules), lambda name, _: not name.startswith("disk_free:"))
        host = socket.gethostname()
        if rules.disk_free is not None and rules.folder is not None and self._claims(client, f"disk:{host}"):
            self._settle(client, rule.disk_free(rules, host, _free_bytes(rules.folder)), lambda *_: False)
        if self._claims(client, "forgotten"):
            self._settle(client, (), lambda _, age_ms: age_ms > FORGET_MS)
        return EVERY_S / 2

    # Internal

    def _claims(self, client: Any, what: str) -> bool:
        """Return whether it is this process's turn."""
        key = f"{self._keys.alerts}:turn:{what}"
        return bool(client.set(key, "1", nx=True, px=int(EVERY_S * 900)))

    def _of_queue(self, client: Any, rules: AlertRules) -> Iterator[Condition]:
        now_ms = server_ms(client)
        if rules.failure_rate is not None:
            yield from rule.failure_rate(rules, *self._attempts(client, now_ms))
        if rules.queue_time_ms is not None:
            job = self._queries.oldest_waiting()
            since = max(filter(None, (job.created_at, job.promote_at, job.failed_at)), default=now_ms) if job else None
            waiting_ms = None if since is None else max(0, now_ms - since)
            yield from rule.queue_time(rules, waiting_ms, job and job.id, job.type if job else "")
        if rules.no_worker_ms is not None:
            yield from rule.no_worker(rules, self._without_worker(now_ms))
        if rules.redis_memory is not None:
            used, limit = memory_usage.of_server(client)
            yield from rule.redis_memory(rules, used, limit)

    def _attempts(self, client: Any, now_ms: int) -> tuple[int, int]:
        """Return how many attempts recently completed and failed, as counted by workers, or else by web processes."""
        first = now_ms // 60_000 - rule.RATE_MINUTES + 1
        counted = client.hgetall(f"{self._keys.alerts}:attempts")
        complete = failed = 0
        for name, text in counted.items():
            minute, _, verb = name.partition(" ")
            if (number(minute) or 0) >= first:
                complete += (number(text) or 0) if verb == "complete" else 0
                failed += (number(text) or 0) if verb == "fail" else 0
        if complete or failed:
            return complete, failed
        spans = [span for span in self._statistics.history.read("minutes") if span["at"] >= first * 60_000]
        return sum(span.get("complete", 0) for span in spans), sum(span.get("failed", 0) for span in spans)

    def _write_finished(self, client: Any) -> None:
        totals = {"complete": 0, "fail": 0}
        for (job_type, verb), count in self._finished().items():
            if verb in totals and job_type not in self._apart:
                totals[verb] += count
        more = {verb: count - self._written[verb] for verb, count in totals.items() if count > self._written[verb]}
        if not more:
            return
        key, minute = f"{self._keys.alerts}:attempts", server_ms(client) // 60_000
        pipe = client.pipeline(transaction=False)
        pipe.hkeys(key)
        for verb, count in more.items():
            pipe.hincrby(key, f"{minute} {verb}", count)
        pipe.expire(key, 3600)
        names = pipe.execute()[0]
        self._written = totals
        old = [name for name in names if (number(name.partition(" ")[0]) or 0) < minute - 2 * rule.RATE_MINUTES]
        if old:
            client.hdel(key, *old)

    def _without_worker(self, now_ms: int) -> dict[str, int]:
        """Return the types with waiting jobs but no worker for them, neither kue's nor Node's."""
        taken = {
            name
            for worker in self._statistics.workers()
            if now_ms - worker["seen_at"] < LOST_AFTER_MS
            for name, info in worker["types"].items()
            if not info["paused"]
        }
        paused = set(self._statistics.paused())
        return {
            name: counts[INACTIVE]
            for name, counts in self._statistics.counts_by_type().items()
            if counts[INACTIVE] and not counts[ACTIVE] and name not in taken and name not in paused
        }

    def _settle(self, client: Any, found: Iterable[Condition], is_over: Callable[[str, int], bool]) -> None:
        """Start and end alerts according to the conditions found.

        Of conditions not found, those have become good for which ``is_over(name, ms since the last evaluation)``.
        """
        found = list(found)
        now_ms, names = server_ms(client), {each.name for each in found}
        over: list[Condition] = []
        for name, text in client.hgetall(self._keys.alerts).items():
            entry = from_json(text)
            if name in names or not isinstance(entry, dict):
                continue
            if is_over(name, now_ms - (number(str(entry.get("seen_at"))) or 0)):
                over.append(Condition(name, "good", str(entry.get("text", ""))))
        for each in chain(found, over):
            args = to_json(each._asdict())
            happened = self._scripts.run(client, "set_alert", args, END_AFTER_MS)
            if happened == "started":
                log.warning("Alert %s: %s", each.name, each.text)
            elif happened == "ended":
                log.info("Alert %s has ended", each.name)


def _alert(name: str, text: str) -> Alert | None:
    entry = from_json(text)
    if not isinstance(entry, dict):
        return None
    started_at, seen_at = (number(str(entry.get(each))) for each in ("started_at", "seen_at"))
    if started_at is None:
        return None
    return Alert(name=name, text=str(entry.get("text", "")), started_at=started_at, evaluated_at=seen_at or started_at)


def _free_bytes(folder: Path) -> int:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
