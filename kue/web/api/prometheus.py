"""The metrics of `/metrics`: read from Redis at each scrape, or counted by this process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from kue.errors import QueueUnavailable
from kue.web.live.rooms import PAGES, PLAIN
from kue.web.metrics.event_counters import BUCKETS, MAX_TYPES, OTHERS, Histogram
from kue.web.present.worker_rows import worker_views

if TYPE_CHECKING:
    from prometheus_client import Metric

    from kue.queue import Queue
    from kue.web.live.monitor import Monitor


def _histogram(name: str, help_text: str, by_type: dict[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_text, labels=("type",))
    for job_type, histogram in sorted(by_type.items()):
        total = 0.0
        buckets = []
        for end, count in zip(BUCKETS, histogram.counts, strict=True):
            total += count
            buckets.append(("+Inf" if end == float("inf") else f"{end:g}", total))
        family.add_metric((job_type,), buckets, histogram.sum)
    return family


class QueueMetrics(Collector):
    """The response to one scrape."""

    def __init__(self, queue: Queue, monitor: Monitor) -> None:
        self.queue, self.monitor = queue, monitor

    def collect(self) -> Iterable[Metric]:
        begun = time.monotonic()
        up = GaugeMetricFamily("kue_redis_up", "1 if Redis responds.")
        try:
            yield from list(self._of_the_queue())
            up.add_metric((), 1)
        except QueueUnavailable:
            up.add_metric((), 0)
        yield up
        yield GaugeMetricFamily(
            "kue_redis_seconds", "Time to read the queue's metrics from Redis.", value=time.monotonic() - begun
        )
        yield from self._of_this_process()

    def _of_the_queue(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("kue_jobs", "Jobs by type and state.", labels=("type", "state"))
        others: dict[str, int] = {}
        for place, (job_type, counts) in enumerate(sorted(self.queue.counts_by_type().items())):
            for state, count in counts.items():
                if place < MAX_TYPES:
                    jobs.add_metric((job_type, state), count)
                else:
                    others[state] = others.get(state, 0) + count
        for state, count in others.items():
            jobs.add_metric((OTHERS, state), count)
        yield jobs
        yield CounterMetricFamily(
            "kue_work_seconds", "Total run time of completed jobs.", value=self.queue.work_time() / 1000
        )
        leases = self.queue.leases()
        yield GaugeMetricFamily("kue_leases", "Running jobs under a lease.", value=leases["held"])
        yield GaugeMetricFamily(
            "kue_lease_late_seconds",
            "Seconds since the oldest expired lease; growing means that no worker rescues jobs.",
            value=leases["late_ms"] / 1000,
        )
        yield GaugeMetricFamily(
            "kue_flow_parents_waiting", "Jobs waiting for their children.", value=self.queue.waiting_parents()
        )
        yield from self._of_the_schedules()
        yield from self._of_the_webhooks()
        yield from self._of_the_limits()
        yield from self._of_the_workers()

    def _of_the_webhooks(self) -> Iterator[Metric]:
        active = GaugeMetricFamily("kue_alert_active", "1 for each active alert.", labels=("alert",))
        for alert in self.queue.alerts()[:MAX_TYPES]:
            active.add_metric((alert["name"],), 1)
        yield active
        attempts = CounterMetricFamily(
            "kue_webhook_attempts", "Attempts to deliver to a webhook, by outcome.", labels=("webhook", "outcome")
        )
        disabled = GaugeMetricFamily("kue_webhook_disabled", "1 if a webhook is disabled.", labels=("webhook",))
        for webhook in self.queue.webhooks()[:MAX_TYPES]:
            attempts.add_metric((webhook.name, "delivered"), webhook.delivered)
            attempts.add_metric((webhook.name, "failed"), webhook.failed)
            disabled.add_metric((webhook.name,), int(webhook.disabled_at is not None))
        yield from (attempts, disabled)
        backlog = self.queue.webhook_backlog()
        yield GaugeMetricFamily(
            "kue_webhook_outbox", "Events waiting for webhook delivery.", value=backlog["waiting"]
        )
        yield CounterMetricFamily(
            "kue_webhook_events_lost", "Events dropped since too many were waiting.", value=backlog["lost"]
        )

    def _of_the_limits(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("kue_limit_waiting", "Jobs waiting for a limit, by type.", labels=("type",))
        keys = GaugeMetricFamily("kue_limit_keys", "Keys with jobs waiting for a limit, by type.", labels=("type",))
        started = CounterMetricFamily("kue_limit_admitted", "Started jobs of limited types.", labels=("type",))
        sums: dict[str, tuple[int, int, int]] = {}
        for limit in self.queue.limits():
            name = limit["type"] if limit["type"] in sums or len(sums) < MAX_TYPES else OTHERS
            before = sums.get(name, (0, 0, 0))
            found = limit["waiting"], limit["keys"], limit["admitted"]
            sums[name] = tuple(map(max, before, found))  # type: ignore[assignment]
        for name, (jobs, of_keys, total) in sorted(sums.items()):
            waiting.add_metric((name,), jobs)
            keys.add_metric((name,), of_keys)
            started.add_metric((name,), total)
        yield waiting
        yield keys
        yield started

    def _of_the_schedules(self) -> Iterator[Metric]:
        """Metrics of the first MAX_TYPES schedules by name."""
        labels = ("schedule",)
        last = GaugeMetricFamily("kue_schedule_last_run_seconds", "Epoch time of a schedule's last run.", labels=labels)
        late = GaugeMetricFamily(
            "kue_schedule_lateness_seconds", "Delay between a schedule's due time and its last run.", labels=labels
        )
        overdue = GaugeMetricFamily(
            "kue_schedule_overdue_seconds", "Seconds for which a schedule has been due; growing means that no worker "
            "fires it.", labels=labels,
        )  # fmt: skip
        jobs = CounterMetricFamily("kue_schedule_jobs", "Jobs that a schedule created.", labels=labels)
        skipped = CounterMetricFamily(
            "kue_schedule_skipped", "Times of a schedule skipped because its last job had not ended.", labels=labels
        )
        found = sorted(self.queue.schedules(), key=lambda each: each.name)[:MAX_TYPES]
        now_ms = self.queue.server_ms() if found else 0
        for each in found:
            name = (each.name,)
            if each.fired_at is not None:
                last.add_metric(name, each.fired_at / 1000)
                late.add_metric(name, (each.late_ms or 0) / 1000)
            overdue.add_metric(name, max(0, now_ms - (each.due_at or now_ms)) / 1000)
            jobs.add_metric(name, each.count)
            skipped.add_metric(name, each.skipped)
        yield from (last, late, overdue, jobs, skipped)

    def _of_the_workers(self) -> Iterator[Metric]:
        workers = [worker for worker in worker_views(self.queue) if not worker["lost"]]
        yield GaugeMetricFamily("kue_workers", "Live worker processes.", value=len(workers))
        yield GaugeMetricFamily(
            "kue_worker_silent_seconds",
            "Longest time since the last heartbeat of a live worker.",
            value=max((worker["since_heartbeat_ms"] for worker in workers), default=0) / 1000,
        )
        yield GaugeMetricFamily(
            "kue_worker_loop_lag_seconds",
            "Longest event loop lag of a live worker with async handlers: maximum over the last 15 seconds.",
            value=max((worker["loop_lag_ms"] or 0 for worker in workers), default=0) / 1000,
        )
        slots = GaugeMetricFamily("kue_slots", "Slots of all live workers, by type.", labels=("type",))
        busy = GaugeMetricFamily("kue_slots_busy", "Busy slots of all live workers, by type.", labels=("type",))
        sums: dict[str, tuple[int, int]] = {}
        for worker in workers:
            for name, used, most, _ in worker["types"]:
                name = name if name in sums or len(sums) < MAX_TYPES else OTHERS
                before = sums.get(name, (0, 0))
                sums[name] = before[0] + used, before[1] + most
        for name, (used, most) in sorted(sums.items()):
            busy.add_metric((name,), used)
            slots.add_metric((name,), most)
        yield slots
        yield busy

    def _of_this_process(self) -> Iterator[Metric]:
        counters, relay = self.monitor.counters, self.monitor.relay
        ended = CounterMetricFamily(
            "kue_attempts", "Finished attempts, by type and outcome.", labels=("type", "outcome")
        )
        for (job_type, outcome), total in sorted(counters.ended.items()):
            ended.add_metric((job_type, outcome), total)
        yield ended
        yield _histogram("kue_run_seconds", "Run time of completed jobs, by type.", counters.run_s)
        yield _histogram("kue_wait_seconds", "Queue time of completed jobs, by type.", counters.wait_s)
        clients = GaugeMetricFamily("kue_socket_clients", "Connected Socket.IO clients.", labels=("kind",))
        for room, kind in ((PAGES, "page"), (PLAIN, "plain")):
            clients.add_metric((kind,), self.monitor.members(room))
        yield clients
        events = CounterMetricFamily("kue_events", "Queue events received by this process.", labels=("event",))
        for name, count in sorted(relay.received.items()):
            events.add_metric((name,), count)
        yield events
        yield CounterMetricFamily("kue_relay_frames", "Frames of changes sent to pages.", value=relay.seq)
        yield CounterMetricFamily(
            "kue_relay_clients_cut_off",
            "Clients disconnected for reading too slowly.",
            value=self.monitor.slow_clients.dropped,
        )
        yield GaugeMetricFamily(
            "kue_relay_stale", "1 while live updates are interrupted.", value=int(bool(relay.stale))
        )
        yield GaugeMetricFamily("kue_relay_waiting", "Events received and not yet sent.", value=relay.waiting)
        yield GaugeMetricFamily("kue_relay_lag_seconds", "Latest scheduling lag of the emitter.", value=relay.lag_s)
        yield GaugeMetricFamily(
            "kue_hub_lag_seconds",
            "Event loop lag: maximum over the last 15 seconds.",
            value=self.monitor.lag.worst_s,
        )
