"""Search for jobs by id, type, title, url, error or anything in their data, over all states."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, TypedDict

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.errors import JobNotFound
from kue.text.redaction import safe_text
from kue.web.live.current import monitor, parse_id, queue
from kue.web.present.job_row import JobId, JobRow, Mark, job_row

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

finder = Blueprint("finder", __name__)

#: Maximum number of jobs in a response.
MAX_FOUND = 50
#: Number of jobs scanned per call, and the time limit of a search, seconds: the response says how far it got.
CHUNK, MAX_SCAN_S = 500, 2.0
MAX_QUERY = 200


class SearchAnswer(TypedDict):
    """The response to a search."""

    mark: Mark
    counts: dict[str, int]
    rows: list[JobRow]
    first: int
    """Where the scan began."""
    looked: int
    """Where it ended. Jobs are scanned from the lowest priority on, newest first."""
    total: int


def _text(job: Job) -> str:
    raw = job.raw
    return safe_text("\n".join([str(job.id), job.type, raw.get("data", ""), raw.get("error", "")])).casefold()


def _scan(queue: Queue, words: str, begin: int, most: int) -> tuple[list[Job], int]:
    """Scan the next CHUNK jobs; return those that contain all words, at most ``most``, and how many were scanned.

    Redis scans the stored data; hidden parts (a password in a URL) must not be found either.
    """
    ids, count = queue.look_through(words.split(), begin, CHUNK, most)
    wanted = words.casefold().split()

    def holds_all(job: Job) -> bool:
        text = _text(job)
        return all(word in text for word in wanted)

    found = [job for job in queue.get_many(ids) if holds_all(job)]
    time.sleep(0)  # let other requests run
    return found, count


def _by_index(queue: Queue, words: str) -> list[Job]:
    """Return the results of the search index, for queues that have one."""
    return queue.get_many(queue.search(words, MAX_FOUND))


def search(queue: Queue, words: str, begin: int = 0) -> tuple[list[Job], int, int]:
    """Return the jobs that contain all words, how far the scan got (the next ``begin``), and the number of jobs.

    A job found by its id comes first, then the search index's results, then those of a scan.
    """
    found: dict[JobId, Job] = {}
    if not begin:
        with contextlib.suppress(JobNotFound):
            job = queue.get(parse_id(words.removeprefix("#")))
            found[job.id or 0] = job
        found.update({job.id or 0: job for job in _by_index(queue, words)})
    total = sum(queue.counts().values())
    looked, end = begin, time.monotonic() + MAX_SCAN_S
    while looked < total and len(found) < MAX_FOUND and time.monotonic() < end:
        jobs, count = _scan(queue, words, looked, MAX_FOUND - len(found))
        found.update({job.id or 0: job for job in jobs})
        looked += count
        if not count:
            break
    return list(found.values()), min(looked, total), total


def matching(queue: Queue, words: str, states: Collection[str], job_type: str = "") -> list[JobId]:
    """Return the ids of all jobs that contain all words, in one of ``states`` (and of a type), without a limit."""
    found: list[JobId] = []
    looked, count = 0, 1
    while count:
        jobs, count = _scan(queue, words.removeprefix("#"), looked, CHUNK)
        found += [job.id or 0 for job in jobs if job.state in states and job_type in ("", job.type)]
        looked += count
    return found


def _answer() -> SearchAnswer:
    words = request.args.get("q", "").strip()[:MAX_QUERY]
    text = request.args.get("from", "")
    begin = int(text) if text.isdecimal() and len(text) < 12 else 0
    mark = monitor().relay.mark()
    jobs, looked, total = search(queue(), words, begin) if words else ([], 0, 0)
    return {
        "mark": mark,
        "counts": queue().counts(),
        "rows": [job_row(job) for job in jobs],
        "first": begin,
        "looked": looked,
        "total": total,
    }


@finder.get("/search")
def page() -> ResponseReturnValue:
    """The search page."""
    words = request.args.get("q", "").strip()[:MAX_QUERY]
    return render_template("pages/search.html", page="search", words=words, found=_answer())


@finder.get("/monitor/search")
def data() -> ResponseReturnValue:
    """The same for the page's script."""
    return jsonify(_answer())
