"""Which host names are this server's, and pages of which origins may make changes."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import abort, request

from kue.web.server.proxies import IGNORED

if TYPE_CHECKING:
    from kue.settings import Settings

#: The error for a page of another site, with two remedies: an origin to allow, and a proxy whose headers are ignored.
FOREIGN = "requests from other sites may not change anything"
ALLOW_ORIGIN = "; to allow pages of {origin}, add it to KUE_CORS_ORIGINS"
BEHIND_PROXY = "; if a proxy of yours forwarded this one, add it to KUE_TRUSTED_PROXIES"
#: What ``KUE_CORS_ORIGINS`` accepts as an origin; it is repeated in the error.
_ORIGIN = re.compile(r"https?://[\w.:\[\]-]{1,260}", re.ASCII)


class Origins:
    """The checks of ``Host`` and ``Origin``, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origins)
        names = {"localhost", socket.gethostname().lower(), str(settings.host).lower()}
        names |= {name for name in settings.allowed_hosts if not name.startswith("*")}
        if settings.internal_url is not None:
            names.add(split_host(urlsplit(settings.internal_url).netloc))
        self._hosts = frozenset(names | {split_host(urlsplit(origin).netloc) for origin in self._allowed})
        #: ".example.org" for *.example.org
        self._domains = (".localhost", *(name[1:] for name in settings.allowed_hosts if name.startswith("*")))

    def check_request(self, changes: bool) -> None:
        """Refuse a request to an unknown host name, and one of another site that ``changes`` something."""
        if not self.host_is_ours(request.host):
            abort(
                400,
                f"unknown host name {split_host(request.host)!r}; if it is this server's, add it to KUE_ALLOWED_HOSTS",
            )
        if changes and not self.is_same_site():
            abort(403, FOREIGN + self.remedy())

    def host_is_ours(self, host: str) -> bool:
        """Return whether a ``Host`` header names this server.

        Another site could make its own name resolve to this machine and would then be "same origin" (DNS rebinding). It
        cannot do so with an address or one of our names.
        """
        name = split_host(host)
        return name in self._hosts or name.endswith(self._domains) or _is_address(name)

    def origin_is_ours(self, origin: str) -> bool:
        """Return whether pages of this origin may make changes."""
        if origin.lower() in self._allowed or "*" in self._allowed:
            return True
        return origin.lower() == f"{request.scheme}://{request.host}".lower()

    def is_same_site(self) -> bool:
        """Return whether the current request comes from one of our pages, or from no page."""
        origin = request.headers.get("Origin")
        if origin is not None:
            return self.origin_is_ours(origin)
        return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")

    def remedy(self) -> str:
        """Return what an operator can do about the refused request of another origin, as the end of a sentence."""
        if request.environ.get(IGNORED):
            return BEHIND_PROXY
        origin = request.headers.get("Origin", "")
        return ALLOW_ORIGIN.format(origin=origin) if _ORIGIN.fullmatch(origin) else ""

    def for_sockets(self) -> Any:
        """Return Flask-SocketIO's ``cors_allowed_origins``; None: the same origin only."""
        if not self._allowed:
            return None
        return "*" if "*" in self._allowed else sorted(self._allowed)


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
