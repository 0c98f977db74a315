"""One worker process of ``kue worker``: run a queue's handlers until a signal arrives."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import click

from ....alerts import AlertRules
from ....concurrency import essential, green
from ....errors import QueueUnavailable
from ....process import descriptors, supervisor
from ....process.log_output import configure_logging, is_json
from ....process.stop_signals import StopSignals, log_shutdown, wait_for_redis
from ....process.stuck import end_if_stuck
from ....process.title import set_title
from ....queue import Queue
from ....settings import Settings
from ....webhooks.node_events import NodeEvents
from ....worker import selection
from ....worker.gate import gate
from ...output import plain
from .queue_loading import load

log = logging.getLogger("kue")

#: A process in which no thread has run for so long, and for two leases, is stuck, seconds.
STUCK_S = 10.0
#: Poll interval for signals, seconds.
LOOK_S = 0.2
#: Checks in a row that must find nothing to do before --burst exits: a reserved job may be on its way here.
IDLE_CHECKS = 2


@dataclass(frozen=True)
class WorkerOptions:
    """The command line of one worker process."""

    target: str
    concurrency: Mapping[str, int]
    timeout_s: float
    only: frozenset[str] | None = None
    burst: bool = False
    log_level: str = "info"
    verbose: bool = False
    quiet: bool = False
    node_events: bool = False

    def __post_init__(self) -> None:
        if self.quiet:
            object.__setattr__(self, "log_level", "warning")

    def arguments(self) -> list[str]:
        """Return the command line that runs a worker with these options."""
        words = ["worker", self.target, "--timeout", f"{self.timeout_s * 1000:.0f}ms", "--log-level", self.log_level]
        for job_type, slots in self.concurrency.items():
            words += ["-c", f"{job_type}={slots}"]
        if self.only is not None:
            words += ["--only", ",".join(sorted(self.only))]
        flags = {"--verbose": self.verbose, "--quiet": self.quiet, "--node-events": self.node_events}
        return words + [flag for flag, given in flags.items() if given]


def run_worker(options: WorkerOptions) -> int:
    """Run one worker process until a signal arrives; return its exit code."""
    configure_logging(options.log_level, completions=options.verbose)
    is_supervised = supervisor.end_with_parent()
    essential.on_exit = essential.exit_process
    descriptors.raise_limit()
    signals = StopSignals(options.timeout_s)
    if options.only is not None:
        selection.restrict(options.only)
    gate.hold()  # until all handlers are there, and the supervisor knows that this process can work
    try:
        queue = load(options.target)
        queue._declare_at_start(options.target)
        queue.work()
        if queue.alert_rules() == AlertRules():
            queue.alert_rules(_alert_rules())
    except BaseException:
        gate.release()
        signals.close()
        raise
    signals.release_jobs = queue._release_all
    try:
        if wait_for_redis(queue, signals):
            _prepare(queue, options)
            if options.node_events:
                NodeEvents(queue.session, queue.subscribe).start()
            if is_supervised:
                end_if_stuck(max(STUCK_S, 2 * queue.lease_ms / 1000))
        idle_checks = 0
        while not signals.count and idle_checks < IDLE_CHECKS:
            _show_load(queue, options.target)
            green.sleep(LOOK_S)
            idle_checks = idle_checks + 1 if options.burst and _is_drained(queue) else 0
        log_shutdown(len(queue.running()), options.timeout_s)
        queue.quiet()
        give_up = time.monotonic() + options.timeout_s
        while queue.running() and signals.count < 2 and time.monotonic() < give_up:
            green.sleep(LOOK_S)
        left = len(queue.running())
    finally:
        queue.shutdown(0)  # it has reserved jobs since its first handler was registered
        gate.release()
        signals.ignore()
    log.info("Stopped; running jobs released: %d", left)
    return 0


def _alert_rules() -> AlertRules:
    """Return the alert rules of the environment, for a program that has set none. Raises SettingsError."""
    given = {name: text for name, text in os.environ.items() if name.startswith("KUE_ALERT_")}
    return replace(Settings.load(given).alert_rules, disk_free=None)  # it downloads nothing


def _show_load(queue: Queue, target: str) -> None:
    set_title(f"worker {target} [{len(queue.running())}/{sum(queue.processing().values())} busy]")


def _is_drained(queue: Queue) -> bool:
    """Return whether nothing runs in this process and no job of its types is waiting, paused types aside."""
    if queue.running():
        return False
    try:
        paused = queue.paused()
        aside = {each["type"] for each in queue.limits() if each["by"] and each["waiting"]}  # delayed, until their turn
        return all(
            name in paused or not (name in aside or queue.inactive_count(name)) for name in queue.processing()
        )
    except QueueUnavailable:
        return False


def _prepare(queue: Queue, options: WorkerOptions) -> None:
    """Apply the options that concern types, and report that the worker is ready."""
    if unknown := selection.unknown():
        names = ", ".join(plain(name) for name in selection.known()) or "no type"
        raise click.ClickException(
            f"--only: no handler for type {plain(', '.join(unknown))}; the module has handlers for {names}"
        )
    types = queue.processing()
    if not types:
        raise click.ClickException(
            f"{options.target} has no handlers; its module must declare a @queue.task() or call queue.process(…)"
        )
    for job_type, count in options.concurrency.items():
        if job_type not in types:
            names = ", ".join(plain(name) for name in types)
            raise click.ClickException(
                f"--concurrency: no handler for type {plain(job_type)}; the module has handlers for {names}"
            )
        queue.concurrency(job_type, count)
    slots = ", ".join(f"{plain(name)} ({count})" for name, count in queue.processing().items())
    ready = f"Ready: running {slots} of queue {queue.prefix}, pid {os.getpid()}"
    if is_json():  # what collects the lines may take those of stdout too
        log.info("%s", ready)
    elif not options.quiet:
        print(ready, flush=True)
    supervisor.tell_ready()
    gate.release()
