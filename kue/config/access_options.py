"""Settings for authentication and access: logins, tokens, users, sessions, single sign-on, and reverse proxies."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from .parsers import Option, duration_ms, words, yes_or_no


def credentials(text: str) -> str | None:
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        # Do not repeat the value: it may be a password.
        raise ValueError("write user:password")
    return text


def bearer_token(text: str) -> str | None:
    if not text:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{16,500}", text):
        raise ValueError(
            "write at least 16 characters without spaces, such as the output of `openssl rand -hex 16`"
        )
    return text


def new_path(text: str) -> Path | None:
    """The path of a file, which need not exist yet; or empty."""
    if "\0" in text:
        raise ValueError("a path cannot contain NUL")
    path = Path(text).expanduser()
    if text and path.is_dir():
        raise ValueError("this is a folder; write the path of a file")
    return path if text else None


def origins(text: str) -> tuple[str, ...]:
    """Origins whose pages may connect, such as ``https://example.org``, or ``*`` for all."""
    entries = tuple(entry.rstrip("/") for entry in words(text))
    for entry in entries:
        if entry != "*" and not re.fullmatch(r"https?://[^/\s@?#]+", entry):
            raise ValueError(
                f"{entry!r} is not an origin; write for example https://example.org (no path), or * for all"
            )
    return entries


def trusted_proxies(text: str) -> int | tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The number of reverse proxies, or their addresses and networks: ``1``, or ``127.0.0.1, 10.0.0.0/8``."""
    if re.fullmatch(r"[0-9]{1,2}", text):
        return int(text)
    networks = []
    for entry in words(text):
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            raise ValueError(
                f"{entry!r} is not an address; write the number of reverse proxies, such as 1, or their addresses "
                "and networks, such as 127.0.0.1,10.0.0.0/8"
            ) from None
        if network.prefixlen == 0:
            raise ValueError(f"{entry} includes every address, so anyone could forge one; write those of the proxies")
        networks.append(network)
    return tuple(networks)


def base_path(text: str) -> str:
    """The path under which a proxy serves the pages, such as ``/kue``, without a trailing slash; or empty."""
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", path):
        raise ValueError("write a path such as /kue, of letters, digits and - . _ ~")
    return path


def internal_url(text: str) -> str | None:
    """Scheme, host and port, ``http://web:3000``, or nothing."""
    found = re.fullmatch(r"(https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", text.lower())
    if text and found is None:
        raise ValueError("write a URL without a path, such as http://web:3000")
    return found and f"{found[1]}://{found[2]}{found[3] or {'http': ':80', 'https': ':443'}[found[1]]}"


def header_name(text: str) -> str | None:
    """The name of a request header; or empty."""
    if text and not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise ValueError("write the name of a header, such as X-Forwarded-User")
    return text or None


def users_with_roles(text: str) -> tuple[tuple[str, str], ...]:
    """User names with their roles, ``write`` unless ``:read`` follows: ``anna, eva:read, *:read``."""
    users = []
    for entry in words(text):
        name, _, role = entry.rpartition(":") if entry.endswith((":read", ":write")) else (entry, "", "write")
        if not re.fullmatch(r"[\x21-\x7e]+", name):
            raise ValueError(f"{entry!r} is not a user; write names such as anna, eva:read, or *:read for all others")
        users.append((name, role))
    return tuple(users)


def groups_with_roles(text: str) -> tuple[tuple[str, str], ...]:
    """Groups with their roles, comma-separated, since names may contain spaces: ``ops, it desk:read``."""
    groups = []
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, role = entry.rpartition(":") if entry.endswith((":read", ":write")) else (entry, "", "write")
        if not re.fullmatch(r"[\x20-\x7e]+", name) or name == "*":
            raise ValueError(f"{entry!r} is not a group; write names such as ops, support:read")
        groups.append((name, role))
    return tuple(groups)


def session_lifetime(text: str) -> float:
    """A duration from a minute to a year, in seconds."""
    seconds = duration_ms(text) / 1000
    if not 60 <= seconds <= 365 * 86_400:
        raise ValueError("write a time from 1m to 365d")
    return seconds


def host_names(text: str) -> tuple[str, ...]:
    """Host names without ports, in lower case; ``*.example.org`` is every name below example.org."""
    entries = tuple(entry.lower() for entry in words(text))
    for entry in entries:
        if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", entry):
            raise ValueError(
                f"{entry!r} is not a host name; write names such as jobs.example.org, without http:// or port"
            )
    return entries


ACCESS_OPTIONS = (
    Option("auth", "KUE_AUTH", "", "USER:PASSWORD", "credentials for the pages and the API", credentials, secret=True),
    Option(
        "auth_readonly",
        "KUE_AUTH_READONLY",
        "",
        "USER:PASSWORD",
        "credentials with read-only access",
        credentials,
        secret=True,
    ),
    Option("token", "KUE_TOKEN", "", "TOKEN", "access token for programs (bearer)", bearer_token, secret=True),
    Option(
        "token_readonly",
        "KUE_TOKEN_READONLY",
        "",
        "TOKEN",
        "access token with read-only access",
        bearer_token,
        secret=True,
    ),
    Option(
        "allow_anonymous",
        "KUE_ALLOW_ANONYMOUS",
        "0",
        "1",
        "allow access from other machines without a password",
        yes_or_no,
    ),
    Option("cors_origins", "KUE_CORS_ORIGINS", "", "LIST", "other origins allowed to connect, or *", origins),
    Option(
        "trusted_proxies",
        "KUE_TRUSTED_PROXIES",
        "0",
        "LIST",
        "reverse proxies whose X-Forwarded headers are trusted: their number, or addresses and networks",
        trusted_proxies,
    ),
    Option("base_path", "KUE_BASE_PATH", "", "PATH", "path under which a proxy serves the pages: /kue", base_path),
    Option(
        "allowed_hosts",
        "KUE_ALLOWED_HOSTS",
        "",
        "LIST",
        "further host names of this server, such as 'jobs.example.org,*.internal'",
        host_names,
    ),
    Option(
        "internal_url",
        "KUE_INTERNAL_URL",
        "",
        "URL",
        "where workers on other machines or in other containers reach the page, for its sample file: http://web:3000",
        internal_url,
    ),
    Option(
        "auth_header",
        "KUE_AUTH_HEADER",
        "",
        "HEADER",
        "header with the user name from single sign-on, such as X-Forwarded-User; from KUE_TRUSTED_PROXIES only",
        header_name,
    ),
    Option(
        "auth_header_users",
        "KUE_AUTH_HEADER_USERS",
        "",
        "LIST",
        "users with access: 'anna,eva:read'; * is everybody else",
        users_with_roles,
    ),
    Option(
        "auth_groups_header",
        "KUE_AUTH_GROUPS_HEADER",
        "",
        "HEADER",
        "header with the groups of that user, such as X-Forwarded-Groups",
        header_name,
    ),
    Option(
        "auth_header_groups",
        "KUE_AUTH_HEADER_GROUPS",
        "",
        "LIST",
        "groups whose members have access: 'ops,support:read'",
        groups_with_roles,
    ),
    Option("users_file", "KUE_USERS_FILE", "", "FILE", "file of users with hashed passwords: see kue user", new_path),
    Option(
        "session_lifetime",
        "KUE_SESSION_LIFETIME",
        "7d",
        "TIME",
        "time from a login to the end of its session: 12h, 7d",
        session_lifetime,
    ),
)
