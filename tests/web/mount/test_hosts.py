"""The monitor inside Flask, Django, a plain WSGI application and Starlette: the same contract everywhere."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

import kue
from kue import web
from tests.web.mount.conftest import PREFIX, ROLES, Host

NO_ACCESS = "this application does not give you access to its jobs"


def flask_host(queue: Any) -> tuple[Host, Any]:
    import flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = flask.Flask("host", static_folder=None)
    app.secret_key = "x"
    host = Host(app)
    app.before_request(lambda: setattr(flask.g, "who", flask.request.cookies.get("who")))

    def authorize(request: Any) -> Any:
        assert request is flask.request._get_current_object()
        host.asked.append((request.method, request.path))
        flask.session["seen"] = True
        return flask.redirect("/login") if flask.g.who is None else ROLES[flask.g.who]

    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    monitor = web.init_app(app, queue, PREFIX, authorize=authorize)

    @app.get("/")
    def home() -> str:
        return flask.url_for("kue")

    @app.errorhandler(404)
    def own_404(exc: Exception) -> Any:
        return "the application's own 404", 404

    return host, monitor


def wsgi_host(queue: Any) -> tuple[Host, Any]:
    from werkzeug.utils import redirect

    @Request.application
    def app(request: Any) -> Response:
        return Response(f"{PREFIX}/") if request.path == "/" else Response("the application's own 404", 404)

    def authorize(request: Any) -> Any:
        host.asked.append((request.method, request.path))
        who = request.cookies.get("who")
        return redirect("/login") if who is None else ROLES[who]

    gate = web.wsgi(queue, app, PREFIX, authorize=authorize)
    host = Host(gate)
    return host, gate


def django_host(queue: Any) -> tuple[Host, Any]:
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, HttpResponseNotFound
    from django.shortcuts import redirect
    from django.urls import path

    if not settings.configured:
        settings.configure(
            SECRET_KEY="x", ALLOWED_HOSTS=["localhost"], ROOT_URLCONF="host_urls",
            SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"), USE_X_FORWARDED_HOST=True,
            MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
                        "django.contrib.sessions.middleware.SessionMiddleware"],
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        )  # fmt: skip
        django.setup()
    import sys
    import types

    urls: Any = types.ModuleType("host_urls")
    urls.urlpatterns = [path("", lambda request: HttpResponse(f"{PREFIX}/"))]
    urls.handler404 = lambda request, exception: HttpResponseNotFound("the application's own 404")
    sys.modules["host_urls"] = urls

    def authorize(request: Any) -> Any:
        host.asked.append((request.method, request.path))
        request.session["seen"] = True
        who = request.COOKIES.get("who")
        return redirect("/login") if who is None else ROLES[who]

    gate = web.wsgi(queue, get_wsgi_application(), PREFIX, authorize=authorize)
    host = Host(gate)
    return host, gate


def starlette_host(queue: Any) -> tuple[Host, Any]:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, RedirectResponse
    from starlette.routing import Mount, Route

    async def authorize(request: Any) -> Any:
        host.asked.append((request.scope.get("method", "GET"), request.url.path))
        who = request.cookies.get("who")
        return RedirectResponse("/login", 302) if who is None else ROLES[who]

    monitor = web.asgi(queue, authorize=authorize)
    routes = [Route("/", lambda request: PlainTextResponse(f"{PREFIX}/")), Mount(PREFIX, app=monitor)]
    app = Starlette(
        routes=routes,
        exception_handlers={404: lambda request, exc: PlainTextResponse("the application's own 404", 404)},
    )
    host = Host(app, wrap=AsWsgi)
    return host, monitor


class AsWsgi:
    """An ASGI application for the tests' WSGI client."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        request = Request(environ)
        scope = {
            "type": "http", "http_version": "1.1", "method": request.method, "path": request.path, "root_path": "",
            "raw_path": environ["REQUEST_URI"].partition("?")[0].encode(),
            "query_string": request.query_string, "scheme": "http", "server": ("localhost", 80), "client": ("::1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.items()],
        }  # fmt: skip
        told = [{"type": "http.request", "body": request.get_data(), "more_body": False}]
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return told.pop() if told else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        # In a thread of its own: in this one, Playwright may have an event loop.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, self._app(scope, receive, send)).result()
        headers = [(name.decode(), value.decode()) for name, value in said[0]["headers"]]
        start_response(f"{said[0]['status']} x", headers)
        return [each.get("body", b"") for each in said[1:]]


HOSTS = [flask_host, wsgi_host, django_host, starlette_host]


@pytest.fixture(params=HOSTS, ids=lambda make: make.__name__)
def host(request: Any, queue: Any) -> Iterator[Host]:
    host, monitor = request.param(queue)
    yield host
    monitor.close()


HTML = {"Accept": "text/html"}


def test_every_address_of_the_monitor_is_below_the_prefix(host: Host, queue: Any) -> None:
    queue.create("mail", {"title": "hello"}).save()
    queue.create("a/b").save()
    ada = host.client("ada")
    page = ada.get(f"{PREFIX}/active", headers=HTML).text
    assert "<title>" in page and all(
        link.startswith(f'"{PREFIX}/') for link in re.findall(r'(?:href|src|action)=("/[^"]*")', page)
    )
    for path in ("/", "/job/1", "/inactive", "/system", "/static/css/monitor.css", "/socket.io/socket.io.js", "/stats"):
        assert ada.get(PREFIX + path).status_code == 200, path
    assert [each["id"] for each in ada.get(f"{PREFIX}/jobs/a%2Fb/inactive/0..9/asc").json] == [2]
    document = ada.get(f"{PREFIX}/openapi.json").json
    assert document["servers"] == [{"url": PREFIX}] and "/login" not in document["paths"]
    assert ada.get(PREFIX).status_code in (200, 307, 308)
    hello = ada.get(f"{PREFIX}/socket.io/?EIO=4&transport=polling").text
    assert hello.startswith('0{"sid"')


def test_the_application_keeps_its_own_pages_errors_and_headers(host: Host) -> None:
    client = host.client()
    home = client.get("/")
    assert (home.status_code, home.text) == (200, f"{PREFIX}/")
    assert "Content-Security-Policy" not in home.headers and "kue_session" not in str(home.headers)
    assert client.get("/nothing").text == client.get(f"{PREFIX}x").text == "the application's own 404"
    assert client.post(f"{PREFIX}x/job").status_code in (404, 405)
    assert host.asked == []


def test_who_may_write_may_do_everything(host: Host, queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    ada = host.client("ada")
    with caplog.at_level(logging.INFO, "kue.web.audit"):
        made = ada.post(f"{PREFIX}/job", json={"type": "mail", "data": {"n": 1}})
    assert made.status_code == 200 and queue.get(made.json["id"]).data == {"n": 1}
    assert " by ada from " in caplog.text
    assert ada.delete(f"{PREFIX}/job/{made.json['id']}").status_code == 200
    assert 'class="role"' not in ada.get(f"{PREFIX}/", headers=HTML).text
    # authorize was asked by a GET for the same address
    assert (("GET", f"{PREFIX}/job") in host.asked) or (("POST", f"{PREFIX}/job") in host.asked)


def test_who_may_read_sees_all_and_changes_nothing(host: Host, queue: Any) -> None:
    eve = host.client("eve")
    page = eve.get(f"{PREFIX}/", headers=HTML).text
    assert 'class="role"' in page and "Log out" not in page
    refused = eve.post(f"{PREFIX}/job", json={"type": "mail"})
    assert (refused.status_code, refused.json["error"]) == (403, "read-only access: you cannot change anything")
    assert sum(queue.counts().values()) == 0


def test_without_access_a_visitor_is_told_so(host: Host) -> None:
    bob = host.client("bob")
    page = bob.get(f"{PREFIX}/", headers=HTML)
    assert page.status_code == 403 and NO_ACCESS[1:] in page.text and "<nav" not in page.text
    assert bob.get(f"{PREFIX}/stats").json == {"error": NO_ACCESS}
    assert bob.get(f"{PREFIX}/metrics").status_code == bob.get(f"{PREFIX}/healthz").status_code == 403
    assert bob.get(f"{PREFIX}/socket.io/?EIO=4&transport=polling").status_code == 403
    # What is in the package anyway is open: the error page has its looks
    assert bob.get(f"{PREFIX}/static/css/monitor.css").status_code == 200


def test_a_response_of_authorize_is_the_answer(host: Host) -> None:
    nobody = host.client()
    for call in (nobody.get, nobody.post):
        answer = call(f"{PREFIX}/job")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    assert nobody.get(f"{PREFIX}/socket.io/?EIO=4&transport=polling").status_code == 302


ORIGINS: list[tuple[dict[str, str], int]] = [
    ({}, 200),  # no browser
    ({"Origin": "http://localhost"}, 200),
    ({"Origin": "https://localhost"}, 200),  # a proxy speaks TLS, and the application does not know
    ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200),
    ({"Origin": "http://evil.test"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://localhost.evil.test"}, 403),
    ({"Origin": "http://localhost@evil.test"}, 403),
]


def test_pages_of_other_sites_change_nothing(host: Host, queue: Any) -> None:
    ada = host.client("ada")
    for headers, status in ORIGINS:
        made = ada.post(f"{PREFIX}/job", json={"type": "mail"}, headers=headers)
        assert made.status_code == status, headers
        hello = ada.get(f"{PREFIX}/socket.io/?EIO=4&transport=polling", headers=headers)
        assert hello.status_code == (200 if status == 200 or "Origin" not in headers else 400), headers
    assert sum(queue.counts().values()) == sum(status == 200 for _, status in ORIGINS)


def test_what_authorize_may_not_return_is_an_error(queue: Any) -> None:
    import flask

    app = flask.Flask("host")
    app.testing = True  # it raises
    wrong = [True, 1, "admin", ("write",), ("write", None), ("read", 200), {"role": "write"}]
    answers = iter([*wrong, ("Not today", 503)])
    monitor = web.init_app(app, queue, authorize=lambda request: next(answers))
    for answer in wrong:
        with pytest.raises(TypeError, match=re.escape(f"or a Flask response; it returned {answer!r}")):
            app.test_client().get("/jobs/")
    assert app.test_client().get("/jobs/").status_code == 503
    monitor.close()
    for answer in wrong:
        gate = web.wsgi(queue, lambda environ, start: [], PREFIX, authorize=lambda request, answer=answer: answer)
        with pytest.raises(TypeError, match="authorize must return 'write', 'read', None"):
            Host(gate).client().get(f"{PREFIX}/")
        gate.close()


@pytest.mark.parametrize("prefix", ["", "/", "jobs", "//jobs", "/jobs//", "/a//b", "/a b"])
def test_a_prefix_is_a_path(queue: Any, prefix: str) -> None:
    with pytest.raises(ValueError, match="url_prefix must be a path such as '/jobs'"):
        web.wsgi(queue, lambda environ, start: [], prefix, authorize=lambda request: "read")


def test_the_session_and_the_proxies_of_the_application_count(queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    # Given a Flask application that was wrapped by ProxyFix before the monitor came
    host, monitor = flask_host(queue)
    ada = host.client("ada")
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "jobs.example"}
    with caplog.at_level(logging.INFO, "kue.web.audit"):
        made = ada.post(f"{PREFIX}/job", json={"type": "x"}, headers={**forwarded, "Origin": "https://jobs.example"})
    assert made.status_code == 200 and " by ada from 192.0.2.7" in caplog.text
    assert made.headers["Set-Cookie"].startswith("session=")
    assert "wss://jobs.example" in ada.get(f"{PREFIX}/", headers=forwarded).headers["Content-Security-Policy"]
    monitor.close()


def test_django_refuses_host_names_that_are_not_its_own(queue: Any) -> None:
    host, gate = django_host(queue)
    answer = host.client("ada").get(f"{PREFIX}/stats", headers={"Host": "evil.test"})
    assert answer.status_code == 400 and "inactiveCount" not in answer.text
    gate.close()


def test_what_the_application_raises_is_its_own_answer(queue: Any) -> None:
    import flask

    app = flask.Flask("host")
    monitor = web.init_app(app, queue, authorize=lambda request: flask.abort(401))
    app.register_error_handler(401, lambda exc: ("log in first", 401))
    answer = app.test_client().get("/jobs/stats")
    assert (answer.status_code, answer.text) == (401, "log in first")
    # A function that runs before each request may answer, too
    app.before_request_funcs[None].append(lambda: ("closed today", 503))
    assert app.test_client().get("/jobs/stats").text == "closed today"
    monitor.close()


def test_downloads_are_offered_where_the_application_wants_them(queue: Any) -> None:
    def authorize(request: Any) -> str:
        return "write"

    for downloads in (True, False):
        gate = web.wsgi(queue, authorize=authorize, downloads=downloads)
        client = Host(gate).client()
        page = client.get("/", headers=HTML).text
        assert ('id="button_start"' in page) == downloads and "10mb.bin" not in page
        assert client.get("/sample/10mb.bin").status_code == 404
        gate.close()


def test_two_queues_in_one_application(queue: Any, redis_url: str) -> None:
    import flask

    app, other = flask.Flask("host"), kue.create_queue(redis_url, prefix="other")
    other.create("x").save()
    monitors = [
        web.init_app(app, queue, "/jobs/", authorize=lambda request: "read"),
        web.init_app(app, other, "/other", authorize=lambda request: "write"),
    ]
    client = app.test_client()
    counts = [client.get(f"{path}/stats").json["inactiveCount"] for path in ("/jobs", "/other")]
    assert counts == [0, 1]
    assert [client.delete(f"{path}/job/1").status_code for path in ("/jobs", "/other")] == [403, 200]
    with app.test_request_context():
        assert (flask.url_for("kue"), flask.url_for("kue:/other")) == ("/jobs/", "/other/")
    with pytest.raises(ValueError, match="a monitor at '/other' already"):
        web.init_app(app, queue, "/other", authorize=lambda request: "read")
    for monitor in monitors:
        monitor.close()
    other.shutdown(0)


def test_authorize_may_be_anything_that_can_be_awaited(queue: Any) -> None:
    class Rule:
        async def __call__(self, request: Any) -> str:
            return "read"

    for authorize in (Rule(), lambda request: Rule()(request)):
        app = web.asgi(queue, authorize=authorize)
        assert Host(app, wrap=AsWsgi).client().get("/stats").status_code == 200
        app.close()
