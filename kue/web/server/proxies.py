"""Requests through reverse proxies: the client's address, the public host name and scheme, and the path.

Headers such as ``X-Forwarded-For`` can be sent by anyone. They are trusted as far back as the proxies are trusted,
and removed from every request, so that no other code can trust them by mistake.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Addresses of the trusted proxies, or their number.
Trusted = int | Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: In the environ of a request whose proxy is trusted.
VIA_TRUSTED = "kue.via_trusted_proxy"
#: In the environ of a request whose forwarded headers were ignored.
IGNORED = "kue.ignored_forwarding"

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The trusted proxies' information about a request; None where there is none."""

    client: str | None
    scheme: str | None
    host: str | None
    prefix: str | None


def forwarded(environ: dict[str, Any], trusted: Trusted) -> Forwarded | None:
    """Return the trusted proxies' information; None if the request did not come through them."""
    senders = _values(environ, "FOR")
    if isinstance(trusted, int):
        if trusted == 0 or len(senders) < trusted:
            return None
        hops = trusted
        client = _address(senders[-trusted])
    else:
        client = _address(environ.get("REMOTE_ADDR", ""))
        hops = 0
        while _is_in(client, trusted):
            hops += 1
            before = _address(senders.pop()) if senders else None
            if before is None:
                break
            client = before
        if hops == 0:
            return None

    def said(name: str, form: re.Pattern[str]) -> str | None:
        values = _values(environ, name)
        # Each proxy appends to a list, or replaces it.
        value = values[-hops] if len(values) >= hops else values[0] if values else ""
        return value if form.fullmatch(value) else None

    scheme = said("PROTO", re.compile("https?|wss?", re.IGNORECASE))
    prefix = said("PREFIX", _PREFIX)
    return Forwarded(
        str(client) if client else None,
        {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme.lower()) if scheme else None,
        said("HOST", _HOST),
        prefix.rstrip("/") if prefix else None,
    )


def behind_proxies(
    app: Callable[..., Iterable[bytes]], trusted: Trusted, base_path: str = "", user_headers: Sequence[str] = ()
) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that passes ``app`` each request as the visitor sent it to the first trusted proxy.

    Below ``base_path`` the app sees the path without it, and its links include it. Other paths work
    too, for proxies that remove it, and for health checks. ``user_headers`` are removed unless a trusted proxy sent
    them.
    """
    of_user = {"HTTP_" + name.upper().replace("-", "_") for name in user_headers}

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found = forwarded(environ, trusted)
        prefix = base_path
        if found is not None:
            environ[VIA_TRUSTED] = True
            environ["REMOTE_ADDR"] = found.client or environ.get("REMOTE_ADDR", "")
            environ["wsgi.url_scheme"] = found.scheme or environ["wsgi.url_scheme"]
            if found.host is not None:  # a health check by HTTP/1.0 has none
                environ["HTTP_HOST"] = found.host
            prefix = found.prefix or base_path
        for name in [name for name in environ if _is_forwarding(name) or name in of_user]:
            if found is not None and name in of_user:
                continue
            if found is None:
                environ[IGNORED] = True
            del environ[name]
        path = environ.get("PATH_INFO", "")
        if base_path and (path == base_path or path.startswith(base_path + "/")):
            environ["PATH_INFO"] = path[len(base_path) :] or "/"
        environ["SCRIPT_NAME"] = prefix
        return app(environ, start_response)

    return around


def _is_forwarding(name: str) -> bool:
    return name.startswith("HTTP_X_FORWARDED") or name in ("HTTP_FORWARDED", "HTTP_X_REAL_IP")


def _values(environ: dict[str, Any], name: str) -> list[str]:
    text = environ.get(f"HTTP_X_FORWARDED_{name}", "")
    return [each.strip() for each in text.split(",")] if text else []


def _address(text: str) -> _Address | None:
    """Return the address of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``."""
    found = re.fullmatch(r"\[([^\]]+)\](?::\d+)?|([^:]+):\d+|(.+)", text)
    try:
        address = ipaddress.ip_address(next(filter(None, found.groups()))) if found else None
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _is_in(address: _Address | None, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return address is not None and any(address in network for network in networks)
