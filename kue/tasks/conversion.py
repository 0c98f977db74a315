"""Convert values of a declared type to JSON and back, with msgspec.

Strict: nothing is coerced; "5" is not an int. In JSON, a datetime, date, time, UUID or Decimal is a string, a timedelta
is ISO 8601 ("PT90S"), bytes are base64, an enum is its value, and a dataclass, TypedDict or pydantic model is an
object.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..storage.codec import to_json

#: Python types that are strings in JSON.
_NATIVE = (
    bytes, bytearray, memoryview, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID,
    decimal.Decimal,
)  # fmt: skip
#: The first words of msgspec's errors, which begin with a capital, unlike the end of a sentence.
_FIRST_WORDS = ("Expected", "Invalid", "Object", "Type")


class Mismatch(ValueError):
    """A value is not of the declared type. The message says what was expected, and where."""


class Unsupported(TypeError):
    """A type has no JSON form."""


class Converter:
    """Converts the values of one type. Raises Unsupported for a type that has no JSON form."""

    def __init__(self, declared: Any) -> None:
        self._type = declared
        #: The type itself if its values need no conversion: an isinstance check is much faster.
        self._plain = declared if declared in (str, int, float, bool) else None
        try:
            info = msgspec.inspect.type_info(declared)
        except (TypeError, ValueError, NameError) as exc:
            raise Unsupported(_sentence(exc)) from exc
        for each in _types_in(info):
            if isinstance(each, msgspec.inspect.CustomType) and not _is_model(each.cls):
                raise Unsupported(f"{each.cls.__name__} has no JSON form")

    def encode(self, value: Any) -> Any:
        """Return the JSON form of a value. Raises Mismatch if it is not of the type."""
        if type(value) is self._plain:
            return value
        try:
            if self._type is Any:
                return msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_model)
            msgspec.convert(value, self._type, builtin_types=_NATIVE, from_attributes=True, dec_hook=_require)
            encoded = msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_model)
        except (TypeError, ValueError, RecursionError) as exc:
            raise Mismatch(_sentence(exc)) from exc
        self.decode(encoded)  # an object's fields may hold anything
        return encoded

    def decode(self, value: Any) -> Any:
        """Return the value of a JSON form. Raises Mismatch."""
        if self._type is Any or type(value) is self._plain:
            return value
        try:
            return msgspec.convert(value, self._type, str_keys=True, dec_hook=_decode_model)
        except (TypeError, ValueError, RecursionError) as exc:
            raise Mismatch(_sentence(exc)) from exc


def _types_in(info: Any) -> Iterator[Any]:
    """Yield a type and all its component types."""
    seen: dict[int, Any] = {}
    left = [info]
    while left:
        each = left.pop()
        if id(each) in seen:  # a recursive dataclass
            continue
        seen[id(each)] = each
        yield each
        for name in ("item_type", "key_type", "value_type", "type"):
            if (inner := getattr(each, name, None)) is not None:
                left.append(inner)
        for name in ("types", "item_types", "fields"):
            left += getattr(each, name, ())


def _sentence(exc: BaseException) -> str:
    """Return an error as part of a sentence: one line, without quotes around types."""
    first, *others = str(exc).replace("`", "").split() or [type(exc).__name__]
    return " ".join([first.lower() if first in _FIRST_WORDS else first, *others])


# pydantic models are recognized by their methods, so that pydantic is optional.


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and hasattr(cls, "model_validate_json") and hasattr(cls, "model_dump")


def _encode_model(value: Any) -> Any:
    if _is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _require(declared: type, value: Any) -> Any:
    """Accept only instances of the model."""
    if isinstance(value, declared):
        return value
    raise TypeError(f"Expected {declared.__name__}, got {type(value).__name__}")


def _decode_model(declared: Any, value: Any) -> Any:
    validate: Callable[[str], Any] = declared.model_validate_json
    try:
        return validate(to_json(value))
    except ValueError as exc:
        problems = exc.errors() if hasattr(exc, "errors") else []
        if not problems:
            raise
        first = problems[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or declared.__name__}: {first['msg']}") from None
