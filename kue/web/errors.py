"""Errors as responses: Kue's ``{"error": …}`` for programs, a page for browsers, both with the right status."""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from kue.errors import (
    DuplicateJob,
    InvalidJob,
    JobNotFound,
    KueError,
    QueueUnavailable,
    ScheduleNotFound,
    WebhookNotFound,
    WrongState,
)
from kue.web.answers import SafeResponse

log = logging.getLogger("kue.web")

#: Paths of APIs: their errors are JSON unless the client prefers HTML.
API_PATH = re.compile(r"/(job|jobs|limits|schedules|webhooks|alerts|stats|monitor|healthz|metrics)(/|$)")
#: Paths of Node Kue's API. Its router answers 404 to a method that a path does not have.
NODES_PATH = re.compile(r"/(stats|jobs?)(/|$)")


def error_response(status: int, message: str) -> Response:
    """Return Kue's error body with a status."""
    response: Response = jsonify({"error": message})
    response.status_code = status
    return response


def wants_page() -> bool:
    """Return whether the client prefers HTML, as a browser does."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def _answer(status: int, message: str) -> Response:
    if API_PATH.match(request.path.lower()) and not wants_page():
        return error_response(status, message)
    return SafeResponse(render_template("error.html", status=status, message=message), status, mimetype="text/html")


def _methods_of_path() -> list[str]:
    """Return the methods that the path of the request accepts, sorted.

    The rules for a job's id also match deeper paths, since an id may contain a slash. Such a path is not a known one.
    """
    adapter = current_app.create_url_adapter(request)
    methods: set[str] = set()
    for method in adapter.allowed_methods() if adapter is not None else ():
        rule, found = adapter.match(method=method, return_rule=True)  # type: ignore[union-attr]
        if "/" not in str(found.get("job_id", "")):
            methods |= (rule.methods or set()) & {method}
    return sorted(methods - {"OPTIONS"}) and sorted(methods)


def install(app: Flask) -> None:
    """Handle every error of the app."""

    @app.errorhandler(JobNotFound)
    def not_found(exc: JobNotFound) -> Response:
        if wants_page():
            return _answer(404, f"job {exc.job_id} does not exist")
        return _answer(404, f'job "{exc.job_id}" doesnt exist')  # as Node Kue spells it

    @app.errorhandler(ScheduleNotFound)
    @app.errorhandler(WebhookNotFound)
    def no_schedule(exc: KueError) -> Response:
        return _answer(404, str(exc))

    @app.errorhandler(DuplicateJob)
    @app.errorhandler(WrongState)
    def conflict(exc: KueError) -> Response:
        return _answer(409, str(exc))

    @app.errorhandler(InvalidJob)
    def invalid(exc: InvalidJob) -> Response:
        return _answer(400, str(exc))

    @app.errorhandler(QueueUnavailable)
    def unavailable(exc: QueueUnavailable) -> Response:
        return _answer(503, "Redis is not responding; try again in a moment")

    @app.errorhandler(KueError)
    def refused(exc: KueError) -> Response:
        return _answer(400, str(exc))

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(exc: RequestEntityTooLarge) -> Response:
        return error_response(413, "the request body is too large; the limit is 1,048,576 bytes")

    @app.errorhandler(MethodNotAllowed)
    def wrong_method(exc: MethodNotAllowed) -> Response:
        methods = [] if NODES_PATH.match(request.path.lower()) else _methods_of_path()
        if not methods:
            return not_there()
        response = _answer(405, f"{request.method} is not allowed here; allowed: {', '.join(methods)}")
        response.headers["Allow"] = ", ".join(methods)
        return response

    def not_there() -> Response:
        """As in Node Kue, the content type tells whether the path or the job is missing."""
        message = "page not found"
        if request.accept_mimetypes["application/json"] > request.accept_mimetypes["text/html"]:
            return error_response(404, message)
        return SafeResponse(render_template("error.html", status=404, message=message), 404, mimetype="text/html")

    @app.errorhandler(HTTPException)
    def http_error(exc: HTTPException) -> Any:
        status = exc.code or 500
        if exc.response is not None or status < 400 or status == 416:
            return exc
        if status == 404:
            return not_there()
        return _answer(status, exc.description or exc.name)

    @app.errorhandler(Exception)
    def bug(exc: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        return _answer(500, "internal server error; see the server log")
