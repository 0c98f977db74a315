"""Parse and validate a Redis URL early, so that a typo shows before the first job is saved."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import InvalidAddress

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")

#: Maximum number of databases of a server; the default is 16.
DB_MAX = 65_535


@dataclass(frozen=True)
class Address:
    """``hosts`` are (name, port); ``options`` are keyword arguments of redis-py, for Redis and for the sentinels."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sentinel_options: dict[str, Any] = field(default_factory=dict)


def parse(url: str) -> Address:
    """Return the Address of a URL. Raises InvalidAddress, whose message contains no password.

    redis://[user:password@]host[:port][/db], rediss://… (TLS), unix://[user:password@]/path[?db=n],
    redis+sentinel://[user:password@]host[:port],host[:port]/service[/db], redis+cluster://[…@]host[:port],host[:port];
    options follow a ``?``: see OPTIONS.
    """
    try:
        return _parse(url)
    except InvalidAddress:
        raise
    except ValueError as exc:
        raise InvalidAddress(f"invalid Redis URL {without_password(url)!r}: {exc}") from None


def without_password(url: str) -> str:
    """Return the URL without its password, for display."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.rpartition("@")[2]
    rest = re.sub(r"(password=)[^&]*", r"\1…", rest)
    return f"{scheme}{mark}{'…@' if '@' in rest else ''}{rest.rpartition('@')[2]}"


def _parse(url: str) -> Address:
    parts = urlsplit(url)
    if re.fullmatch(r"[\w.-]+(:[0-9]{1,5})?(/[0-9]{0,5})?", url):
        raise ValueError(f"write redis://{url}")
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"write {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://")
    if parts.fragment:
        raise ValueError("write a # in a password as %23")
    options, sentinel = _query(parts)
    options |= _credentials(parts)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
            raise ValueError("write the socket's whole path: unix:///run/redis/redis.sock")
        return Address("unix", path=unquote(parts.path), options=_whole(options))
    several = parts.scheme in ("redis+sentinel", "redis+cluster")
    hosts = _hosts(parts.netloc, 26379 if parts.scheme == "redis+sentinel" else 6379)
    if len(hosts) > 1 and not several:
        raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    service, path = "", parts.path.strip("/")
    if parts.scheme == "redis+sentinel":
        service, _, path = path.partition("/")
        service = unquote(service) or "mymaster"
    if path:
        if "db" in options:
            raise ValueError("the database number is given twice, in the path and as ?db=")
        try:
            options["db"] = _database(path)
        except ValueError as exc:
            raise ValueError(f"the database {exc}") from None
    if parts.scheme == "redis+cluster" and options.pop("db", 0):
        raise ValueError("a Redis Cluster has only database 0; use prefixes to separate queues")
    if parts.scheme == "rediss":
        options["ssl"] = True
    elif "ssl" in options and not several:
        raise ValueError("use rediss:// for TLS; ?ssl=1 is for sentinels and clusters only")
    if parts.scheme != "redis+sentinel" and sentinel:
        raise ValueError(f"{next(iter(sentinel))} is for redis+sentinel:// only")
    return Address(parts.scheme, hosts, service=service, options=_whole(options), sentinel_options=sentinel)


def _whole(options: dict[str, Any]) -> dict[str, Any]:
    for name in options:
        if name.startswith("ssl_") and not options.get("ssl"):
            raise ValueError(f"{name} is for connections with TLS: rediss://, or ?ssl=1 for sentinels and clusters")
    if not options.get("ssl"):
        options.pop("ssl", None)
    return options


def _query(parts: SplitResult) -> tuple[dict[str, Any], dict[str, Any]]:
    options: dict[str, Any] = {}
    sentinel: dict[str, Any] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        target, key = (sentinel, name[9:]) if name in SENTINEL_OPTIONS else (options, name)
        if name not in SENTINEL_OPTIONS and name not in OPTIONS:
            raise ValueError(f"unknown option {name!r}; the options are {', '.join((*OPTIONS, *SENTINEL_OPTIONS))}")
        try:
            target[key] = OPTIONS[key](text)
        except ValueError as exc:
            raise ValueError(f"{name} {exc}") from None
    return options, sentinel


def _hosts(netloc: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/?#\s]*)(?::([0-9]{1,5}))?", part)
        if match is None or match[2] is not None and not 0 < int(match[2]) < 65536:
            raise ValueError(f"{part!r} is not a host with an optional port from 1 to 65535")
        hosts.append((match[1].strip("[]") or "localhost", int(match[2] or default_port)))
    return tuple(hosts)


def _credentials(parts: SplitResult) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _database(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > DB_MAX:
        raise ValueError("must be a number, such as 0: redis://host:6379/0")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= 3600:
        raise ValueError("must be a number of seconds up to 3600, such as 2.5")
    return float(text)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError("must be 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _requirement(text: str) -> str:
    if text not in ("required", "optional", "none"):
        raise ValueError("must be required, optional or none")
    return text


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


#: Options after a ``?``, with redis-py's names. ``socket_timeout``: seconds until Redis counts as unreachable.
OPTIONS: dict[str, Callable[[str], Any]] = {
    "db": _database,
    "username": _text,
    "password": _text,
    "client_name": _text,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "ssl": _yes_or_no,
    "ssl_ca_certs": _text,
    "ssl_ca_path": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_password": _text,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": _yes_or_no,
}
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
