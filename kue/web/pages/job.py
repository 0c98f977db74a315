"""The page of one job. Its script reloads the dynamic part when the job changes."""

from __future__ import annotations

from flask import Response, current_app, render_template

from kue.job import Job
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor
from kue.web.present.job_detail import job_detail


def job_page(job: Job, *, part: bool = False) -> Response:
    """Return the page, or with ``part`` only its dynamic part. The mark is older than the contents."""
    queue = current_app.config["KUE_QUEUE"]
    mark = monitor().relay.mark()
    job = job.refresh()
    name = "refreshed/job.html" if part else "pages/job.html"
    body = render_template(
        name, page="job", job=job_detail(queue, job), mark=mark, counts=None if part else queue.counts()
    )
    response = SafeResponse(body, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Kue-Mark"] = f"{mark['epoch']} {mark['seq']}"
    response.vary.add("Accept")
    return response
