"""A schedule for its page and the API: its next times and its last runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from kue.queue import Queue
from kue.schedules import SavedSchedule

#: Number of next times shown.
UPCOMING = 10
#: States of runs without a job: skipped because the last one had not ended, or the job was removed.
LEFT_OUT, REMOVED = "left out", "removed"


class RunView(TypedDict):
    """One run of a schedule. Times are epoch ms."""

    at: int
    """The time it was for."""
    late_ms: int
    job: int | None
    state: str
    """That of its job; without a job, ``left out`` (skipped) or ``removed``."""
    by_hand: bool
    """Whether it was run by hand."""


class ScheduleView(TypedDict):
    """A schedule. Times are epoch ms, durations ms; null: none."""

    name: str
    type: str
    data: Any
    options: dict[str, Any]
    when: str
    """The rule as text."""
    cron: str | None
    timezone: str | None
    every: int | None
    at: int | None
    start: int | None
    end: int | None
    limit: int | None
    jitter: int
    overlap: str
    missed: str
    owner: str
    """The program that declares it; empty if created by hand."""
    paused: bool
    ended: bool
    next_at: int | None
    due_at: int | None
    """The next time with its jitter."""
    upcoming: list[int]
    last_at: int | None
    late_ms: int | None
    """How late the last time was handled."""
    last_job: int | None
    count: int
    """Jobs created."""
    skipped: int
    """Times skipped because the last job had not ended."""
    runs: list[RunView]
    """The newest ten, newest first."""


def schedule_view(queue: Queue, saved: SavedSchedule) -> ScheduleView:
    """Return one schedule with the states of its last jobs."""
    return schedule_views(queue, [saved])[0]


def schedule_views(queue: Queue, found: Sequence[SavedSchedule]) -> list[ScheduleView]:
    """Return schedules with the states of their last jobs, read in one round trip."""
    ids = sorted({run.job_id for saved in found for run in saved.runs if run.job_id is not None})
    states = {job_id: state for job_id, (state,) in zip(ids, queue.fields(ids, ["state"]), strict=True)}
    return [_view(saved, states) for saved in found]


def _view(saved: SavedSchedule, states: Mapping[int, str | None]) -> ScheduleView:
    runs: list[RunView] = [
        {
            "at": run.at,
            "late_ms": run.late_ms,
            "job": run.job_id,
            "state": LEFT_OUT if run.job_id is None else states[run.job_id] or REMOVED,
            "by_hand": run.by_hand,
        }
        for run in saved.runs
    ]
    form: Any = {**saved.to_dict(), "upcoming": saved.upcoming(UPCOMING), "runs": runs}
    view: ScheduleView = form
    return view
