"""The HTML pages. Each is complete as the server sends it; the scripts then keep it fresh."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.web.lists import home_lists
from kue.web.sample import PATH as SAMPLE_PATH
from kue.web.views import STATE_LABELS, file_url

pages = Blueprint("pages", __name__)

LOOPBACK = frozenset({"", "0.0.0.0", "::", "localhost", "127.0.0.1", "::1"})


def sample_url() -> str:
    """Return the built-in sample's address as this server's own worker reaches it, whatever name the visitor used."""
    settings = current_app.config["KUE_SETTINGS"]
    if request.host.count(":") == 0 and not settings.port:
        return request.host_url.rstrip("/") + SAMPLE_PATH
    host = "127.0.0.1" if settings.host in LOOPBACK else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{SAMPLE_PATH}"


@pages.app_context_processor
def _everywhere() -> dict[str, Any]:
    return {"labels": STATE_LABELS, "file_url": file_url}


@pages.get("/")
@pages.get("/active")
def home() -> ResponseReturnValue:
    """The article's page: Start job, and what is running, waiting and lately finished."""
    return render_template("index.html", page="home", lists=home_lists(), sample_url=sample_url())


@pages.get("/monitor/home")
def home_data() -> ResponseReturnValue:
    """The same lists for the page's script, when it cannot catch up by changes alone."""
    return jsonify(home_lists())
