"""URLs of pages, assets and API paths, including the path under which a proxy serves this server."""

from __future__ import annotations

from flask import request


def link(path: str) -> str:
    """Return the URL of ``/job/1`` for a browser: ``/kue/job/1`` if a proxy serves the server under ``/kue``."""
    return request.script_root + path
