"""Many downloads at once: a list of URLs, checked line by line and started together."""

from __future__ import annotations

from typing import TypedDict

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from kue.downloads.url_list import ListedUrl, read_urls
from kue.errors import InvalidJob
from kue.text.redaction import safe_text
from kue.web.access.audit import audit
from kue.web.live.current import monitor, queue
from kue.web.live.start_event import Refused, create, create_with_archive, parse

url_list = Blueprint("url_list", __name__)

#: Maximum number of problems per response.
MAX_NAMED = 100


class UrlProblem(TypedDict):
    """A line that will not be downloaded."""

    line: int
    url: str
    error: str
    """Why: an error of the URL, or an earlier line with the same URL."""


class UrlListView(TypedDict):
    """The contents of a list of URLs, and the jobs that were started."""

    usable: int
    invalid: int
    duplicates: int
    problems: list[UrlProblem]
    """At most MAX_NAMED."""
    ids: list[int]
    archive: int | None
    """The job that archives their files."""


def _problem(each: ListedUrl) -> UrlProblem:
    error = each.error or f"Duplicate of line {each.duplicate_of}"
    return {"line": each.line, "url": safe_text(each.url)[:200], "error": error}


@url_list.post("/monitor/downloads/list")
def check_or_start() -> ResponseReturnValue:
    """Check the URLs in ``text``; with ``start``, create a job for each valid one, with the same ``options``.

    With ``archive``, also a job that waits for them and puts their files into one archive.
    """
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or not isinstance(asked.get("text"), str):
        raise InvalidJob("send an object with text, one URL per line")
    options = asked.get("options", {})
    if not isinstance(options, dict):
        raise InvalidJob("options must be an object")
    allow = monitor().allow
    try:
        listed = read_urls(asked["text"].splitlines(), allow)
        usable = [{**options, "type": "download", "url": each.url} for each in listed if each.is_usable]
        wanted = [parse((each,), allow) for each in usable]
    except (Refused, ValueError) as exc:
        raise InvalidJob(str(exc)) from None
    ids: list[int] = []
    archive: int | None = None
    if wanted and asked.get("start") is True:
        if asked.get("archive") is True:
            ids, archive = create_with_archive(queue(), wanted)
        else:
            ids = [create(queue(), each) for each in wanted]
        monitor().relay.touch([*ids, archive] if archive else ids)
        audit("start", f"{len(ids)} jobs, {ids[0]} to {ids[-1]}{f', and archive job {archive}' if archive else ''}")
    answer: UrlListView = {
        "usable": len(wanted),
        "invalid": sum(each.error is not None for each in listed),
        "duplicates": sum(each.duplicate_of is not None for each in listed),
        "problems": [_problem(each) for each in listed if not each.is_usable][:MAX_NAMED],
        "ids": ids,
        "archive": archive,
    }
    return jsonify(answer)
