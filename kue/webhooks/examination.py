"""The doctor's checks and repairs of webhooks and alerts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import InvalidJob
from ..storage.codec import to_json
from ..storage.epoch_time import server_ms
from ..storage.scripts import Scripts
from .definition import Webhook

#: Age of an event in the outbox, ms, beyond which no worker dispatches: normally this happens every 0.1 s.
STUCK_MS = 60_000


class Trouble(NamedTuple):
    """A problem."""

    what: str
    repair: str = ""
    """What a repair does; "" if it cannot be repaired."""
    call: tuple[str, str] = ("", "repair")
    """The name and the verb with which ``save_webhook.lua`` repairs it."""


def examine(client: Any, scripts: Scripts, fix: bool, settle_s: float) -> Iterator[tuple[Trouble, bool]]:
    """Yield problems and whether they were repaired. A problem must be seen twice."""
    first = _look(client, scripts)
    if not first:
        return
    time.sleep(settle_s)
    again = _look(client, scripts)
    for trouble in first:
        if trouble in again:
            fixed = bool(fix and trouble.repair)
            if fixed:
                scripts.run(client, "save_webhook", *trouble.call)
            yield trouble, fixed


def _look(client: Any, scripts: Scripts) -> list[Trouble]:
    keys = scripts.keys
    kinds = {keys.webhooks: "set", keys.webhook_events: "string", keys.webhook_outbox: "stream", keys.alerts: "hash"}
    wrong = [
        Trouble(f"{key} is a {kind}, not a {expected}, so webhooks or alerts do not work")
        for key, expected in kinds.items()
        if (kind := client.type(key)) not in (expected, "none")
    ]
    if wrong:
        return wrong
    listed = client.smembers(keys.webhooks)
    found = []
    wanted: set[str] = set()
    for name in sorted({*listed, *_names(client, keys.webhook(""))}):
        trouble = _trouble(client, keys.webhook(name), name, listed, wanted)
        if trouble is not None:
            found.append(trouble)
    written = set((client.get(keys.webhook_events) or "").split("\n")[1:]) - {""}
    if not found and written != wanted:
        found.append(Trouble(f"{keys.webhook_events} does not match the events of the webhooks", "rewritten"))
    oldest = client.xrange(keys.webhook_outbox, count=1)
    if oldest and server_ms(client) - int(oldest[0][0].partition("-")[0]) > STUCK_MS:
        count = client.xlen(keys.webhook_outbox)
        found.append(
            Trouble(f"{count} events have been waiting for webhook delivery for over a minute: no worker is running")
        )
    return found


def _names(client: Any, prefix: str) -> set[str]:
    pattern = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in prefix)
    names = {key.removeprefix(prefix) for key in client.scan_iter(match=f"{pattern}*", count=1000)}
    return {name for name in names if ":" not in name and name != "jobs"}  # the wake-up tokens of a type "webhook"


def _trouble(client: Any, key: str, name: str, listed: set[str], wanted: set[str]) -> Trouble | None:
    """Return the problem of a webhook, if any; add its events to ``wanted``."""
    kind = client.type(key)
    if kind == "none":
        return Trouble(f'webhook "{name}": listed, but does not exist', "removed from the list", (name, "remove"))
    if kind != "hash":
        return Trouble(f'webhook "{name}": its key is a {kind}, not a hash')
    raw = client.hgetall(key)
    try:
        webhook = Webhook(name, raw)
    except InvalidJob as exc:
        return Trouble(f'webhook "{name}": nothing is sent to it: {exc}')
    if name not in listed:
        return Trouble(f'webhook "{name}": not listed, so nothing is sent to it', "listed", (name, "repair"))
    if not raw.get("secret"):
        return Trouble(f'webhook "{name}": has no secret; create it again')
    if webhook.disabled_at is None:
        types = [to_json(each) for each in webhook.types] or ["*"]
        wanted |= {f"{event}\t{each}" for event in webhook.events for each in types}
    return None
