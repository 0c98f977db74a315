"""``kue doctor``."""

from __future__ import annotations

import click

from ...doctor import examine
from ...queue import Queue
from ..options import json_option, with_queue
from ..output import paint, plain, print_json


@click.command(short_help="Check the queue's keys, and repair them.")
@click.option("--fix", is_flag=True, help="Repair the problems found.")
@json_option
@with_queue
def doctor(queue: Queue, fix: bool, as_json: bool) -> int:
    """Check the queue's keys for inconsistencies and repair them with --fix.

    Crashes, Node Kue and accidents can leave jobs in no state or in two, set members without a job, lost wake-up
    tokens, and orphaned logs or search entries. The check is safe while workers run. Each finding names the job, the
    problem and its repair. A recoverable job is never removed. The exit code is 1 if a problem remains.
    """
    found = []
    left = 0
    for finding in examine(queue, fix):
        left += not finding.fixed
        if as_json:
            found.append({"id": finding.job_id, "what": finding.what, "fixed": finding.fixed, "repair": finding.repair})
            continue
        subject = "queue" if finding.job_id is None else f"job {finding.job_id}"
        mark = paint("fixed", "green") if finding.fixed else paint("found", "red")
        words = f"{plain(finding.repair)}" if finding.fixed else f"--fix: {plain(finding.repair)}"
        print(f"{mark}  {plain(subject)}: {plain(finding.what)} ({words})", flush=True)
        found.append({})
    if as_json:
        print_json(found)
    elif not found:
        print("no problems found")
    else:
        print(f"{len(found)} problem{'' if len(found) == 1 else 's'} found, {len(found) - left} fixed")
    return 1 if left else 0
