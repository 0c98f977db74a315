"""Commands that change jobs or types: retry, rm, promote, cancel, pause, resume, clean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import JobNotFound, WrongState
from ..management.retention import ENDED
from ..queue import Queue
from ..states import FAILED, STATES
from .options import DURATION, ID, json_option, with_queue
from .output import plain, print_json


def act(
    queue: Queue,
    ids: Sequence[int | str],
    each: Callable[[int | str], object],
    done: str,
    as_json: bool,
    *,
    brief: bool = False,
) -> int:
    """Do something with each job, and tell of each; return the exit code. ``brief``: tell the number alone."""
    answers: list[dict[str, Any]] = []
    failed = 0
    for job_id in ids:
        try:
            each(job_id)
            answers.append({"id": job_id, "ok": True})
        except (JobNotFound, WrongState) as exc:
            answers.append({"id": job_id, "ok": False, "error": str(exc)})
            failed += 1
            if not brief:
                print(f"kue: {plain(exc)}", file=sys.stderr)
        else:
            if not brief and not as_json:
                print(f"job {plain(job_id)} {done}")
    if as_json:
        print_json({"done": len(ids) - failed, "skipped": failed} if brief else answers)
    elif brief:
        skipped = f", {failed} had changed meanwhile" if failed else ""
        count = len(ids) - failed
        print(f"{count} job{'' if count == 1 else 's'} {done}{skipped}")
    return 1 if failed and not brief else 0


def chosen(
    queue: Queue, ids: Sequence[int | str], state: str | None, job_type: str | None, yes: bool, verb: str
) -> tuple[Sequence[int | str], bool]:
    """Return the jobs that the arguments or the filters mean, after a question, and whether it was by filter."""
    if ids:
        if job_type is not None:
            raise click.UsageError("give ids or a filter, not both")
        return ids, False
    if state is None:
        raise click.UsageError("give the ids of jobs, or --state for all jobs of a state")
    found = queue.ids(state, job_type)
    what = f"{len(found)} {state} job{'' if len(found) == 1 else 's'}{f' of type {job_type}' if job_type else ''}"
    if found and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{what}: add --yes to {verb} them without a question")
        click.confirm(f"{verb.capitalize()} {what}?", abort=True, err=True)
    return found, True


def ids_argument(required: bool) -> Callable[[Any], Any]:
    return click.argument("ids", metavar="ID..." if required else "[ID]...", type=ID, nargs=-1, required=required)


type_option = click.option("-t", "--type", "job_type", metavar="TYPE", help="All jobs of this type (and state).")
yes_option = click.option("-y", "--yes", is_flag=True, help="Ask nothing.")


@click.command(short_help="Let failed jobs run again.")
@ids_argument(False)
@click.option("-s", "--state", type=click.Choice([FAILED]), help="All failed jobs.")
@type_option
@yes_option
@json_option
@with_queue
def retry(
    queue: Queue, ids: Sequence[int | str], state: str | None, job_type: str | None, yes: bool, as_json: bool
) -> int:
    """Let failed jobs run again: those with the ids, or all.

    \b
    kue retry 12 13
    kue retry --type email          all failed jobs of a type, after a question
    kue retry --state failed --yes  all failed jobs, without one
    """
    found, brief = chosen(queue, ids, FAILED if job_type else state, job_type, yes, "retry")
    return act(queue, found, queue.retry, "waits again" if not brief else "wait again", as_json, brief=brief)


@click.command(short_help="Remove jobs.")
@ids_argument(False)
@click.option("-s", "--state", type=click.Choice(STATES), help="All jobs of this state.")
@type_option
@yes_option
@json_option
@with_queue
def rm(
    queue: Queue, ids: Sequence[int | str], state: str | None, job_type: str | None, yes: bool, as_json: bool
) -> int:
    """Remove jobs and all that belongs to them: those with the ids, or all of a state. One that runs is stopped.

    \b
    kue rm 12 13
    kue rm --state failed --type email      after a question
    kue rm --state complete --yes           without one; see also kue clean
    """
    found, brief = chosen(queue, ids, state, job_type, yes, "remove")
    return act(queue, found, queue.remove, "removed", as_json, brief=brief)


@click.command(short_help="Let delayed jobs run now.")
@ids_argument(True)
@json_option
@with_queue
def promote(queue: Queue, ids: Sequence[int | str], as_json: bool) -> int:
    """Let delayed jobs run now."""
    return act(queue, ids, queue.promote, "waits", as_json)


@click.command(short_help="Fail jobs that have not ended, and stop those that run.")
@ids_argument(True)
@click.option("--discard", is_flag=True, help="Let one that runs keep nothing: no half-finished file.")
@json_option
@with_queue
def cancel(queue: Queue, ids: Sequence[int | str], discard: bool, as_json: bool) -> int:
    """Fail jobs that have not ended, with the error "Cancelled". One that runs is stopped."""
    return act(queue, ids, lambda job_id: queue.cancel(job_id, discard=discard), "cancelled", as_json)


def types_argument(fn: Any) -> Any:
    return click.argument("types", metavar="[TYPE]...", nargs=-1)(fn)


jobs_option = click.option("-j", "--job", "ids", metavar="ID", type=ID, multiple=True, help="A job instead of a type.")


def named(types: Sequence[str], ids: Sequence[int | str]) -> None:
    """Refuse a command that names nothing."""
    if not types and not ids:
        raise click.UsageError("give types, or jobs with --job ID")


@click.command(short_help="Let no worker take jobs of a type, or pause a job.")
@types_argument
@jobs_option
@with_queue
def pause(queue: Queue, types: Sequence[str], ids: Sequence[int | str]) -> int:
    """Let no worker take jobs of a type, in whatever process, until `kue resume`. What runs goes on.

    Workers of Node's Kue do not know of it.

    \b
    kue pause email                 a type
    kue pause --job 12 --job 13     jobs: one that runs is stopped, and goes on where it was with `kue resume --job`
    """
    named(types, ids)
    known = queue.types()
    for job_type in types:
        queue.pause(job_type)
        print(f"{plain(job_type)} paused")
        if job_type not in known:
            print(f"kue: there was never a job of type {plain(job_type)}", file=sys.stderr)
    return act(queue, ids, queue.pause_job, "paused", False)


@click.command(short_help="End a pause.")
@types_argument
@jobs_option
@with_queue
def resume(queue: Queue, types: Sequence[str], ids: Sequence[int | str]) -> int:
    """Let workers take jobs of a paused type again, or paused jobs (--job)."""
    named(types, ids)
    paused = queue.paused()
    for job_type in types:
        queue.resume(job_type)
        print(f"{plain(job_type)} {'resumed' if job_type in paused else 'was not paused'}")
    return act(queue, ids, queue.resume_job, "resumed", False)


@click.command(short_help="Remove ended jobs that are too old or too many.")
@click.option("--older-than", type=DURATION, metavar="TIME", help="Jobs that ended longer ago: 90s, 12h, 7d.")
@click.option("--more-than", type=click.IntRange(0), metavar="N", help="All but the newest N of each state.")
@click.option("-s", "--state", type=click.Choice(ENDED), help="Only complete, or only failed jobs.")
@json_option
@with_queue
def clean(queue: Queue, older_than: int | None, more_than: int | None, state: str | None, as_json: bool) -> None:
    """Remove ended jobs that are too old or too many.

    \b
    kue clean --older-than 7d
    kue clean --state complete --more-than 1000
    """
    if older_than is None and more_than is None:
        raise click.UsageError("say which: --older-than 7d, --more-than 1000, or both")
    removed = {
        each: queue.clean(each, keep=more_than, max_age=older_than) for each in ENDED if state in (None, each)
    }
    if as_json:
        print_json(removed)
    else:
        print("removed " + " and ".join(f"{count} {each}" for each, count in removed.items()) + " jobs")
