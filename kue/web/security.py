"""Who may do what, and what a browser is told to refuse. One layer for HTTP and the socket."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

if TYPE_CHECKING:
    from kue.settings import Settings

#: No inline script or style, nothing from elsewhere, no frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' {sockets}; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: A file somebody downloaded may be HTML with script in it: opened here, it must have no rights at all.
FILE_POLICY = "sandbox; default-src 'none'"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def split_host(host: str) -> str:
    """Return the host part of a ``Host`` header, lower case, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Security:
    """The checks of one app."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.origins = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origins)
        names = {"localhost", socket.gethostname().lower(), str(settings.host).lower()}
        self.hosts = frozenset(names | {split_host(urlsplit(origin).netloc) for origin in self.origins})

    def host_is_ours(self, host: str) -> bool:
        """Tell whether a ``Host`` header names this server.

        A page of another site can make its own name resolve to this machine and would then be "same origin"; it cannot
        do so with an address or with a name of ours.
        """
        name = split_host(host)
        return name in self.hosts or name.endswith(".localhost") or _is_address(name)

    def origin_is_ours(self, origin: str) -> bool:
        """Tell whether a page of this origin may change things."""
        if origin.lower() in self.origins or "*" in self.origins:
            return True
        return origin.lower() == f"{request.scheme}://{request.host}".lower()

    def check_request(self) -> None:
        """Refuse what another site's page makes a browser send (400, 403). Runs before every view."""
        if not self.host_is_ours(request.host):
            abort(400, "this server does not know the host name it was called by; see KUE_CORS_ORIGINS")
        if request.method in SAFE_METHODS:
            return
        origin = request.headers.get("Origin")
        if origin is not None:
            if not self.origin_is_ours(origin):
                abort(403, "a page of another site may not change things here")
        elif request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            abort(403, "a page of another site may not change things here")

    def may_connect(self, auth: object) -> bool:
        """Tell whether the socket being opened is let in. The origin was checked at the handshake."""
        return self.host_is_ours(request.host)

    def require_write(self) -> None:
        """Raise Refused if the sender of a socket event may only look."""

    def socket_origins(self) -> list[str] | str | None:
        """Return Flask-SocketIO's ``cors_allowed_origins``: None is the same origin only."""
        if not self.origins:
            return None
        return "*" if "*" in self.origins else sorted(self.origins)

    def add_headers(self, response: Response) -> Response:
        """Add to each answer what limits the damage of a mistake elsewhere."""
        sockets = f"ws://{request.host} wss://{request.host}" if self.host_is_ours(request.host) else ""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY.format(sockets=sockets))
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "DENY")
        return response

    def install(self, app: Flask) -> None:
        """Put the checks in front of every view of the app."""
        app.before_request(self.check_request)
        app.after_request(self.add_headers)
