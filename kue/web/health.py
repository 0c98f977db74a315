"""`/healthz` for whoever restarts the process, `/metrics` for Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from kue.web.api import queue
from kue.web.lists import monitor
from kue.web.monitor import PAGES, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from kue.queue import Queue
    from kue.web.monitor import Monitor

health = Blueprint("health", __name__)

#: Types that are told apart; a queue with more gets the rest under the type "(others)".
MAX_TYPES = 200


@health.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say whether this process answers and its Redis does: 200 or 503, nothing about the queue."""
    begun = time.monotonic()
    queue().counts()
    return jsonify({"status": "ok", "redis_ms": round((time.monotonic() - begun) * 1000, 1)})


class QueueMetrics(Collector):
    """Reads the queue when somebody asks, so that nothing has to be counted along."""

    def __init__(self, queue: Queue, monitor: Monitor) -> None:
        self.queue, self.monitor = queue, monitor

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("kue_jobs", "Jobs by type and state.", labels=("type", "state"))
        others: dict[str, int] = {}
        for place, (job_type, counts) in enumerate(sorted(self.queue.counts_by_type().items())):
            for state, count in counts.items():
                if place < MAX_TYPES:
                    jobs.add_metric((job_type, state), count)
                else:
                    others[state] = others.get(state, 0) + count
        for state, count in others.items():
            jobs.add_metric(("(others)", state), count)
        yield jobs
        yield CounterMetricFamily(
            "kue_work_seconds", "Time that completed jobs took in all.", value=self.queue.work_time() / 1000
        )
        clients = GaugeMetricFamily("kue_socket_clients", "Connected Socket.IO clients.", labels=("kind",))
        for room, kind in ((PAGES, "page"), (PLAIN, "plain")):
            clients.add_metric((kind,), self.monitor.members(room))
        yield clients
        relay = self.monitor.relay
        events = CounterMetricFamily(
            "kue_events", "Events of the queue heard by this process, by kind.", labels=("event",)
        )
        for name, count in sorted(relay.heard.items()):
            events.add_metric((name,), count)
        yield events
        yield CounterMetricFamily("kue_relay_frames", "Frames of changes numbered for the pages.", value=relay.seq)
        yield CounterMetricFamily("kue_relay_clients_cut_off", "Clients that did not read.", value=self.monitor.cut_off)
        yield GaugeMetricFamily(
            "kue_relay_stale", "1 while the pages cannot be kept fresh.", value=int(bool(relay.stale))
        )
        yield GaugeMetricFamily("kue_relay_lag_seconds", "How late the emitter woke up last.", value=relay.lag_s)


@health.get("/metrics")
def metrics() -> ResponseReturnValue:
    """The queue's and this process's figures, in Prometheus' text form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(QueueMetrics(current_app.config["KUE_QUEUE"], monitor()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
