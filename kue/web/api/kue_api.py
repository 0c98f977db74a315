"""Node Kue's JSON API, with the same paths and bodies. Errors have a proper status; GET changes nothing."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flask import Blueprint, Response, abort, after_this_request, jsonify, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob, JobNotFound
from kue.states import STATES
from kue.storage import trace_context
from kue.storage.codec import number
from kue.web.api.job_body import OPTIONS, ignored, parse_job
from kue.web.errors import error_response, wants_page
from kue.web.live.current import monitor, parse_id, queue
from kue.web.live.start_event import DOWNLOAD_TYPE
from kue.web.pages.job import job_page

if TYPE_CHECKING:
    from kue.job import Job

api = Blueprint("api", __name__)

#: Maximum number of jobs in one range.
MAX_RANGE = 10_000
#: Maximum number of jobs that one POST creates.
MAX_BULK = 10_000
#: Maximum number of unknown members in a response.
MAX_IGNORED_NAMES = 10

logger = logging.getLogger("kue.web")


def leading_number(text: str) -> int | None:
    """Return the whole number at the start of a text, like JavaScript's parseInt; None if there is none."""
    match = re.match(r"\s*([+-]?[0-9]{1,18})(?![0-9])", text)
    return int(match.group(1)) if match else None


def job_form(job: Job, *, id_as_text: bool = False) -> dict[str, Any]:
    """Return Kue's JSON form. `/job/:id` returns the id as a string, ranges return it as a number."""
    form = job.to_dict()
    if id_as_text:
        form["id"] = str(job.id)
    return form


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _json_only() -> None:
    """Respond with 404 to clients that do not accept JSON, like Node's router."""
    accepted = request.accept_mimetypes
    if accepted and not accepted["application/json"]:
        abort(404)


@api.after_app_request
def _as_node_labels_it(response: Response) -> Response:
    """Add Node's charset to JSON responses, and remove the content type of empty ones."""
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    elif response.status_code == 204:
        response.headers.pop("Content-Type", None)
    return response


@api.get("/stats")
def stats() -> ResponseReturnValue:
    """Number of jobs per state, and the total run time of completed jobs, ms."""
    _json_only()
    counts = queue().counts()
    names = ("inactive", "complete", "active", "failed", "delayed")
    answer: dict[str, int | None] = {f"{name}Count": counts[name] for name in names}
    # As in Node: null until the first job has completed, then a number.
    answer["workTime"] = number(queue().session.read_one("GET", queue().keys.work_time, default=None))
    return jsonify(answer)


@api.get("/job/types")
def types() -> ResponseReturnValue:
    """All types ever saved."""
    _json_only()
    return jsonify(queue().types())


@api.get("/job/search")
def search() -> ResponseReturnValue:
    """Ids of the jobs that contain all words of `q`, as strings, best first."""
    _json_only()
    words = request.args.get("q", "")
    return jsonify([str(job_id) for job_id in queue().search(words)])


@api.get("/job/<path:job_id>")
def one(job_id: str) -> ResponseReturnValue:
    """One job: as JSON, or as a page for browsers."""
    parts = written_parts("job", job_id)
    if len(parts) == 2 and parts[1].lower() == "log":
        return log(parts[0])
    if len(parts) != 1:
        abort(404)
    job = queue().get(parse_id(parts[0]))
    if wants_page():
        return job_page(job)
    response = jsonify(job_form(job, id_as_text=True))
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Accept")
    return response


@api.get("/job/<job_id>/log")
def log(job_id: str) -> ResponseReturnValue:
    """A job's log, oldest line first; empty for a missing job, as in Node."""
    _json_only()
    try:
        return jsonify(queue().log(parse_id(job_id)))
    except JobNotFound:
        return jsonify([])


@api.get("/jobs/<path:rest>")
def ranges(rest: str) -> ResponseReturnValue:
    """`/jobs/[[:type/]:state/]:from..:to[/:order]` and `/jobs/:type/:state/stats`; a type may contain %2F."""
    _json_only()
    parts = written_parts("jobs", rest)
    if parts[-1].lower() == "stats" and len(parts) >= 3:
        job_type, state = "/".join(parts[:-2]), parts[-2]
        return jsonify({"count": queue().count_of(state, job_type)})
    order = "asc"
    if ".." not in parts[-1] and len(parts) >= 2:
        order = "desc" if parts.pop() == "desc" else "asc"
    match = re.fullmatch(r"(.+)\.\.([^.]+)", parts.pop())
    if match is None or len(parts) > 2:
        abort(404)
    start, stop = (leading_number(text) for text in match.groups())
    if start is None or stop is None:
        return error_response(400, "ERR value is not an integer or out of range")
    return _jobs(parts, start, stop, order)


def _jobs(parts: list[str], start: int, stop: int, order: str) -> Response:
    """Read the range of ranks in a path: of all jobs, of a state, or of a type and state."""
    state, job_type = parts[-1] if parts else None, parts[0] if len(parts) > 1 else None
    if (start < 0) == (stop < 0):
        stop = min(stop, start + MAX_RANGE - 1)
    elif start >= 0:
        stop = min(queue().count_of(state, job_type) + stop, start + MAX_RANGE - 1)
        if stop < start:
            return jsonify([])
    if state is None:
        found = queue().range(start, stop, order)
    else:
        found = queue().range_of(state, job_type, start, stop, order)
    return jsonify([job_form(job) for job in found if _is_json(job.raw.get("data"))])


