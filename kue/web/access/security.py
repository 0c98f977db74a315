"""Authorization and security headers, the same for HTTP and Socket.IO."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from flask import Flask, Response, abort, g, redirect, request, session
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from itsdangerous import URLSafeTimedSerializer

from kue.web.access import audit
from kue.web.access.accounts import ANYBODY, Accounts, Visitor
from kue.web.access.origins import Origins
from kue.web.access.session_key import SessionKey
from kue.web.access.sessions import Sessions
from kue.web.access.throttle import LoginDelayed
from kue.web.errors import error_response, wants_page
from kue.web.links import link
from kue.web.server.capacity import SOCKET_PATH
from kue.web.server.proxies import VIA_TRUSTED

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.settings import Settings

#: No inline scripts or styles, nothing from other hosts, no frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' {sockets}; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

CLIENT_SCRIPTS = ("/socket.io/socket.io.js", "/socket.io/socket.io.min.js")
OPEN_FOLDER = "/static/"


#: The error for the read-only role, over HTTP and the socket.
READ_ONLY = "read-only access: you cannot change anything"
def delayed_response(exc: LoginDelayed) -> Response:
    """Return the response to a login attempt that came too early."""
    response = error_response(429, str(exc))
    response.headers["Retry-After"] = str(exc.wait_s)
    return response


class _Sessions(SecureCookieSessionInterface):
    """The session cookie: signed with the shared key, and Secure if the request used TLS."""

    def __init__(self, key: SessionKey, required: bool) -> None:
        self._key, self._required = key, required

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        if not self._required:  # without logins, nothing is signed, and no key is created in Redis
            return None
        return URLSafeTimedSerializer(
            self._key.get(), salt=self.salt, serializer=self.serializer,
            signer_kwargs={"key_derivation": self.key_derivation, "digest_method": self.digest_method},
        )  # fmt: skip

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:
        return link("") or "/"


class Security:
    """The checks of one app."""

    #: Whether visitors may have different roles; pages then say when they are read-only.
    knows_visitors: bool
    #: Paths open to everyone, besides static files: the login page, the sample file (the download worker has no
    #: password), health, the client.
    open_paths = frozenset({"/login", "/healthz", "/sample/10mb.bin", *CLIENT_SCRIPTS})

    def __init__(self, settings: Settings, queue: Queue, origins: Origins | None = None) -> None:
        self.settings = settings
        self.accounts = Accounts(settings)
        self.knows_visitors = self.accounts.required
        self.key = SessionKey(queue)
        self.sessions = Sessions(queue, self.accounts, self.key, settings.session_lifetime)
        self.origins = Origins(settings) if origins is None else origins

    def check_request(self) -> ResponseReturnValue | None:
        """Refuse cross-site requests and requests without valid credentials. Runs before every view."""
        changes = request.method not in audit.SAFE_METHODS
        self.origins.check_request(changes)
        if request.path in self.open_paths or request.path.startswith(OPEN_FOLDER):
            return None
        try:
            visitor = self.visitor()
        except LoginDelayed as exc:
            return delayed_response(exc)
        if visitor is None:
            return self.refuse(changes)
        g.kue_visitor = visitor
        if changes and not visitor.may_write and request.path != "/logout":
            return error_response(403, READ_ONLY)
        return None

    def refuse(self, changes: bool) -> ResponseReturnValue:
        """Return the response to a visitor without access."""
        if (named := self.user_of_proxy()) is not None:
            abort(403, f"user {named!r} has no access; see KUE_AUTH_HEADER_USERS and KUE_AUTH_HEADER_GROUPS")
        if wants_page() and not changes:
            return redirect(link("/login?next=") + quote(request.full_path.rstrip("?"), safe=""))
        response = error_response(401, "authentication required")
        response.headers["WWW-Authenticate"] = 'Basic realm="kue", charset="UTF-8"'
        return response

    def user_of_proxy(self) -> str | None:
        """Return the user whom a trusted proxy names, None if there is none. They may have no access."""
        name = self.settings.auth_header
        if name is None or not request.environ.get(VIA_TRUSTED):
            return None
        return request.headers.get(name, "").strip() or None

    def groups_of_proxy(self) -> list[str]:
        """Return the groups of that user."""
        name = self.settings.auth_groups_header
        return [each.strip() for each in request.headers.get(name, "").split(",")] if name else []

    def visitor(self, auth: object = None) -> Visitor | None:
        """Return the sender of this request or socket handshake, with their role; None without valid credentials.

        Raises LoginDelayed after too many failed logins. A session or a valid token always passes.

        ``auth`` is a Socket.IO client's option of that name: ``{"token": …}`` or ``{"user": …, "password": …}``.
        """
        if not self.accounts.required:
            return ANYBODY
        named = self.user_of_proxy()
        if named is not None and (
            visitor := self.accounts.named_by_proxy(named, self.groups_of_proxy())
        ) is not None:
            return visitor
        if "user" in session:
            known = self.sessions.visitor_of(session)
            if known is not None:
                return known
        if isinstance(auth, dict) and auth:
            if "token" in auth:
                return self.accounts.check_token(auth["token"], request.remote_addr)
            return self.accounts.check(auth.get("user"), auth.get("password"), request.remote_addr)
        given = request.authorization
        if given is None:
            return None
        if given.type == "bearer":
            return self.accounts.check_token(given.token, request.remote_addr)
        return self.accounts.check(given.username, given.password, request.remote_addr)

    def offers_logout(self) -> bool:
        """Return whether the visitor of the current request can log out here."""
        return self.accounts.required and self.user_of_proxy() is None

    def is_by_session(self) -> bool:
        """Return whether the session authenticates this visitor, rather than a proxy, a token or a password."""
        return self.offers_logout() and self.sessions.visitor_of(session) is not None

    def standing(self, visitor: Visitor) -> Callable[[], Visitor | None]:
        """Return a function that returns a socket's visitor at any later time; None once access has ended."""
        if self.is_by_session():
            cookie = dict(session)
            return lambda: self.sessions.visitor_of(cookie)
        if not visitor.by_password:
            return lambda: visitor
        mark = self.accounts.mark_of(visitor.name, key := self.key.get())
        return lambda: self.accounts.visitor_of(visitor.name, mark, key)

    def socket_visitor(self, auth: object) -> Visitor | None:
        """Return the visitor of a new socket. The origin was checked at the handshake."""
        try:
            return self.visitor(auth) if self.origins.host_is_ours(request.host) else None
        except LoginDelayed:
            return None

    def add_headers(self, response: Response) -> Response:
        """Add the security headers to a response."""
        sockets = f"ws://{request.host} wss://{request.host}" if self.origins.host_is_ours(request.host) else ""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY.format(sockets=sockets))
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "DENY")
        return response

    def guard_socket(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return a WSGI application that refuses requests that Engine.IO would answer before Flask's checks.

        A foreign Host header is another site's name that resolves to this machine; with JSONP another site's page
        could read a response.
        """

        def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ.get("PATH_INFO", "").startswith(SOCKET_PATH):
                query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
                if "j" in query or not self.origins.host_is_ours(environ.get("HTTP_HOST", "")):
                    start_response("400 Bad Request", [("Content-Type", "text/plain")])
                    return [
                        b"JSONP is not supported\n" if "j" in query else b"unknown host name; see KUE_ALLOWED_HOSTS\n"
                    ]
            return app(environ, start_response)

        return around

    def install(self, app: Flask) -> None:
        """Run the checks before every view of the app."""
        app.config.update(
            SESSION_COOKIE_NAME="kue_session",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Lax",
        )
        app.session_interface = _Sessions(self.key, self.accounts.required)
        app.extensions["kue_security"] = self
        app.before_request(self.check_request)
        app.after_request(self.add_headers)
        audit.install(app)
