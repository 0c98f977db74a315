"""``init_app``: the monitor inside a Flask application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response, abort, request

from kue.queue import Queue
from kue.settings import Settings
from kue.web.mount.access import NotAnAnswer, is_answer
from kue.web.mount.gate import Gate
from kue.web.mount.monitor import MountedMonitor, check_prefix
from kue.web.mount.subrequest import QUESTION, Question, ask

#: Name of the route: ``url_for("kue")`` is the monitor's URL. That of another monitor includes its prefix.
ENDPOINT = "kue"


def init_app(
    flask_app: Flask,
    queue: Queue,
    url_prefix: str = "/jobs",
    *,
    authorize: Callable[[Request], Any],
    back: tuple[str, str] | None = None,
    downloads: bool = False,
    settings: Settings | None = None,
) -> MountedMonitor:
    """Add the monitor of ``queue`` to a Flask application under ``url_prefix``. ``url_for("kue")`` is its URL.

    It may be called again for other queues, at other prefixes; ``url_for("kue:/reports")`` is then the URL of the
    monitor at ``/reports``.

    ``authorize(request)`` returns the role for each request: ``"write"``, ``"read"`` (read-only), or None, which
    responds with 403. A pair such as ``("write", "ada")`` also names the user in the audit log. A response, such
    as ``redirect("/login")``, is sent to the visitor. ``request`` is Flask's own, a GET for the same
    address without a body; ``session``, ``g`` and ``current_user`` work, and the application's ``before_request``
    functions have run.

    ``back``, such as ``("Shop", "/")``, is the text and URL of a link to the application, in the header of each
    page. With ``downloads`` the home page has a form to start downloads; a worker must run them. ``settings`` is for
    downloads; settings of access are ignored.

    The returned monitor has ``close()``, which stops its threads; calling it is optional.
    Raises ValueError unless ``url_prefix`` is a free path such as ``/jobs``.
    """
    prefix = check_prefix(url_prefix)
    monitor = MountedMonitor(queue, back=back, downloads=downloads, settings=settings)

    def kue(path: str = "") -> Any:
        question = request.environ.get(QUESTION)
        if not isinstance(question, Question):
            abort(404)  # middleware in front of this application has changed the path
        answer = flask_app.ensure_sync(authorize)(request._get_current_object())  # type: ignore[attr-defined]
        if is_answer(answer):
            question.answer(answer, request.environ)
            return Response(status=204)
        # Flask would make a response of these: "write" with the status 17 of ("write", user.id)
        is_meant_as_role = isinstance(answer, tuple) and answer[:1] in (("write",), ("read",))
        if is_meant_as_role or isinstance(answer, bool | int | str | bytes | dict | list):
            raise NotAnAnswer(answer, "a Flask response")
        return answer

    endpoint = ENDPOINT if ENDPOINT not in flask_app.view_functions else f"{ENDPOINT}:{prefix}"
    if endpoint in flask_app.view_functions:
        raise ValueError(f"there is a monitor at {prefix!r} already; give each its own url_prefix")
    for path in ("/", "/<path:path>"):
        flask_app.add_url_rule(prefix + path, endpoint, kue)
    behind = flask_app.wsgi_app
    flask_app.wsgi_app = Gate(behind, monitor, prefix, lambda environ: ask(behind, environ))  # type: ignore[method-assign]
    return monitor
