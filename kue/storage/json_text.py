"""Strict JSON text of any value read from Redis, at any depth and with any numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii
from typing import Any

#: Created once. ASCII only, so that lone surrogates stay escaped.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def strict_json(value: Any, default: Callable[[Any], Any] = str) -> str:
    """Return compact ASCII JSON that any parser accepts. Never raises for values read from JSON.

    Numbers that are not valid JSON become null. ``default`` converts other objects to JSON values.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return "".join(_pieces(value, default))


def _pieces(value: Any, default: Callable[[Any], Any]) -> Iterator[str]:
    """Yield the parts of the JSON text, with a stack instead of recursion."""
    left: list[Any] = [value]
    while left:
        each = left.pop()
        if isinstance(each, _Text):
            yield each.text
        elif each is None or each is True or each is False:
            yield {None: "null", True: "true", False: "false"}[each]
        elif isinstance(each, str):
            yield encode_basestring_ascii(each)
        elif isinstance(each, (int, float)):
            yield _number(each)
        elif isinstance(each, dict):
            left.append(_Text("}"))
            for at, (key, inner) in reversed(list(enumerate(each.items()))):
                comma = "," if at else ""
                left += (inner, _Text(f"{comma}{encode_basestring_ascii(str(key))}:"))
            left.append(_Text("{"))
        elif isinstance(each, (list, tuple)):
            left.append(_Text("]"))
            for at in range(len(each) - 1, -1, -1):
                left.append(each[at])
                if at:
                    left.append(_Text(","))
            left.append(_Text("["))
        else:
            left.append(default(each))


def _number(value: float) -> str:
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "null"
    try:
        return int.__repr__(value)
    except ValueError:  # more digits than Python converts to text
        return "null"


class _Text:
    """Text that is emitted unchanged."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def printable(text: str) -> str:
    """Return text that can be encoded as UTF-8: lone surrogates become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
