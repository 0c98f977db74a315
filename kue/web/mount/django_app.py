"""Ask a Django application: its middleware runs, and ``authorize`` replaces the view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch

from kue.web.mount.access import NotAnAnswer, is_answer
from kue.web.mount.subrequest import QUESTION, Said, WsgiApp, ask


def ask_django(authorize: Callable[[HttpRequest], Any]) -> Callable[[dict[str, Any]], Said]:
    """Return a function that asks Django about a request. Django must be set up."""

    def view(request: HttpRequest) -> HttpResponseBase:
        answer = authorize(request)
        if isinstance(answer, HttpResponseBase):
            return answer
        if not is_answer(answer):
            raise NotAnAnswer(answer, "a Django response")
        # get_host() refuses names that are not in ALLOWED_HOSTS.
        corrected = {"wsgi.url_scheme": request.scheme, "HTTP_HOST": request.get_host()}
        request.environ[QUESTION].answer(answer, {**request.environ, **corrected})
        return HttpResponse(status=204)

    view.csrf_exempt = True  # type: ignore[attr-defined]  # the monitor compares origins
    view.login_required = False  # type: ignore[attr-defined]  # authorize decides

    class Handler(WSGIHandler):  # type: ignore[misc]
        def resolve_request(self, request: HttpRequest) -> ResolverMatch:
            request.resolver_match = match = ResolverMatch(view, (), {}, url_name="kue")
            return match

    handler: WsgiApp = Handler()
    return lambda environ: ask(handler, environ)
