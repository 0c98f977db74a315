"""``kue doctor``."""

from __future__ import annotations

import click

from ..doctor import examine
from ..queue import Queue
from .options import json_option, with_queue
from .output import paint, plain, print_json


@click.command(short_help="Find, and put right, what the keys disagree on.")
@click.option("--fix", is_flag=True, help="Put right what is found.")
@json_option
@with_queue
def doctor(queue: Queue, fix: bool, as_json: bool) -> int:
    """Look for what crashes, Node's Kue and accidents leave behind: jobs in no set or in two, sets with members that
    are no jobs, lost tokens, logs and search entries of nothing, and more.

    It may run while the queue is at work. Each finding names the job, what is wrong, and what --fix does about it. A
    job that can be recovered is never removed. The exit code is 1 if something was found that is not put right.
    """
    found = []
    left = 0
    for finding in examine(queue, fix):
        left += not finding.fixed
        if as_json:
            found.append({"id": finding.job_id, "what": finding.what, "fixed": finding.fixed, "repair": finding.repair})
            continue
        subject = "queue" if finding.job_id is None else f"job {finding.job_id}"
        mark = paint("fixed", "green") if finding.fixed else paint("wrong", "red")
        words = f"{plain(finding.repair)}" if finding.fixed else f"--fix: {plain(finding.repair)}"
        print(f"{mark}  {plain(subject)}: {plain(finding.what)} ({words})", flush=True)
        found.append({})
    if as_json:
        print_json(found)
    elif not found:
        print("nothing is wrong")
    else:
        print(f"{len(found)} found, {len(found) - left} put right")
    return 1 if left else 0
