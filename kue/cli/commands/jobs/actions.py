"""Commands that change jobs or types: retry, rm, promote, cancel, pause, resume, clean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from ....errors import JobNotFound, WrongState
from ....management.retention import ENDED
from ....queue import Queue
from ....states import FAILED, STATES
from ...options import DURATION, ID, json_option, with_queue
from ...output import plain, print_json


def act(
    queue: Queue,
    ids: Sequence[int | str],
    each: Callable[[int | str], object],
    done: str,
    as_json: bool,
    *,
    brief: bool = False,
) -> int:
    """Apply an action to each job and report each; return the exit code. ``brief``: report the count only."""
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
        skipped = f", {failed} skipped (state changed)" if failed else ""
        count = len(ids) - failed
        print(f"{count} job{'' if count == 1 else 's'} {done}{skipped}")
    return 1 if failed and not brief else 0


def chosen(
    queue: Queue, ids: Sequence[int | str], state: str | None, job_type: str | None, yes: bool, verb: str
) -> tuple[Sequence[int | str], bool]:
    """Return the jobs selected by ids or by a filter, after confirmation, and whether a filter was used."""
    if ids:
        if job_type is not None:
            raise click.UsageError("give either ids or a filter, not both")
        return ids, False
    if state is None:
        raise click.UsageError("give job ids, or --state to select all jobs of a state")
    found = queue.ids(state, job_type)
    what = f"{len(found)} {state} job{'' if len(found) == 1 else 's'}{f' of type {job_type}' if job_type else ''}"
    if found and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{what}: add --yes to {verb} them without confirmation")
        click.confirm(f"{verb.capitalize()} {what}?", abort=True, err=True)
    return found, True


def ids_argument(required: bool) -> Callable[[Any], Any]:
    return click.argument("ids", metavar="ID..." if required else "[ID]...", type=ID, nargs=-1, required=required)


type_option = click.option("-t", "--type", "job_type", metavar="TYPE", help="Select jobs of this type (and state).")
children_option = click.option(
    "--children", is_flag=True, help="Also the jobs that it waits for, unless others wait for them too."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Skip the confirmation prompt.")


@click.command(short_help="Retry failed jobs.")
@ids_argument(False)
@click.option("-s", "--state", type=click.Choice([FAILED]), help="Select all failed jobs.")
@type_option
@yes_option
@json_option
@with_queue
def retry(
    queue: Queue, ids: Sequence[int | str], state: str | None, job_type: str | None, yes: bool, as_json: bool
) -> int:
    """Retry failed jobs, by id or by filter.

    \b
    kue retry 12 13
    kue retry --type email          all failed jobs of a type, after confirmation
    kue retry --state failed --yes  all failed jobs, without confirmation
    """
    found, brief = chosen(queue, ids, FAILED if job_type else state, job_type, yes, "retry")
    return act(queue, found, queue.retry, "queued again", as_json, brief=brief)


@click.command(short_help="Remove jobs.")
@ids_argument(False)
@click.option("-s", "--state", type=click.Choice(STATES), help="Select all jobs of this state.")
@type_option
@children_option
@yes_option
@json_option
@with_queue
def rm(
    queue: Queue,
    ids: Sequence[int | str],
    state: str | None,
    job_type: str | None,
    children: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove jobs with their logs and index entries, by id or by filter. A running job is stopped first.

    \b
    kue rm 12 13
    kue rm --state failed --type email      after confirmation
    kue rm --state complete --yes           without confirmation; see also kue clean
    """
    found, brief = chosen(queue, ids, state, job_type, yes, "remove")
    remove = partial(queue.remove, children=children)
    return act(queue, found, remove, "removed", as_json, brief=brief)


@click.command(short_help="Promote delayed jobs, to run now.")
@ids_argument(True)
@json_option
@with_queue
def promote(queue: Queue, ids: Sequence[int | str], as_json: bool) -> int:
    """Promote delayed jobs to inactive, so that they run now."""
    return act(queue, ids, queue.promote, "promoted", as_json)


@click.command(short_help="Cancel jobs, and stop running ones.")
@ids_argument(True)
@click.option("--discard", is_flag=True, help="Delete the partial result of a running job, such as a partial file.")
@children_option
@json_option
@with_queue
def cancel(queue: Queue, ids: Sequence[int | str], discard: bool, children: bool, as_json: bool) -> int:
    """Cancel unfinished jobs: they fail with the error "Cancelled". Running ones are stopped."""
    return act(queue, ids, partial(queue.cancel, discard=discard, children=children), "cancelled", as_json)


def types_argument(fn: Any) -> Any:
    return click.argument("types", metavar="[TYPE]...", nargs=-1)(fn)


jobs_option = click.option(
    "-j", "--job", "ids", metavar="ID", type=ID, multiple=True, help="A job instead of a type; may be repeated."
)


def named(types: Sequence[str], ids: Sequence[int | str]) -> None:
    """Require at least one type or job."""
    if not types and not ids:
        raise click.UsageError("give job types, or jobs with --job ID")


@click.command(short_help="Pause a type, or suspend a job.")
@types_argument
@jobs_option
@with_queue
def pause(queue: Queue, types: Sequence[str], ids: Sequence[int | str]) -> int:
    """Pause job types for all workers until `kue resume`. Running jobs finish; no new ones start.

    Node Kue workers ignore the pause.

    \b
    kue pause email                 a type
    kue pause --job 12 --job 13     jobs: a running one is stopped; `kue resume --job` continues it
    """
    named(types, ids)
    known = queue.types()
    for job_type in types:
        queue.pause(job_type)
        print(f"{plain(job_type)} paused")
        if job_type not in known:
            print(f"kue: note: no job of type {plain(job_type)} was ever created", file=sys.stderr)
    return act(queue, ids, queue.pause_job, "suspended", False)


@click.command(short_help="Resume a paused type or a suspended job.")
@types_argument
@jobs_option
@with_queue
def resume(queue: Queue, types: Sequence[str], ids: Sequence[int | str]) -> int:
    """Resume paused types, or suspended jobs (--job)."""
    named(types, ids)
    paused = queue.paused()
    for job_type in types:
        queue.resume(job_type)
        print(f"{plain(job_type)} {'resumed' if job_type in paused else 'was not paused'}")
    return act(queue, ids, queue.resume_job, "resumed", False)


@click.command(short_help="Remove old finished jobs.")
@click.option(
    "--older-than", type=DURATION, metavar="TIME", help="Jobs that finished longer ago than this: 90s, 12h, 7d."
)
@click.option("--more-than", type=click.IntRange(0), metavar="N", help="All except the newest N of each state.")
@click.option("-s", "--state", type=click.Choice(ENDED), help="Only complete, or only failed jobs.")
@json_option
@with_queue
def clean(queue: Queue, older_than: int | None, more_than: int | None, state: str | None, as_json: bool) -> None:
    """Remove finished jobs by age or number.

    \b
    kue clean --older-than 7d
    kue clean --state complete --more-than 1000
    """
    if older_than is None and more_than is None:
        raise click.UsageError("give a limit: --older-than 7d, --more-than 1000, or both")
    removed = {each: queue.clean(each, keep=more_than, max_age=older_than) for each in ENDED if state in (None, each)}
    if as_json:
        print_json(removed)
    else:
        print("removed " + " and ".join(f"{count} {each}" for each, count in removed.items()) + " jobs")
