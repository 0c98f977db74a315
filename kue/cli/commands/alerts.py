"""``kue alerts``."""

from __future__ import annotations

import click

from ...queue import Queue
from ...storage.epoch_time import now_ms
from ..options import json_option, with_queue
from ..output import ago, print_json, table


@click.command(short_help="List active alerts.")
@json_option
@with_queue
def alerts(queue: Queue, as_json: bool) -> int:
    """List active alerts, the oldest first. The exit code is 1 if there are any.

    Worker and web processes evaluate the rules, by KUE_ALERT_… in their environment.
    """
    found = queue.alerts()
    if as_json:
        print_json(found)
    elif found:
        now = now_ms()
        rows = [(ago(each["started_at"], now), each["name"], each["text"]) for each in found]
        table(("SINCE", "ALERT", "WHAT"), rows)
    else:
        print("no active alerts")
    return int(bool(found))
