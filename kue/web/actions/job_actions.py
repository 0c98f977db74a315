"""Actions on one job: each is one call of the queue and one line in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from kue.downloads import discard_part
from kue.errors import InvalidJob
from kue.text.redaction import restore
from kue.web.access.audit import audit
from kue.web.live.current import monitor, parse_id, queue
from kue.web.live.start_event import DOWNLOAD_TYPE, Refused, check_priority, parse_download
from kue.web.pages.job import job_page

if TYPE_CHECKING:
    from kue.queue import Queue

job_actions = Blueprint("job_actions", __name__)

#: Maximum number of log lines per response.
LINES = 500


def _priority(queue: Queue, job_id: int) -> None:
    try:
        queue.set_priority(job_id, check_priority((request.get_json(silent=True) or {}).get("priority")))
    except Refused as exc:
        raise InvalidJob(str(exc)) from exc


def _children() -> bool:
    """Return whether the action includes the jobs that the job waits for: ``{"children": true}``."""
    asked = request.get_json(silent=True)
    return isinstance(asked, dict) and asked.get("children") is True


def _cancel(queue: Queue, job_id: int) -> None:
    """Cancel a job; ``{"keep_partial": false}`` also deletes its partial file, ``{"children": true}``: its flow."""
    asked = request.get_json(silent=True)
    discard = isinstance(asked, dict) and asked.get("keep_partial") is False
    job = queue.get(job_id)
    was = queue.cancel(job_id, discard=discard, children=_children())
    if discard and was != "active":  # there is no worker to do it
        discard_part(current_app.config["KUE_SETTINGS"].download_dir, job)


ACTIONS: dict[str, Callable[[Queue, int], object]] = {
    "retry": lambda queue, job_id: queue.retry(job_id),
    "cancel": _cancel,
    "pause": lambda queue, job_id: queue.pause_job(job_id),
    "resume": lambda queue, job_id: queue.resume_job(job_id),
    "promote": lambda queue, job_id: queue.promote(job_id),
    "remove": lambda queue, job_id: queue.remove(job_id, children=_children()),
    "priority": _priority,
}


@job_actions.post("/monitor/job/<job_id>/<action>")
def run(job_id: str, action: str) -> ResponseReturnValue:
    """Run one action; errors are 404, 409 and 400."""
    number = parse_id(job_id)
    if action == "copy":
        return _copy(number)
    if action not in ACTIONS:
        return jsonify({"error": f"unknown action: {action[:40]}"}), 404
    ACTIONS[action](queue(), number)
    monitor().relay.touch([number])
    audit(action, f"job {number}{' with its children' if action in ('cancel', 'remove') and _children() else ''}")
    return jsonify({"message": "done", "id": number})


def _copy(number: int) -> ResponseReturnValue:
    """Run a job again as a new job, optionally with other data, and link the two."""
    asked = request.get_json(silent=True)
    data: Any = None
    if isinstance(asked, dict) and "data" in asked:
        job = queue().get(number)
        data = restore(asked["data"], job.data)
        if isinstance(data, dict) and "url" in data and job.type == DOWNLOAD_TYPE:
            try:
                parse_download(data, monitor().allow)
            except Refused as exc:
                raise InvalidJob(str(exc)) from exc
    copy = queue().run_as_new(number, data)
    monitor().relay.touch([number, copy.id or 0])
    audit(f"copy to job {copy.id}", f"job {number}")
    return jsonify({"message": "job created", "id": copy.id})


@job_actions.get("/monitor/job/<job_id>")
def part(job_id: str) -> ResponseReturnValue:
    """The dynamic part of a job's page, as HTML."""
    return job_page(queue().get(parse_id(job_id)), part=True)


@job_actions.get("/monitor/job/<job_id>/log")
def log_lines(job_id: str) -> ResponseReturnValue:
    """Lines of a job's log from number ``from`` on, at most LINES."""
    first = request.args.get("from", "0")
    start = int(first) if first.isdecimal() and len(first) < 10 else 0
    lines = queue().log(parse_id(job_id), start)
    answer = jsonify({"from": start, "lines": lines[:LINES], "more": len(lines) > LINES})
    answer.headers["Cache-Control"] = "no-store"
    return answer
