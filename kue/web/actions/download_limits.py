"""Read and change the download limits. They apply to running downloads too."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from kue.downloads import change_limits
from kue.errors import InvalidJob
from kue.web.access.audit import audit
from kue.web.live.current import queue
from kue.web.present.limits_view import READERS, limits_view

limits = Blueprint("limits", __name__)

@limits.get("/monitor/downloads/limits")
def show() -> ResponseReturnValue:
    """The limits, as text."""
    return jsonify(limits_view(queue()))


@limits.post("/monitor/downloads/limits")
def change() -> ResponseReturnValue:
    """Change some of ``rate``, ``per_host`` and ``min_free``, each a string as in the settings; empty: no limit."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or not asked or not set(asked) <= set(READERS):
        raise InvalidJob(f"send an object with one or more of {', '.join(READERS)}")
    wanted: dict[str, int | None] = {}
    for name, value in asked.items():
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidJob(f"{name} must be a string such as 5M, or empty for no limit")
        try:
            wanted[name] = READERS[name](str(value).strip())
        except ValueError as exc:
            raise InvalidJob(f"{name}: {exc}") from exc
    if "min_free" in wanted:
        wanted["min_free"] = wanted["min_free"] or 0
    change_limits(queue(), **wanted)
    audit("limits " + ", ".join(f"{name}={asked[name] or 'none'}" for name in asked), "downloads")
    return jsonify(limits_view(queue()))
