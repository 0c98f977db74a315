"""The audit log: one line for each action, by any user and through any interface."""

from __future__ import annotations

import logging

from flask import Flask, Response, g, has_request_context, request

from kue.web.access.accounts import ANYBODY, Visitor

#: Logs at level INFO; give this logger its own handler to keep its lines separate.
log = logging.getLogger("kue.web.audit")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def visitor() -> Visitor:
    """Return the sender of the current request."""
    found: Visitor = g.get("kue_visitor", ANYBODY) if has_request_context() else ANYBODY
    return found


def audit(action: str, target: object, by: Visitor | None = None) -> None:
    """Log who did what. The record has the fields ``action``, ``target``, ``user``, ``address``.

    Text from a client is written by ``repr``, so that it cannot forge a line.
    """
    g.kue_audited = True
    user, address = (by or visitor()).name, request.remote_addr
    said = {"action": action, "target": str(target), "user": user, "address": address}
    log.info("%s %s by %s from %s", action, target, user, address, extra=said)


def _rest(response: Response) -> Response:
    """Log each request that changed something and was not logged yet: those of the JSON API, by path."""
    if request.method not in SAFE_METHODS and response.status_code < 400 and not g.get("kue_audited"):
        audit(request.method, repr(request.path))
    elif response.status_code in (401, 403, 429) and request.method not in SAFE_METHODS:
        asked = request.method, request.path, request.remote_addr
        log.warning("Rejected %s %r from %s: %d", *asked, response.status_code)
    return response


def install(app: Flask) -> None:
    """Log every changing request of the app."""
    app.after_request(_rest)
