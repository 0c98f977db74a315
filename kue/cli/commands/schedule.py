"""``kue schedule``: list, add, remove, pause, resume and run schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ...errors import InvalidJob
from ...queue import Queue
from ...schedules import SavedSchedule, Schedule
from ...schedules.definition import MISSED, OVERLAPS
from ...storage.codec import from_json
from ...storage.epoch_time import now_ms
from ..options import DURATION, json_option, with_queue
from ..output import ago, duration, plain, print_json, table
from .jobs.create import read_data

NAME = click.argument("name", metavar="NAME")


@click.group(short_help="List, add, remove, pause, resume and run schedules.")
def schedule() -> None:
    """Create jobs at given times. Any running worker process fires the schedules.

    \b
    kue schedule ls
    kue schedule add nightly report '{"of": "sales"}' --cron '0 3 * * *' --timezone Europe/Berlin
    kue schedule add sync sync --every 5m
    kue schedule run nightly
    """


@schedule.command(short_help="List schedules.")
@json_option
@with_queue
def ls(queue: Queue, as_json: bool) -> None:
    """List schedules, the next to fire first."""
    found = queue.schedules()
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    now = now_ms()
    rows = [
        (
            each.name,
            each.type,
            _next(each, now),
            ago(each.last_at, now),
            "" if each.late_ms is None else duration(each.late_ms),
            each.last_job,
            each.count,
            each.when,
        )
        for each in found
    ]
    table(("NAME", "TYPE", "NEXT", "LAST", "LATE", "JOB", "CREATED", "WHEN"), rows, right="NEXT LAST LATE JOB CREATED")


def _next(saved: SavedSchedule, now: int) -> str:
    if saved.due_at is None:
        return "paused" if saved.paused else "ended"
    return ago(saved.due_at, now)


class _Date(click.ParamType):  # type: ignore[type-arg]
    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f'"{value}" is not a date; write for example 2030-01-31T12:00', param, ctx)


DATE = _Date()


@schedule.command(short_help="Add a schedule, or replace the one of that name.")
@NAME
@click.argument("job_type", metavar="TYPE")
@click.argument("data", required=False)
@click.option("--cron", metavar="EXPR", help="Minute, hour, day, month, weekday; with six fields, seconds come first.")
@click.option("--every", type=DURATION, metavar="TIME", help="Interval: 90s, 5m, 12h, 7d.")
@click.option("--at", type=DATE, metavar="DATE", help="Run once at this time, such as 2030-01-31T12:00.")
@click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin.  [default: UTC for --cron, local for dates]")
@click.option("--start", type=DATE, metavar="DATE", help="No times before this.")
@click.option("--end", type=DATE, metavar="DATE", help="No times after this.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after this number of jobs.")
@click.option("--jitter", default="0s", type=DURATION, metavar="TIME", help="Delay each run by up to this time.")
@click.option(
    "--overlap", default="skip", show_default=True, type=click.Choice(OVERLAPS), help="If the last job still runs."
)
@click.option("--missed", default="once", show_default=True, type=click.Choice(MISSED), help="After missed runs.")
@click.option("-p", "--priority", metavar="LEVEL", help="low, normal, medium, high, critical, or any number.")
@click.option("-a", "--attempts", type=int, metavar="N", help="Maximum number of attempts.  [default: 1]")
@click.option("-b", "--backoff", metavar="HOW", help="Backoff between attempts: fixed, exponential, or JSON.")
@click.option("--ttl", type=DURATION, metavar="TIME", help="Time limit of an attempt.")
@click.option("--title", metavar="TEXT", help="Title shown on the monitor.")
@click.option("--remove-on-complete", is_flag=True, help="Remove each job when it completes.")
@click.option("--preview", is_flag=True, help="Print the next ten times without saving.")
@json_option
@with_queue
def add(
    queue: Queue,
    name: str,
    job_type: str,
    data: str | None,
    backoff: str | None,
    remove_on_complete: bool,
    preview: bool,
    as_json: bool,
    **rule: Any,
) -> None:
    """Add a schedule that creates jobs of TYPE, or replace the one of that NAME; DATA is JSON.

    \b
    kue schedule add nightly report '{"of": "sales"}' --cron '0 3 * * *' --timezone Europe/Berlin
    kue schedule add sync sync --every 5m --overlap skip --missed once
    kue schedule add launch mail --at 2030-01-31T12:00 --preview
    """
    if sum(rule[each] is not None for each in ("cron", "every", "at")) != 1:
        raise click.UsageError("give one of --cron '0 3 * * *', --every 5m and --at 2030-01-31T12:00")
    pause: Any = from_json(backoff)
    options = {"backoff": pause, "remove_on_complete": remove_on_complete or None}
    try:
        wanted = Schedule(name, job_type, read_data(data), **rule, **options)
        if preview:
            times = queue.preview_schedule(wanted)
            print_json(times) if as_json else _print_times(wanted, times)
            return
        saved = queue.save_schedule(wanted)
    except InvalidJob as exc:
        raise click.UsageError(str(exc)) from None
    if as_json:
        print_json(saved.to_dict())
    else:
        print(f"schedule {plain(name)} {_told(saved)}")


def _told(saved: SavedSchedule) -> str:
    if saved.due_at is None:
        return "is paused" if saved.paused else "has no more times"
    return f"fires next in {duration(max(0, saved.due_at - now_ms()))}"


def _print_times(wanted: Schedule, times: Sequence[int]) -> None:
    for at in times:
        print(datetime.fromtimestamp(at / 1000, wanted.zone or UTC).isoformat(sep=" ", timespec="seconds"))


@schedule.command(short_help="Remove schedules.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@with_queue
def rm(queue: Queue, names: Sequence[str]) -> int:
    """Remove schedules. Their jobs are kept."""
    missing = 0
    for name in names:
        if queue.unschedule(name):
            print(f"schedule {plain(name)} removed")
        else:
            click.echo(f"kue: schedule {plain(name)!r} does not exist", err=True)
            missing = 1
    return missing


@schedule.command(short_help="Pause a schedule.")
@NAME
@with_queue
def pause(queue: Queue, name: str) -> None:
    """Pause a schedule: it creates no jobs until `kue schedule resume`."""
    print(f"schedule {plain(name)} {'paused' if queue.pause_schedule(name) else 'was already paused'}")


@schedule.command(short_help="Resume a paused schedule.")
@NAME
@with_queue
def resume(queue: Queue, name: str) -> None:
    """Resume a paused schedule with its next time from now."""
    print(f"schedule {plain(name)} {'resumed' if queue.resume_schedule(name) else 'was not paused'}")


@schedule.command(name="run", short_help="Create a schedule's job now.")
@NAME
@json_option
@with_queue
def run_now(queue: Queue, name: str, as_json: bool) -> None:
    """Create a schedule's job now, in addition to its times. Prints the job's id."""
    job = queue.run_schedule_now(name)
    print_json({"id": job.id}) if as_json else print(job.id)
