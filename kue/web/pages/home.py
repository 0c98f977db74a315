"""The home page and the lists by state. The server renders them; scripts then update them."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import Blueprint, abort, current_app, g, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.states import ASIDE_UNTIL_MS, HOLD_UNTIL_MS, STATES, WAIT_UNTIL_MS
from kue.storage.codec import PRIORITIES
from kue.text.humanize import duration_text, relative_text, size_text
from kue.web.access.audit import visitor
from kue.web.links import link
from kue.web.live.current import parse_id, queue
from kue.web.live.snapshots import HOME_ROWS, PAGE_ROWS, home_lists, rows_of, state_list
from kue.web.pages.overview import overview_page
from kue.web.pages.sample_file import PATH as SAMPLE_PATH
from kue.web.present.humanize import CHART_WORDS, iso_text, time_text
from kue.web.present.job_row import STATE_LABELS, file_url, priority_word, when_ms, when_text

pages = Blueprint("pages", __name__)

LOOPBACK = frozenset({"", "0.0.0.0", "::", "localhost", "127.0.0.1", "::1"})
#: Maximum number of finished jobs that a page may request in addition to its list.
MAX_ALSO = 100

#: Each list's default order, and the labels of both orders.
ORDERS = {
    "active": ("asc", "oldest first", "newest first"),
    "inactive": ("asc", "next to run first", "last to run first"),
    "delayed": ("asc", "due soonest first", "due latest first"),
    "failed": ("desc", "oldest first", "newest first"),
    "complete": ("desc", "oldest first", "newest first"),
}
BULK_ACTIONS = {
    "inactive": [("remove", "Remove")],
    "delayed": [("promote", "Start"), ("remove", "Remove")],
    "failed": [("retry", "Retry"), ("remove", "Remove")],
    "complete": [("remove", "Remove")],
}


def sample_url() -> str:
    """Return the sample file's URL as workers reach it; empty inside an application."""
    if "sample" not in current_app.blueprints:
        return ""
    settings = current_app.config["KUE_SETTINGS"]
    if settings.internal_url is not None:
        return f"{settings.internal_url}{SAMPLE_PATH}"
    host = "127.0.0.1" if settings.host in LOOPBACK else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{SAMPLE_PATH}"


def page_config() -> dict[str, Any]:
    """Return the server's constants for the scripts, included in each page as JSON."""
    return {
        "base_path": link(""),
        "state_labels": STATE_LABELS,
        "priorities": PRIORITIES,
        "hold_until_ms": HOLD_UNTIL_MS,
        "wait_until_ms": WAIT_UNTIL_MS,
        "aside_until_ms": ASIDE_UNTIL_MS,
        "home_rows": HOME_ROWS,
        "page_rows": PAGE_ROWS,
        "also_max": MAX_ALSO,
        "may_write": visitor().may_write,
        "bulk_actions": BULK_ACTIONS,
    }


@pages.app_context_processor
def _everywhere() -> dict[str, Any]:
    return {
        "labels": STATE_LABELS,
        "file_url": file_url,
        "priority_word": priority_word,
        "chart_words": CHART_WORDS,
        "downloads": current_app.config["KUE_DOWNLOADS"],
        "priorities": PRIORITIES,
        "page_config": page_config(),
        "when_ms": when_ms,
        "when_text": lambda row: when_text(row, time.time() * 1000),
        "knows_visitors": current_app.extensions["kue_security"].knows_visitors,
        "visitor": visitor(),
        "offers_logout": current_app.extensions["kue_security"].offers_logout(),
        "may_write": visitor().may_write,
        "has_access": "kue_visitor" in g,
    }


for _name, _filter in (
    ("size_text", size_text),
    ("duration_text", duration_text),
    ("time_text", time_text),
    ("iso", iso_text),
    ("relative", lambda at: relative_text(time.time() * 1000 - at)),
    ("number", lambda value: f"{value or 0:,}"),
    ("status_phrase", lambda status: HTTPStatus(status).phrase),
):
    pages.add_app_template_filter(_filter, _name)


@pages.get("/")
def home() -> ResponseReturnValue:
    """The home page: the form to start a download, running, waiting and recently finished jobs.

    Without downloads, it is the overview.
    """
    if not current_app.config["KUE_DOWNLOADS"]:
        return overview_page()
    return render_template("pages/home.html", page="home", lists=home_lists(), sample_url=sample_url())


@pages.get("/monitor/home")
def home_data() -> ResponseReturnValue:
    """The same lists for the page's script, when it cannot catch up from changes.

    ``also``: comma-separated ids of finished jobs that the page still shows.
    """
    ids = [parse_id(text) for text in request.args.get("also", "").split(",") if text][:MAX_ALSO]
    answer = home_lists()
    return jsonify({**answer, "also": rows_of(ids)})


class ListQuery(NamedTuple):
    """The part of a list selected by a request's query."""

    job_type: str | None
    order: str
    first: int
    after: str | None
    before: str | None


def _list_query() -> ListQuery:
    first = request.args.get("from", "0")
    if not first.isdecimal() or len(first) > 12:
        abort(400, "from must be a whole number")
    after, before = (request.args.get(name, "")[:64] or None for name in ("after", "before"))
    return ListQuery(request.args.get("type") or None, request.args.get("order", ""), int(first), after, before)


@pages.get("/<any(active, inactive, failed, complete, delayed):state>")
def state_page(state: str) -> ResponseReturnValue:
    """The jobs of one state, optionally of one type, a page at a time."""
    asked = _list_query()
    default, ascending, descending = ORDERS[state]
    order = asked.order if asked.order in ("asc", "desc") else default
    listed = state_list(state, asked.job_type, order, asked.first, asked.after, asked.before)

    def url(start: int, **anchor: object) -> str:
        query = {"type": asked.job_type or "", "order": order, "from": max(0, start), **anchor}
        return f"/{state}?" + urlencode({name: value for name, value in query.items() if value not in ("", None)})

    return render_template(
        "pages/list.html", page=state, state=state, asked=asked, job_type=asked.job_type or "", order=order,
        list=listed, types=queue().types(), orders=[("asc", ascending), ("desc", descending)],
        bulk_actions=BULK_ACTIONS.get(state), page_size=PAGE_ROWS, url=url,
    )  # fmt: skip


@pages.get("/monitor/list/<state>")
def list_data(state: str) -> ResponseReturnValue:
    """The same list for the page's script."""
    if state not in STATES:
        abort(404)
    asked = _list_query()
    order = "desc" if asked.order == "desc" else "asc"
    return jsonify(state_list(state, asked.job_type, order, asked.first, asked.after, asked.before))
