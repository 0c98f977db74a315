"""`/healthz` for supervisors and load balancers, `/metrics` for Prometheus."""

from __future__ import annotations

import time

from flask import Blueprint, Response, current_app, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from redis.exceptions import ResponseError

from kue.errors import QueueUnavailable
from kue.web.api.prometheus import QueueMetrics
from kue.web.live.current import monitor, queue

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Report whether this process responds and its Redis accepts writes: 200 or 503, nothing about the queue."""
    begun = time.monotonic()
    try:
        queue().check_health()
    except QueueUnavailable as exc:
        cause = exc.reason
        refused = isinstance(cause, ResponseError)  # it responds, and the reason contains no secrets
        why = f"Redis refuses writes: {cause}" if refused else "Redis is unreachable"
        return jsonify({"status": "error", "error": why}), 503
    return jsonify({"status": "ok", "redis_ms": round((time.monotonic() - begun) * 1000, 1)})


@health.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Metrics of the queue and this process in Prometheus' text format, also while Redis is unreachable."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(QueueMetrics(current_app.config["KUE_QUEUE"], monitor()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
