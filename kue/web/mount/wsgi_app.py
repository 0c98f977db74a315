"""``wsgi``: the monitor inside Django and any other WSGI application."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request

from kue.queue import Queue
from kue.settings import Settings
from kue.web.mount.access import NotAnAnswer, is_answer
from kue.web.mount.gate import Ask, Gate
from kue.web.mount.monitor import MountedMonitor, check_prefix
from kue.web.mount.subrequest import QUESTION, WsgiApp, ask


def wsgi(
    queue: Queue,
    application: WsgiApp | None = None,
    url_prefix: str = "",
    *,
    authorize: Callable[[Any], Any],
    back: tuple[str, str] | None = None,
    downloads: bool = False,
    settings: Settings | None = None,
) -> Gate:
    """Return a WSGI application: the monitor of ``queue`` under ``url_prefix``, and ``application`` elsewhere.

    Without ``application`` it is only the monitor, for a dispatcher that mounts it and strips the path.

    ``authorize(request)`` decides for each request, as for ``init_app``. If ``application`` is Django's, from
    ``get_wsgi_application()``, ``request`` is Django's: its middleware has run, so ``request.user`` exists, and a
    Django response is sent to the visitor. Otherwise it is a ``werkzeug.wrappers.Request``, a GET for the same address
    without a body, and a response is any WSGI application, such as ``werkzeug.utils.redirect("/login")``.

    Raises ValueError unless ``url_prefix`` is a path such as ``/jobs``.
    """
    if application is not None or url_prefix:
        url_prefix = check_prefix(url_prefix)
    monitor = MountedMonitor(queue, back=back, downloads=downloads, settings=settings)
    how = _ask_django(authorize) if _is_django(application) else _ask_here(authorize)
    return Gate(application or NotFound(), monitor, url_prefix, how)


def _is_django(application: object) -> bool:
    handlers = sys.modules.get("django.core.handlers.wsgi")
    return handlers is not None and isinstance(application, handlers.WSGIHandler)


def _ask_django(authorize: Callable[[Any], Any]) -> Ask:
    """Import Django support only for a Django application: Django may not be installed."""
    how: Ask = importlib.import_module("kue.web.mount.django_app").ask_django(authorize)
    return how


def _ask_here(authorize: Callable[[Request], Any]) -> Ask:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found = authorize(Request(environ))
        if is_answer(found):
            environ[QUESTION].answer(found, environ)
            start_response("204 No Content", [])
            return []
        if not callable(found):
            raise NotAnAnswer(found, "a response")
        response: Iterable[bytes] = found(environ, start_response)
        return response

    return lambda environ: ask(answer, environ)
