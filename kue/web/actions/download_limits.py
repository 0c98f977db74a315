"""The limits of all downloads, changed on the system page while they run."""

from __future__ import annotations

from typing import TypedDict

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from kue.downloads import change_limits, changed_limits
from kue.errors import InvalidJob
from kue.setting_parsers import SIZE_UNITS, number_or_none, size_or_none
from kue.web.access.audit import audit
from kue.web.api.kue_api import queue

limits = Blueprint("limits", __name__)

#: How each limit is read from what somebody typed.
READERS = {"rate": size_or_none, "per_host": number_or_none, "min_free": size_or_none}


class LimitsView(TypedDict):
    """The limits as text for fields: ``5M``, or empty for none."""

    rate: str
    per_host: str
    min_free: str


def limits_view() -> LimitsView:
    """Return the limits as they were last changed, else as this process was started."""
    settings = current_app.config["KUE_SETTINGS"]
    changed = changed_limits(queue())

    def text(name: str) -> str:
        number = changed.get(name, getattr(settings, f"download_{name}"))
        return "" if not number else _short(number) if READERS[name] is size_or_none else str(number)

    return {"rate": text("rate"), "per_host": text("per_host"), "min_free": text("min_free")}


def _short(size: int) -> str:
    """Return a size as the settings take it, with the largest unit that says it exactly."""
    for unit in ("t", "g", "m", "k"):
        if size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit.upper()}"
    return str(size)


@limits.get("/monitor/downloads/limits")
def show() -> ResponseReturnValue:
    """The limits, as text."""
    return jsonify(limits_view())


@limits.post("/monitor/downloads/limits")
def change() -> ResponseReturnValue:
    """Change some of ``rate``, ``per_host`` and ``min_free``, each a text as in the settings; empty: no limit."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or not asked or not set(asked) <= set(READERS):
        raise InvalidJob(f"send an object with some of {', '.join(READERS)}")
    wanted: dict[str, int | None] = {}
    for name, value in asked.items():
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidJob(f"{name} is a text such as 5M, or empty for no limit")
        try:
            wanted[name] = READERS[name](str(value).strip())
        except ValueError as exc:
            raise InvalidJob(f"{name}: {exc}") from exc
    if "min_free" in wanted:
        wanted["min_free"] = wanted["min_free"] or 0
    change_limits(queue(), **wanted)
    audit("limits " + ", ".join(f"{name}={asked[name] or 'none'}" for name in asked), "downloads")
    return jsonify(limits_view())
