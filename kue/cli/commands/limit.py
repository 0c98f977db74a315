"""``kue limit``: list, set and remove the limits of types."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...errors import InvalidJob
from ...queue import Queue
from ..options import json_option, with_queue
from ..output import duration, plain, print_json, table


@click.group(short_help="List, set and remove limits of rate and concurrency.")
def limit() -> None:
    """Limit how many jobs of a type start per period and run at once, across all worker processes.

    \b
    kue limit ls
    kue limit set mail --rate 100/min --burst 20 --concurrency 5
    kue limit set crawl --by data.host --rate 2/s --concurrency 1
    kue limit rm crawl --by-key
    """


@limit.command(short_help="List limits.")
@json_option
@with_queue
def ls(queue: Queue, as_json: bool) -> None:
    """List the limits of types and of their keys."""
    found = queue.limits()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["type"],
            each["by"] or "",
            each["rate"] or "",
            each["burst"] or "",
            each["concurrency"] or "",
            each["waiting"],
            each["keys"] if each["by"] else "",
            each["running"],
            each["admitted"],
            duration(each["held_ms"]) if each["held_ms"] else "",
        )
        for each in found
    ]
    heads = ("TYPE", "BY", "RATE", "BURST", "CONCURRENCY", "WAITING", "KEYS", "RUNNING", "STARTED", "HELD")
    table(heads, rows, right="BURST CONCURRENCY WAITING KEYS RUNNING STARTED HELD")


@limit.command("set", short_help="Limit a type, or each of its keys.")
@click.argument("job_type", metavar="TYPE")
@click.option("--rate", metavar="RATE", help="Jobs that may start per period, such as 100/min or 5/10s.")
@click.option("--burst", type=int, metavar="N", help="Jobs that may start at once after a pause.")
@click.option("--concurrency", type=int, metavar="N", help="Jobs that may run at once.")
@click.option("--by", metavar="PATH", help="Limit each key: the path of the key in the data, such as data.host.")
@click.option("--weight", "weights", multiple=True, metavar="KEY=N", help="Turns of a key per turn of other keys.")
@with_queue
def set_(
    queue: Queue,
    job_type: str,
    rate: str | None,
    burst: int | None,
    concurrency: int | None,
    by: str | None,
    weights: Sequence[str],
) -> None:
    """Limit a type, or with --by each of its keys. Replaces the previous limit; takes effect immediately."""
    weight = dict(_weight(text) for text in weights) or None
    try:
        queue.limit(job_type, rate=rate, burst=burst, concurrency=concurrency, by=by, weight=weight)
    except InvalidJob as exc:
        raise click.UsageError(str(exc)) from None
    print(f"{plain(job_type)} limited{f' by {plain(by)}' if by else ''}")


@limit.command(short_help="Remove the limits of types.")
@click.argument("types", metavar="TYPE...", nargs=-1, required=True)
@click.option("--by-key", "by", flag_value="key", help="Only the limit by key.")
@click.option("--of-type", "by", flag_value="type", help="Only the limit of the whole type.")
@with_queue
def rm(queue: Queue, types: Sequence[str], by: str | None) -> int:
    """Remove the limits of types. Jobs waiting because of them can start."""
    of_key = None if by is None else by == "key"
    lifted = [queue.unlimit(job_type, by=of_key) for job_type in types]
    for job_type, was in zip(types, lifted, strict=True):
        print(f"{plain(job_type)} {'is no longer limited' if was else 'was not limited'}")
    return 0 if all(lifted) else 1


def _weight(text: str) -> tuple[str, float]:
    key, equals, number = text.rpartition("=")
    try:
        if not equals:
            raise ValueError
        return key, float(number)
    except ValueError:
        raise click.UsageError(f'a weight must be a key and a number, such as example.com=2, not "{text}"') from None
