"""Values as Node Kue writes them: JSON text, priorities, progress, log lines."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from ..durations import in_ms
from ..errors import InvalidJob

#: Named priorities; lower is sooner.
PRIORITIES = {"low": 10, "normal": 0, "medium": -5, "high": -10, "critical": -15}
PRIORITY_NAMES: dict[int | float, str] = {number: name for name, number in PRIORITIES.items()}


#: A string in compact JSON, or a number that JavaScript may write differently.
_FLOATS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?')


#: Longest delay or ttl, ms: larger numbers are not exact in JavaScript.
MS_MAX = 2**53 - 1

#: Created once, like the encoder below. NaN and Infinity are not JSON.
_decode = json.JSONDecoder(parse_constant=lambda _: None).decode


def _make_encode() -> Callable[[Any], str]:
    """Return a function that encodes a value as compact JSON.

    ``JSONEncoder`` creates its C encoder anew for each value, which takes longer than encoding a small one.
    """
    usual = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return usual.encode
    encode = make(None, usual.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode = _make_encode()


def to_json(value: Any) -> str:
    """Return compact JSON as JavaScript writes it, non-ASCII text unescaped. Raises InvalidJob for other values."""
    try:
        text = _encode(value)
        if ".0" in text or "e-" in text or "e+" in text:  # the numbers that Python writes differently, and some strings
            text = _FLOATS.sub(_as_in_javascript, text)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidJob(f"not JSON: {exc}; use dicts, lists, strings, finite numbers, booleans and None") from exc
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate; escaped, it is valid JSON
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


def _as_in_javascript(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == '"' or text.lstrip("-").isdecimal():
        return text
    spelled = number_text(float(text))
    # JavaScript pads the digits of a large float with zeros. Python would read a different whole number.
    return text if spelled.lstrip("-").isdecimal() and int(spelled) != float(text) else spelled


def number_text(value: float) -> str:
    """Return a finite number as JavaScript writes it: 1.0 is 1, 1e-05 is 0.00001, 1e+16 is 10000000000000000."""
    if isinstance(value, int):
        return str(value)
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0) - (len(digits) - len(digits.lstrip("0")))
    digits = digits.strip("0")
    if not digits:
        return "0"
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


#: A number that may overflow a float: with an exponent of three digits, or very long.
_MAY_OVERFLOW = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{309}")


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def from_json(text: str | None) -> Any:
    """Return the value of JSON text; None for None, and the text itself if it is not JSON (written by another program).

    Never raises. Numbers that are not valid JSON (NaN, Infinity, 1e400) become None.
    """
    if text is None:
        return None
    try:
        if _MAY_OVERFLOW.search(text):
            return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        return _decode(text)
    except (ValueError, RecursionError):
        return text


def is_truthy(value: Any) -> bool:
    """Return whether the value is truthy in JavaScript, where empty lists and objects are."""
    return bool(value) or isinstance(value, (list, dict, tuple))


def check_priority(value: Any) -> int | float:
    """Return a priority as a number, given as a name, a number or a numeric string. Raises InvalidJob."""
    if isinstance(value, str):
        if value in PRIORITIES:
            return PRIORITIES[value]
        try:
            value = float(value)
        except ValueError:
            raise InvalidJob(f"priority must be a number or one of {', '.join(PRIORITIES)}, not {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidJob(f"priority must be a number or one of {', '.join(PRIORITIES)}, not {value!r}")
    if abs(value) > 2**53:
        raise InvalidJob(f"priority must be between -2^53 and 2^53, not {value!r}")
    return int(value) if value == int(value) else float(value)


def check_whole(name: str, value: Any, longest: int) -> int:
    """Return a whole number from 0 to ``longest``; raise InvalidJob otherwise."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= longest
        or value != int(value)
    ):
        raise InvalidJob(f"{name} must be a whole number from 0 to {longest}, not {value!r}")
    return int(value)


def check_ms(name: str, value: Any) -> int | float:
    """Return a duration in ms, given in ms or as a timedelta; an int if it is whole. Raises InvalidJob."""
    ms = in_ms(value)
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 <= ms <= MS_MAX:
        raise InvalidJob(f"{name} must be a number of milliseconds from 0 to {MS_MAX}, or a timedelta, not {value!r}")
    return int(ms) if ms == int(ms) else ms


def check_concurrency(count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidJob(f"concurrency must be a whole number, 1 or more, not {count!r}")
    return count


def check_text(name: str, value: str) -> str:
    """Return text if Redis can store it unchanged; raise InvalidJob otherwise."""
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidJob(f"{name} is not valid Unicode: {value!r}") from exc
    return value


def utf8(text: str) -> str:
    """Return text that Redis can store: invalid Unicode becomes "?"."""
    return text.encode("utf-8", "replace").decode()


def option_text(value: float) -> str:
    """Return the stored form of an option; "" for 0."""
    return number_text(value) if value else ""


def number(text: str | None) -> int | None:
    """Return the whole part of a numeric string; None for None, other text, and numbers beyond 2^53."""
    try:
        value = float(text) if text else None
    except (ValueError, OverflowError):
        return None
    return int(value) if value is not None and abs(value) <= MS_MAX else None


def number_or_float(text: str | None) -> int | float:
    """Return a stored number (a priority, a delay); 0 if it is missing or not finite."""
    try:
        value = float(text) if text else 0
    except ValueError:
        return 0
    if not math.isfinite(value):
        return 0
    return int(value) if abs(value) <= MS_MAX and value == int(value) else value


def percent(done: float, total: float) -> int:
    """Return the progress as Node computes it: at most 100, truncated, 0 for NaN and infinity.

    Node Kue: ``Math.min(100, complete * 100 / total | 0)``, Job.prototype.progress, lib/queue/job.js.
    """
    try:
        value = done * 100 / total
    except ZeroDivisionError:
        return 0
    if not math.isfinite(value):
        return 0
    wrapped = (math.trunc(value) + 2**31) % 2**32 - 2**31
    return min(100, wrapped)


def format_line(template: Any, args: tuple[Any, ...]) -> str:
    """Format a log line as Node's ``util.format``: %s %d %i %f %j %o %O %%; further arguments are appended."""
    rest = list(args)
    if isinstance(template, str):

        def fill(match: re.Match[str]) -> str:
            kind = match.group(1)
            if kind == "%":
                return "%" if args else "%%"
            if not rest:
                return match.group(0)
            return _format_value(kind, rest.pop(0))

        parts = [re.sub(r"%([sdifjoO%])", fill, template)]
    else:
        parts = [_show(template)]
    return " ".join(parts + [value if isinstance(value, str) else _show(value) for value in rest])


def _format_value(kind: str, value: Any) -> str:
    if kind == "s":
        return value if isinstance(value, str) else _show(value)
    if kind in "joO":
        return _show(value)
    try:
        as_float = float(value)
    except (TypeError, ValueError):
        return "NaN"
    if kind == "i" and math.isfinite(as_float):
        return str(int(as_float))
    return number_text(as_float) if math.isfinite(as_float) else str(as_float)


def _show(value: Any) -> str:
    """Return any object as text: as JSON if possible, else as Python prints it."""
    if isinstance(value, str):
        return value
    try:
        return to_json(value)
    except InvalidJob:
        return str(value)
