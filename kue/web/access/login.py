"""Log in and out."""

from __future__ import annotations

import re

from flask import Blueprint, Response, current_app, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from kue.web.access import known_browser
from kue.web.access.audit import audit
from kue.web.access.security import Security, delayed_response
from kue.web.access.throttle import LoginDelayed
from kue.web.answers import SafeResponse
from kue.web.links import link

login = Blueprint("login", __name__)


def _security() -> Security:
    found: Security = current_app.extensions["kue_security"]
    return found


def _next_path() -> str:
    """Return the target after the login: always a path on this server."""
    path = request.values.get("next", "/")
    # Browsers read "//host" and "/\host" as another server, and ignore tabs and newlines. With ".." the path could
    # leave the one under which a proxy serves this server.
    is_ours = re.fullmatch(r"/(?![/\\])[^\x00-\x20\x7f\\]*", path)
    return path if is_ours and not re.search(r"(?i)/(\.|%2e){2}(/|$|\?|#)", path) else "/"


def _form(status: int, message: str = "") -> Response:
    body = render_template("pages/login.html", message=message, next_path=_next_path())
    return SafeResponse(body, status, mimetype="text/html", headers={"Cache-Control": "no-store"})


@login.get("/login")
def show() -> ResponseReturnValue:
    """The login form; a visitor who is logged in is redirected."""
    try:
        if _security().visitor() is not None:
            return redirect(link(_next_path()))
    except LoginDelayed as exc:
        return delayed_response(exc)
    return _form(200)


@login.post("/login")
def enter() -> ResponseReturnValue:
    """Log in: set a cookie, valid until the browser is closed, the session expires or the password changes."""
    accounts, key = _security().accounts, _security().key.get()
    user = request.form.get("user")
    try:
        visitor = accounts.check(user, request.form.get("password"), known_browser.client_of(request, user, key))
    except LoginDelayed as exc:
        response = _form(429, f"Too many failed logins. Try again in {exc.wait_s} s.")
        response.headers["Retry-After"] = str(exc.wait_s)
        return response
    if visitor is None:
        return _form(401, "Incorrect user name or password.")
    _security().sessions.begin(session, visitor)
    audit("log in", f"({visitor.role.value})", visitor)
    response = current_app.make_response(redirect(link(_next_path()), 303))
    known_browser.remember(response, visitor.name, key, request.is_secure)
    return response


@login.post("/logout")
def leave() -> ResponseReturnValue:
    """Log out: the session ends in every copy of its cookie, and its live connections are closed."""
    audit("log out", "")
    if _security().accounts.required and (ended := _security().sessions.end(session)) is not None:
        current_app.extensions["kue"].sockets.end_session(ended)
    return redirect(link("/login"), 303)
