"""``kue worker``: its command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from ....process import supervisor
from ....process.log_output import FORMS, LEVELS, configure_logging
from ....process.stop_signals import GRACE_S
from ...green_start import command, ensure_patched, need
from ...options import DURATION, Place, with_place
from .worker_process import WorkerOptions, run_worker


class TypeList(click.ParamType):  # type: ignore[type-arg]
    """Job types, separated by commas."""

    name = "types"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        types = frozenset(filter(None, (name.strip() for name in str(value).split(","))))
        if not types:
            self.fail("name at least one job type, such as email,report", param, ctx)
        return types


class TypeCount(click.ParamType):  # type: ignore[type-arg]
    """``type=n``, as a pair."""

    name = "type=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        job_type, mark, count = str(value).rpartition("=")
        if not mark or not count.isascii() or not count.isdigit() or int(count) == 0:
            self.fail(f'"{value}" is not of the form type=n, such as email=20', param, ctx)
        return job_type, int(count)


@click.command(short_help="Run a module's handlers.")
@click.argument("target", metavar="MODULE:QUEUE")
@click.option(
    "-c",
    "--concurrency",
    multiple=True,
    type=TypeCount(),
    metavar="TYPE=N",
    help="Concurrency of a type; may be repeated.",
)
@click.option(
    "--timeout",
    default=f"{GRACE_S:g}s",
    show_default=True,
    type=DURATION,
    metavar="TIME",
    help="Grace period for running jobs at shutdown.",
)
@click.option(
    "-p",
    "--processes",
    "count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Worker processes; one that dies is restarted.",
)
@click.option(
    "--only", type=TypeList(), metavar="TYPE,TYPE", help="Run only these types of the module."
)
@click.option("--burst", is_flag=True, help="Exit when no job is waiting: for cron and tests.")
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least severe messages to log."
)
@click.option(
    "--log-format",
    type=click.Choice(FORMS, case_sensitive=False),
    envvar="KUE_LOG_FORMAT",
    help="Log lines: text, or JSON with the job of each  [KUE_LOG_FORMAT]",
)
@click.option("-v", "--verbose", is_flag=True, help="Also log each completed job, with its run time.")
@click.option("--quiet", is_flag=True, help="Log warnings and errors only, and print nothing.")
@click.option("--node-events", is_flag=True, help="Also deliver webhook events of jobs that Node's workers run.")
@click.option("--green", "is_green", is_flag=True, help="Use eventlet's green threads instead of OS threads.")
@with_place
def worker(
    place: Place,
    target: str,
    concurrency: Sequence[tuple[str, int]],
    timeout: int,
    count: int,
    is_green: bool,
    log_format: str | None,
    **flags: Any,
) -> int:
    """Run the handlers that MODULE registers and the tasks that it declares. QUEUE names a kue Queue in it, or a
    function that returns one.

    \b
    # jobs.py
    queue = kue.create_queue()

    \b
    @queue.task()
    def email(to: str): ...

    \b
    @queue.process("report")
    def report(job): ...

    \b
    kue worker jobs:queue -c email=20

    The working directory is searched first. The module chooses its Redis; -r and -q set REDIS_URL and KUE_PREFIX for
    it to read.

    On SIGTERM, Ctrl-C or a closed terminal the worker takes no new jobs, gives running ones --timeout to finish, and
    releases the rest: they run again elsewhere, and the attempt is not counted. A second signal releases them at once.
    The exit code is then 0. The process ends a few seconds after --timeout even if a handler blocks; with the default,
    within 10 s.

    With -p, -c applies to each process. Send signals to the parent, which forwards them.

    Failed attempts are logged as warnings, jobs that failed for good as errors. -v adds completed jobs.
    """
    for name, value in (("REDIS_URL", place.url), ("KUE_PREFIX", place.prefix), ("KUE_LOG_FORMAT", log_format)):
        if value is not None:
            os.environ[name] = value
    if is_green:
        need("eventlet", extra="web", what="--green")
    options = WorkerOptions(target, dict(concurrency), timeout / 1000, **flags)
    if count > 1:
        if options.burst:
            raise click.UsageError("--burst runs one process; leave out --processes")
        return _run_processes(count, options, is_green)
    if is_green:
        ensure_patched()
    return run_worker(options)


def _run_processes(count: int, options: WorkerOptions, is_green: bool) -> int:
    """Run this command in ``count`` child processes; return the exit code."""
    configure_logging(options.log_level)
    program = command(*options.arguments(), *(["--green"] if is_green else []))
    return supervisor.Supervisor(program, count, options.timeout_s).run()