@api.post("/job")
def create() -> ResponseReturnValue:
    """Create a job, or each valid one of an array; invalid ones get an error in their place, with status 400."""
    body = request.get_data()
    if not body:
        return "", 204
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or not re.fullmatch(r"utf-(8|16|16le|16be|32|32le|32be)", charset):
        return error_response(415, "send the job as application/json in UTF-8")
    try:
        asked = json.loads(body.decode(charset).removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return error_response(400, "the body is not JSON")
    if not isinstance(asked, (dict, list)):
        return error_response(400, "the body must be an object or an array of objects")
    if not asked:
        return "", 204
    _report_ignored(asked if isinstance(asked, list) else [asked])
    trace = trace_context.read({name: request.headers.get(name, "") for name in trace_context.FIELDS})
    if isinstance(asked, dict):
        job = parse_job(queue(), asked, monitor().allow)
        job.trace_context = trace
        job.save()
        if job.type == DOWNLOAD_TYPE and not job.options.unique:
            queue().claim_unique(job, "url")
        monitor().relay.touch([job.id or 0])
        return jsonify({"message": _message(job), "id": job.id})
    if len(asked) > MAX_BULK:
        return error_response(413, f"too many jobs; the limit is {MAX_BULK:,} in one request")
    answers: list[dict[str, Any]] = []
    jobs: list[tuple[int, Job]] = []
    for place, each in enumerate(asked):
        try:
            job = parse_job(queue(), each, monitor().allow)
            job.trace_context = trace
            if job.options.unique and job.options.unique.on_duplicate == "reject":
                raise InvalidJob("on_duplicate reject is for one job at a time")
            jobs.append((place, job))
            answers.append({})
        except InvalidJob as exc:
            answers.append({"error": str(exc)})
    if jobs:
        queue().create_many([job for _, job in jobs])
    for place, job in jobs:
        answers[place] = {"message": _message(job), "id": job.id}
    monitor().relay.touch([job.id or 0 for _, job in jobs])
    response = jsonify(answers)
    response.status_code = 200 if len(jobs) == len(asked) else 400
    return response


def _report_ignored(asked: list[Any]) -> None:
    """Report unknown members and options of the jobs in a response header and in the log, once per request."""
    names = sorted({name for each in asked for name in ignored(each)})[:MAX_IGNORED_NAMES]
    if not names:
        return
    text = ", ".join(names)
    logger.warning("POST /job: unknown and ignored: %s. Options are %s, in \"options\"", text, ", ".join(OPTIONS))

    @after_this_request
    def add(response: Response) -> Response:
        response.headers["X-Kue-Ignored"] = text
        return response


def _message(job: Job) -> str:
    return "job exists" if job.duplicate else "job created"


# For an id with an encoded slash, the error is about a missing job, not a missing page.
@api.put("/job/<job_id>/state/<state>")
@api.put("/job/<path:job_id>/state/<state>")
def set_state(job_id: str, state: str) -> ResponseReturnValue:
    """Move a job to a state."""
    number = parse_id(job_id)
    if state not in STATES:
        return error_response(400, "invalid state")
    queue().set_state(number, state)
    monitor().relay.touch([number])
    return jsonify({"message": "updated state"})


@api.put("/job/<job_id>/priority/<priority>")
@api.put("/job/<path:job_id>/priority/<priority>")
def set_priority(job_id: str, priority: str) -> ResponseReturnValue:
    """Change a job's priority, parsed like JavaScript's parseInt, as in Node."""
    level = leading_number(priority)
    if level is None:
        return error_response(400, "invalid priority")
    number = parse_id(job_id)
    queue().set_priority(number, level)
    monitor().relay.touch([number])
    return jsonify({"message": "updated priority"})


@api.delete("/job/<job_id>")
@api.delete("/job/<path:job_id>")
def remove(job_id: str) -> ResponseReturnValue:
    """Remove a job; with ``?children=1`` also the jobs that it waits for."""
    queue().remove(parse_id(job_id), children=request.args.get("children") in ("1", "true"))
    return jsonify({"message": f"job {job_id} removed"})


def raw_path() -> str:
    """Return the path as sent by the client, still percent-encoded if the server passes that on."""
    environ = request.environ
    written = environ.get("RAW_PATH_INFO") or environ.get("RAW_URI") or environ.get("REQUEST_URI") or request.path
    return str(written).partition("?")[0]


def written_parts(first: str, rest: str) -> list[str]:
    """Return the parts of the path after ``first``. A slash encoded as %2F does not separate parts.

    ``rest`` is Flask's version of them, for servers that do not pass on the encoded path.
    """
    # The path at which the monitor is offered may have ``first`` in it, too.
    for match in re.finditer(rf"(?=/{first}/([^?]*)$)", raw_path(), re.IGNORECASE):
        parts = [unquote(part) for part in match.group(1).rstrip("/").split("/")]
        if "/".join(parts) == rest.rstrip("/"):
            return parts
    return rest.rstrip("/").split("/")


@api.before_request
def check_encoding() -> None:
    """Respond with 400 to a path that is not UTF-8, which cannot name a type."""
    try:
        str(request.environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8")
    except UnicodeError:
        abort(400, "the path is not UTF-8")
    if re.search("%(?![0-9a-f]{2})", raw_path(), re.IGNORECASE):
        abort(400, "a % in the path is not followed by two hexadecimal digits")


def lower_case_words(path: str) -> str:
    """Return the path with Kue's own words in lower case: Node's router ignores case. Types are unchanged."""
    parts = path.split("/")
    words = [{"stats", "job", "jobs", "active", "inactive", "failed", "complete", "delayed"}, {"types", "search"}]
    for place, known in enumerate(words, start=1):
        if len(parts) > place and parts[place].lower() in known and (place == 1 or parts[1] == "job"):
            parts[place] = parts[place].lower()
    if len(parts) > 3 and parts[1] == "job" and parts[3].lower() in ("log", "state", "priority"):
        parts[3] = parts[3].lower()
    return "/".join(parts)
