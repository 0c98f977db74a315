"""The webhook and the alert rules in the settings, and webhooks in a web process that runs no jobs."""

from __future__ import annotations

import logging
import os

from ..concurrency import green
from ..delivery.handler import VARIABLES
from ..errors import QueueUnavailable
from ..queue import Queue
from ..settings import Settings
from ..webhooks.node_events import NodeEvents

log = logging.getLogger("kue")

#: The name of the webhook of KUE_WEBHOOK_URL.
NAME = "settings"
#: Poll interval of a process that runs no jobs, seconds.
LOOK_S = 1.0


def apply_settings(settings: Settings, queue: Queue) -> None:
    """Apply the webhook and the alert rules in the settings to the queue, once Redis is reachable."""
    queue.alert_rules(settings.alert_rules)
    os.environ.update(_of_deliveries(settings))
    queue._dispatching.at_start(lambda: _write(settings, queue))


def _of_deliveries(settings: Settings) -> dict[str, str]:
    """Return the variables that the handler of deliveries reads, with what was given as flags."""
    bundle = settings.download_ca_bundle
    texts = (",".join(settings.webhook_allow), settings.webhook_proxy or "", str(bundle.absolute()) if bundle else "")
    return dict(zip(VARIABLES, texts, strict=True))


def _write(settings: Settings, queue: Queue) -> None:
    if settings.webhook_url is None:
        if queue.remove_webhook(NAME):
            log.info("Webhook %r removed, because KUE_WEBHOOK_URL is not set", NAME)
        return
    queue.webhook(
        settings.webhook_events, settings.webhook_url, name=NAME, types=settings.webhook_types,
        secret=settings.webhook_secret, format=settings.webhook_format,
    )  # fmt: skip


def listen_to_node(queue: Queue) -> None:
    """Record events of Node workers for webhooks, while this process runs."""
    NodeEvents(queue.session, queue.subscribe).start()


class WebhookFollower:
    """Dispatches webhooks and evaluates alerts until the process has workers, whose maintenance then does so."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._failed = False

    def start(self) -> None:
        green.spawn(self._run)

    def _run(self) -> None:
        while not self._queue.processing():
            try:
                self._queue.session.call(self._look)
                self._failed = False
            except QueueUnavailable:
                pass  # the pages show it
            except Exception:
                if not self._failed:
                    log.exception("Webhooks and alerts failed; retrying every second")
                self._failed = True
            green.sleep(LOOK_S)

    def _look(self, client: object) -> None:
        self._queue._dispatching.run(client)
        self._queue._alerts.run(client)
