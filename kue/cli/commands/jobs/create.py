"""``kue create``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ....errors import InvalidJob, JobFailed, WaitTimeout
from ....job import Job
from ....storage.codec import from_json
from ...options import DURATION, Place, json_option, open_queue, with_place
from ...output import print_json


@click.command(short_help="Create a job.")
@click.argument("job_type", metavar="TYPE")
@click.argument("data", required=False)
@click.option("-p", "--priority", metavar="LEVEL", help="low, normal, medium, high, critical, or any number.")
@click.option("-a", "--attempts", type=int, metavar="N", help="Maximum number of attempts.  [default: 1]")
@click.option("-b", "--backoff", metavar="HOW", help="Backoff between attempts: fixed, exponential, or JSON.")
@click.option("-d", "--delay", type=DURATION, metavar="TIME", help="Delay before it runs: 90s, 15m, 12h, 7d.")
@click.option("--ttl", type=DURATION, metavar="TIME", help="Time limit of an attempt.")
@click.option("--title", metavar="TEXT", help="Title shown on the monitor.")
@click.option("--remove-on-complete", is_flag=True, help="Remove the job when it completes.")
@click.option("--unique", is_flag=True, help="Do nothing if a job of TYPE with the same DATA waits or runs.")
@click.option("--search", is_flag=True, help="Index the data for full-text search.")
@click.option("-w", "--wait", is_flag=True, help="Wait for the job and print its result.")
@click.option("--timeout", type=DURATION, metavar="TIME", help="With --wait: maximum time to wait.")
@json_option
@with_place
def create(
    place: Place,
    job_type: str,
    data: str | None,
    backoff: str | None,
    search: bool,
    wait: bool,
    timeout: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Create a job of TYPE; DATA is JSON, or - to read JSON from standard input. Prints the id.

    \b
    kue create email '{"to": "tobi@example.com"}' -p high --attempts 3 --backoff exponential
    kue create report --delay 15m
    kue create thumbnail '{"url": "https://example.com/a.png"}' --wait --timeout 60s
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    pause: Any = from_json(backoff)
    queue = open_queue(place, search=search)
    click.get_current_context().call_on_close(queue.close)
    try:
        job = queue.create(
            job_type,
            read_data(data),
            **{**options, "remove_on_complete": options["remove_on_complete"] or None},
            backoff=pause,
        )
        job.save()
    except InvalidJob as exc:
        raise click.UsageError(str(exc)) from None
    if not wait:
        print_json({"id": job.id}) if as_json else print(job.id)
        return
    result = _result(job, timeout)
    if as_json:
        print_json({"id": job.id, "result": result})
    else:
        print(json.dumps(result, ensure_ascii=False, indent=2))


def _result(job: Job, timeout_ms: int | None) -> Any:
    try:
        return job.wait(None if timeout_ms is None else timeout_ms / 1000)
    except (JobFailed, WaitTimeout) as exc:
        raise click.ClickException(str(exc)) from None


def read_data(text: str | None) -> Any:
    """Return what an argument DATA holds: JSON, or - for standard input."""
    if text is None:
        return None
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise click.UsageError(f'DATA is not JSON ({exc}); write for example \'{{"to": "tobi"}}\'') from None
