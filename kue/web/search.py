"""Looking for jobs by id, type, title, url, error or anything in their data, over all states."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypedDict

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.errors import JobNotFound
from kue.web.api import parse_id, queue
from kue.web.lists import monitor
from kue.web.redact import safe_text
from kue.web.views import JobId, JobRow, Mark, job_row

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

finder = Blueprint("finder", __name__)

#: Jobs that an answer holds.
MAX_FOUND = 50
#: Jobs read in one round trip, jobs looked through at most, and seconds that may take: the answer says how far it got.
CHUNK, MAX_LOOK, MAX_LOOK_S = 500, 20_000, 1.5
MAX_QUERY = 200


class Found(TypedDict):
    """The answer to a search."""

    mark: Mark
    counts: dict[str, int]
    rows: list[JobRow]
    looked: int
    """Jobs looked through, from the end of the queue's own order."""
    total: int


def _text(job: Job) -> str:
    raw = job.raw
    return safe_text("\n".join([str(job.id), job.type, raw.get("data", ""), raw.get("error", "")])).casefold()


def _by_index(queue: Queue, words: str) -> list[Job]:
    """Return what the search index knows, where there is one."""
    find = getattr(queue, "search", None)
    return queue.get_many([int(i) for i in find(words)[:MAX_FOUND] if str(i).isdecimal()]) if find is not None else []


def search(queue: Queue, words: str) -> tuple[list[Job], int, int]:
    """Return the jobs that hold all words, how many were looked through, and how many there are."""
    found: dict[JobId, Job] = {}
    try:
        job = queue.get(parse_id(words.removeprefix("#")))
        found[job.id or 0] = job
    except JobNotFound:
        pass
    found.update({job.id or 0: job for job in _by_index(queue, words)})
    wanted = words.casefold().split()
    total = sum(queue.counts().values())
    looked, end = 0, time.monotonic() + MAX_LOOK_S
    while looked < min(total, MAX_LOOK) and len(found) < MAX_FOUND and time.monotonic() < end:
        jobs = queue.range(-looked - CHUNK, -looked - 1, "desc")
        for job in jobs:
            text = _text(job)
            if len(found) < MAX_FOUND and all(word in text for word in wanted):
                found.setdefault(job.id or 0, job)
        looked += CHUNK
    return list(found.values()), min(looked, total), total


def _answer() -> Found:
    words = request.args.get("q", "").strip()[:MAX_QUERY]
    mark = monitor().relay.mark()
    jobs, looked, total = search(queue(), words) if words else ([], 0, 0)
    return {
        "mark": mark,
        "counts": queue().counts(),
        "rows": [job_row(job) for job in jobs],
        "looked": looked,
        "total": total,
    }


@finder.get("/search")
def page() -> ResponseReturnValue:
    """The answer as a page; its rows stay fresh."""
    words = request.args.get("q", "").strip()[:MAX_QUERY]
    return render_template("search.html", page="search", words=words, found=_answer(), max_found=MAX_FOUND)


@finder.get("/monitor/search")
def data() -> ResponseReturnValue:
    """The answer for the page's script."""
    return jsonify(_answer())
