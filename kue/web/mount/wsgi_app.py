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
    """Return a WSGI application: the monitor of ``queue`` below ``url_prefix``, and ``application`` everywhere else.

    Without ``application`` all of it is the monitor; so a dispatcher can mount it, which strips the path.

    ``authorize(request)`` decides for each request, as for ``init_app``. If ``application`` is Django's, from
    ``get_wsgi_application()``, ``request`` is Django's: its middleware has run, so ``request.user`` is there, and a
    Django response is the answer to the visitor. Else it is a ``werkzeug.wrappers.Request``, a GET for the same address
    without a body, and a response is any WSGI application, such as ``werkzeug.utils.redirect("/login")``.

    Raises ValueError for a ``url_prefix`` that is no path such as ``/jobs``.
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
    """Django may not be installed, so its part is imported where there is an application of it."""
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
