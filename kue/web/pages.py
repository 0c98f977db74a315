"""The HTML pages. Each is complete as the server sends it; the scripts then keep it fresh."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, abort, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.states import STATES
from kue.web.api import parse_id, queue
from kue.web.audit import visitor
from kue.web.lists import PAGE_ROWS, home_lists, rows_of, state_list
from kue.web.sample import PATH as SAMPLE_PATH
from kue.web.texts import duration_text, size_text, time_text
from kue.web.views import STATE_LABELS, file_url

pages = Blueprint("pages", __name__)

LOOPBACK = frozenset({"", "0.0.0.0", "::", "localhost", "127.0.0.1", "::1"})
#: Finished rows that a page may ask about beside its list.
MAX_ALSO = 100

#: In which order each state's list is read first, and what the two orders are called.
ORDERS = {
    "active": ("asc", "first in line first", "last in line first"),
    "inactive": ("asc", "next to run first", "last to run first"),
    "delayed": ("asc", "due soonest first", "due last first"),
    "failed": ("desc", "oldest first", "newest first"),
    "complete": ("desc", "oldest first", "newest first"),
}
BULK_ACTS = {
    "inactive": [("remove", "Remove")],
    "delayed": [("promote", "Start"), ("remove", "Remove")],
    "failed": [("retry", "Retry"), ("remove", "Remove")],
    "complete": [("remove", "Remove")],
}


def sample_url() -> str:
    """Return the built-in sample's address as this server's own worker reaches it, whatever name the visitor used."""
    settings = current_app.config["KUE_SETTINGS"]
    host = "127.0.0.1" if settings.host in LOOPBACK else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{SAMPLE_PATH}"


def _iso(ms: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


@pages.app_context_processor
def _everywhere() -> dict[str, Any]:
    return {
        "labels": STATE_LABELS,
        "file_url": file_url,
        "accounts": current_app.extensions["kue_security"].accounts,
        "visitor": visitor(),
        "may_write": visitor().may_write,
    }


for _name, _filter in (
    ("size_text", size_text),
    ("duration_text", duration_text),
    ("time_text", time_text),
    ("iso", _iso),
):
    pages.add_app_template_filter(_filter, _name)


@pages.get("/")
def home() -> ResponseReturnValue:
    """The article's page: Start job, and what is running, waiting and lately finished."""
    return render_template("index.html", page="home", lists=home_lists(), sample_url=sample_url())


@pages.get("/monitor/home")
def home_data() -> ResponseReturnValue:
    """The same lists for the page's script, when it cannot catch up by changes alone.

    ``also``: ids, comma between, of jobs that the page goes on showing although they ended.
    """
    ids = [parse_id(text) for text in request.args.get("also", "").split(",") if text][:MAX_ALSO]
    answer = home_lists()
    return jsonify({**answer, "also": rows_of(ids)})


def _list_arguments() -> tuple[str | None, str, int]:
    """Return the type, order and first rank that the query asks for."""
    first = request.args.get("from", "0")
    if not first.isdecimal() or len(first) > 12:
        abort(400, "from must be a whole number")
    return request.args.get("type") or None, request.args.get("order", ""), int(first)


@pages.get("/<any(active, inactive, failed, complete, delayed):state>")
def state_page(state: str) -> ResponseReturnValue:
    """The jobs of one state, by type if asked, a page at a time."""
    job_type, order, first = _list_arguments()
    default, ascending, descending = ORDERS[state]
    order = order if order in ("asc", "desc") else default
    listed = state_list(state, job_type, order, first)

    def url(start: int) -> str:
        return f"/{state}?" + urlencode({"type": job_type or "", "order": order, "from": max(0, start)})

    return render_template(
        "list.html", page=state, state=state, job_type=job_type or "", order=order, list=listed, types=queue().types(),
        orders=[("asc", ascending), ("desc", descending)], bulk_acts=BULK_ACTS.get(state), page_size=PAGE_ROWS, url=url,
    )  # fmt: skip


@pages.get("/monitor/list/<state>")
def list_data(state: str) -> ResponseReturnValue:
    """The same list for the page's script."""
    if state not in STATES:
        abort(404)
    job_type, order, first = _list_arguments()
    return jsonify(state_list(state, job_type, "desc" if order == "desc" else "asc", first))
