"""The address of a page, asset or API path, below whatever path the visitor's proxy offers this server at."""

from __future__ import annotations

from flask import request


def link(path: str) -> str:
    """Return where a browser finds ``/job/1``: ``/kue/job/1`` if a proxy offers the server at ``/kue``."""
    return request.script_root + path
