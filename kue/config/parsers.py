"""Parsers for the values of settings. Each raises ValueError, whose message says what to write."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..connection.locate import embedded_dir, is_embedded
from ..connection.url import parse
from ..errors import InvalidAddress

#: More green threads than this for downloads only cost memory.
MAX_CONCURRENCY = 10_000
URL_FORMS = "a URL looks like redis://127.0.0.1:6379/0 or unix:///run/redis.sock"
SIZE_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
#: Units of a duration, ms.
DURATION_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


@dataclass(frozen=True)
class Option:
    """A setting. ``data_dir`` is KUE_DATA_DIR in the environment and ``--data-dir`` as a flag."""

    field: str
    variable: str
    default: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    #: May hold a password, so an error message does not repeat it.
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in that range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts one of these words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"write {' or '.join(words)}")
        return text.lower()

    return parse


def number_or_all(text: str) -> int | None:
    if text.lower() == "all":
        return None
    try:
        return whole_number(0, 10**9)(text)
    except ValueError:
        raise ValueError("write a whole number, or all for no limit") from None


def host_name(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", bare):
        raise ValueError(
            "write an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0, without http:// or a port"
        )
    if ":" in bare:
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            raise ValueError("write the address only; the port is a separate setting, PORT") from None
    return bare


def redis_url(text: str) -> str | None:
    """A Redis URL; empty for the Redis of this machine. Errors do not repeat its password."""
    if not text:
        return None
    try:
        if is_embedded(text):
            embedded_dir(text)
            return text
        parse(text)
    except InvalidAddress as exc:
        raise ValueError(f"{exc}; {URL_FORMS}") from None
    if not urlsplit(text).netloc and not text.startswith("unix:"):  # from an empty variable
        raise ValueError(f"it has no host; {URL_FORMS}")
    return text


def prefix(text: str) -> str:
    if any(ord(letter) < 33 for letter in text):
        raise ValueError("write a short word such as q, without spaces; every Redis key starts with it")
    return text


def directory(text: str) -> Path:
    if "\0" in text:
        raise ValueError("a path cannot contain NUL")
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError("this is a file; write the path of a directory, which is created if it does not exist")
    return path


def existing_path(text: str) -> Path | None:
    """An existing file or directory; or empty."""
    if not text:
        return None
    path = Path(text).expanduser()
    if "\0" in text or not path.exists():
        raise ValueError("there is no such file; write the path of a PEM file")
    return path


def proxy(text: str) -> str | None:
    """The URL of a proxy; or empty."""
    if text and not re.fullmatch(r"(?i)(https?|socks5h?)://[^\s/?#]+/?", text):
        raise ValueError("write a URL such as http://proxy:3128 or socks5h://user:password@proxy:1080")
    return text or None


def hosts(text: str) -> tuple[str, ...]:
    """Host names, addresses and networks, each optionally with a port: ``intranet, 10.0.0.0/8, 127.0.0.1:3000``."""
    entries = words(text)
    for entry in entries:
        if "/" in entry:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                raise ValueError(f"{entry!r} is not a host or a network such as 10.0.0.0/8") from None
        elif not re.fullmatch(r"\*?[\w.:\[\]-]+", entry):
            raise ValueError(f"{entry!r} is not a host; write hosts and networks, comma-separated, without http://")
    return entries


def size_bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15})\s*([kmgt]?)(?:i?b)?", text.lower())
    if found is None or int(found[1]) == 0:
        raise ValueError("write a number of bytes, such as 1073741824, or with a unit: 500M, 10G")
    return int(found[1]) * SIZE_UNITS[found[2]]


def size_or_none(text: str) -> int | None:
    """A size; empty or 0 for no limit."""
    return None if text in ("", "0") else size_bytes(text)


def number_or_none(text: str) -> int | None:
    """A whole number; empty or 0 for no limit."""
    return None if text in ("", "0") else whole_number(1, MAX_CONCURRENCY)(text)


def yes_or_no(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("write 1 or 0")


def words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def duration_ms(text: str) -> int:
    """Return the ms of ``90s``, ``15m``, ``12h``, ``7d``, ``250ms``."""
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*(ms|[smhdw])", text.strip().lower())
    if found is None:
        raise ValueError(f'"{text}" is not a duration; write a number with ms, s, m, h, d or w, such as 90s or 7d')
    return round(float(found[1]) * DURATION_UNITS[found[2]])


def duration_or_off(text: str) -> int | None:
    """A duration in ms, or None for ``off``."""
    return None if text.lower() in ("", "off") else duration_ms(text)


def percent_or_off(text: str) -> float | None:
    """``20`` or ``20%``; None for ``off``."""
    if text.lower() in ("", "off"):
        return None
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%?", text)
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError(f"{text!r} is not a percentage; write for example 20%, or off")
    return float(found[1])


def size_or_off(text: str) -> int | None:
    """A size in bytes, or None for ``off``."""
    return None if text.lower() in ("", "off") else size_bytes(text)


def comma_list(text: str) -> tuple[str, ...]:
    """Comma-separated texts, which may contain spaces."""
    return tuple(filter(None, (each.strip() for each in text.split(","))))
