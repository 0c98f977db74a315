"""The API of schedules: `/schedules` returns JSON, or a page for browsers."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from kue.errors import ScheduleNotFound
from kue.schedules import Schedule
from kue.web.access.audit import audit
from kue.web.api.schedule_body import parse_schedule
from kue.web.errors import error_response, wants_page
from kue.web.live.current import queue
from kue.web.pages.schedules import schedules_page
from kue.web.present.schedule_view import UPCOMING, schedule_view, schedule_views

schedules_api = Blueprint("schedules_api", __name__)


def _asked() -> Schedule:
    return parse_schedule(queue(), request.get_json(silent=True))


@schedules_api.get("/schedules")
def every() -> ResponseReturnValue:
    """All schedules, the next to fire first: as JSON, or as a page for browsers."""
    if wants_page():
        return schedules_page()
    response = jsonify(schedule_views(queue(), queue().schedules()))
    response.vary.add("Accept")
    return response


@schedules_api.post("/schedules")
def save() -> ResponseReturnValue:
    """Create a schedule, or replace the one of that name."""
    wanted = _asked()
    saved = queue().save_schedule(wanted)
    audit("schedule", f"{wanted.name!r}: {wanted.type} {wanted.when}")
    return jsonify(schedule_view(queue(), saved))


@schedules_api.post("/schedules/preview")
def preview() -> ResponseReturnValue:
    """The next times of a schedule, epoch ms, without saving it."""
    return jsonify({"upcoming": queue().preview_schedule(_asked(), UPCOMING)})


@schedules_api.get("/schedules/<path:schedule>")
def one(schedule: str) -> ResponseReturnValue:
    """One schedule."""
    return jsonify(schedule_view(queue(), queue().get_schedule(schedule)))


@schedules_api.delete("/schedules/<path:schedule>")
def remove(schedule: str) -> ResponseReturnValue:
    """Remove a schedule; its jobs stay."""
    if not queue().unschedule(schedule):
        raise ScheduleNotFound(schedule)
    audit("unschedule", repr(schedule))
    return jsonify({"message": f"schedule {schedule} removed"})


@schedules_api.post("/schedules/<path:schedule>/<any(pause, resume, run):action>")
def run(schedule: str, action: str) -> ResponseReturnValue:
    """Pause or resume a schedule, or create its job now."""
    if action == "run":
        job = queue().run_schedule_now(schedule)
        audit("schedule run", repr(schedule))
        return jsonify({"message": f"job {job.id} created", "id": job.id})
    changed = (queue().pause_schedule if action == "pause" else queue().resume_schedule)(schedule)
    if not changed:
        return error_response(409, f"schedule {schedule} is {'already paused' if action == 'pause' else 'not paused'}")
    audit(f"schedule {action}", repr(schedule))
    return jsonify({"message": f"schedule {schedule} {action}d"})
