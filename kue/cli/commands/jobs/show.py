"""Commands that show jobs: ls, show, log."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from ....errors import JobNotFound
from ....job import Job
from ....queue import Queue
from ....states import ACTIVE, ASIDE_UNTIL_MS, COMPLETE, DELAYED, FAILED, HOLD_UNTIL_MS, INACTIVE, STATES, WAIT_UNTIL_MS
from ....storage.codec import PRIORITY_NAMES, from_json
from ....storage.epoch_time import now_ms
from ....text.redaction import safe, safe_text
from ...options import ID, json_option, with_queue
from ...output import ago, duration, paint, plain, plain_lines, print_json, table

#: Poll interval of a followed log, seconds.
FOLLOW_S = 0.3
#: Lines of the log that ``show`` prints.
SHOWN_LINES = 10
#: Delayed jobs without a time of their own: what they wait for instead.
NOT_DUE = {
    HOLD_UNTIL_MS: "when it is resumed (kue resume --job)",
    WAIT_UNTIL_MS: "when its children have ended (kue tree)",
    ASIDE_UNTIL_MS: "when its key has its turn (kue limit ls)",
}


@click.command(short_help="List jobs.")
@click.argument("state", required=False, metavar="[STATE]", type=click.Choice(STATES))
@click.option("-t", "--type", "job_type", metavar="TYPE", help="Only jobs of this type.")
@click.option("-n", "--number", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Jobs to list.")
@json_option
@with_queue
def ls(queue: Queue, state: str | None, job_type: str | None, number: int, as_json: bool) -> None:
    """List jobs, of all states or of one: inactive, active, complete, failed or delayed.

    Inactive and delayed jobs are listed in the order in which they will run, all others newest first.

    \b
    kue ls                          the newest jobs of all states
    kue ls failed -t email -n 100   the newest 100 failed jobs of a type
    kue ls delayed --json           a JSON array, as in Kue's JSON API
    """
    if state in (INACTIVE, DELAYED):
        ids = queue.first_ids(state, job_type, number)
    else:
        ids = queue.newest_ids(state, job_type, number)
    found = queue.get_many(ids)
    if as_json:
        print_json(safe([job.to_dict() for job in found]))
        return
    now = now_ms()
    table(
        ("ID", "TYPE", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "SUMMARY"),
        [(job.id, job.type, _state(job), _priority(job), _tries(job), _age(job, now), _about(job)) for job in found],
        right="ID ATTEMPTS AGE",
        color=2,
    )
    if len(ids) == number and sys.stdout.isatty():
        print(f"({number} jobs; -n shows more)", file=sys.stderr)


@click.command(short_help="Show a job.")
@click.argument("job_id", metavar="ID", type=ID)
@json_option
@with_queue
def show(queue: Queue, job_id: int | str, as_json: bool) -> None:
    """Show a job: its fields, data, result, error, failed attempts and the last lines of its log.

    \b
    kue show 12
    kue show 12 --json      with the whole log, and the failed attempts in "attempt_log"
    """
    job = queue.get(job_id)
    lines = queue.log(job_id)
    if as_json:
        print_json({**safe(job.to_dict()), "rescues": job.rescues, "attempt_log": job.attempt_log, "log": lines})
        return
    now = now_ms()
    fields: list[tuple[str, Any]] = [
        ("job", f"{job.id}  {job.type}"),
        ("state", _state(job)),
        ("progress", f"{job.progress_percent}%" if job.progress_percent else None),
        ("priority", _priority(job)),
        ("attempts", f"{job.attempts_made} of {job.options.attempts or 1}"),
        ("created", _when(job.created_at, now)),
        ("due", _due(job, now) if job.state == DELAYED else None),
        ("started", _when(job.started_at, now)),
        ("failed", _when(job.failed_at, now)),
        ("updated", _when(job.updated_at, now)),
        ("run time", duration(job.duration) if job.duration is not None else None),
        ("worker", job.worker_id),
        ("rescued", f"{job.rescues} times, after its worker died or lost its lease" if job.rescues else None),
        ("ttl", duration(job.options.ttl_ms) if job.options.ttl_ms else None),
        ("backoff", job.raw.get("backoff")),
    ]
    for name, value in fields:
        if value is not None and value != "":
            print(f"{paint(f'{name:<9}', bold=True)} {plain(value)}")
    for name, raw in (("data", "data"), ("progress data", "progress_data"), ("result", "result")):
        if raw in job.raw:
            _block(name, json.dumps(safe(from_json(job.raw[raw])), indent=2, ensure_ascii=False))
    if job.error:
        _block("error", job.error)
    if job.attempt_log:
        _block("failed attempts", "\n".join(_attempt(entry) for entry in job.attempt_log))
    if lines:
        more = f", the last {SHOWN_LINES} of {len(lines)} lines" if len(lines) > SHOWN_LINES else ""
        _block(f"log{more}", "\n".join(lines[-SHOWN_LINES:]))


@click.command(short_help="Print a job's log.")
@click.argument("job_id", metavar="ID", type=ID)
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the job finishes.")
@json_option
@with_queue
def log(queue: Queue, job_id: int | str, follow: bool, as_json: bool) -> None:
    """Print a job's log.

    --json prints an array of lines; with -f, each line as a JSON string.
    """
    job = queue.get(job_id)
    lines = queue.log(job_id)
    if not follow:
        if as_json:
            print_json(lines)
        else:
            _print_lines(lines, False)
        return
    seen: list[str] = []
    while True:
        _print_lines(new_lines(seen, lines), as_json)
        seen = lines
        if job.state in (COMPLETE, FAILED):
            return
        time.sleep(FOLLOW_S)
        try:
            job.refresh()
        except JobNotFound:
            return
        lines = queue.log(job_id)


def new_lines(seen: list[str], lines: list[str]) -> list[str]:
    """Return the lines that follow those already seen. A log keeps only its newest lines, so they move up."""
    for gone in range(len(seen) + 1):
        kept = seen[gone:]
        if lines[: len(kept)] == kept:
            return lines[len(kept) :]
    return lines


# What a job looks like


def _state(job: Job) -> str:
    return job.state or "no state"


def _priority(job: Job) -> str:
    return PRIORITY_NAMES.get(job.options.priority, str(job.options.priority))


def _tries(job: Job) -> str:
    return f"{job.attempts_made}/{job.options.attempts or 1}"


def _age(job: Job, now: int) -> str:
    return ago(job.promote_at if job.state == DELAYED else job.updated_at or job.created_at, now)


def _about(job: Job) -> str:
    if job.state == FAILED and job.error:
        return job.error.partition("\n")[0]
    title = job.data.get("title") if isinstance(job.data, dict) else None
    if isinstance(title, str):
        about = safe_text(title)
    else:
        data = safe(from_json(job.raw["data"])) if "data" in job.raw else None
        about = "" if data is None else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{job.progress_percent}% {about}" if job.state == ACTIVE and job.progress_percent else about


def _due(job: Job, now: int) -> str | None:
    return NOT_DUE.get(job.promote_at or 0) or _when(job.promote_at, now)


def _when(at: int | None, now: int) -> str | None:
    if at is None:
        return None
    far = ago(at, now)
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000))
    return f"{text}  (in {far[1:]})" if far.startswith("+") else f"{text}  ({far} ago)"


def _attempt(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    number, worker, outcome = entry.get("number", "?"), entry.get("worker", "?"), entry.get("outcome", "?")
    return f"{number}. {outcome} by {worker}: {entry.get('error', '')}"


def _block(name: str, text: str) -> None:
    print(f"\n{paint(name, bold=True)}")
    print("\n".join(f"  {line}" for line in plain_lines(text).split("\n")))


def _print_lines(lines: list[str], as_json: bool) -> None:
    for line in lines:
        if as_json:
            print_json(line)
        else:
            print(plain_lines(line), flush=True)
