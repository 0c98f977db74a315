"""Values of declared types: which are accepted, their JSON form, and the round trip."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import pydantic
import pytest

from kue.storage.codec import to_json
from kue.tasks.conversion import Converter, Mismatch, Unsupported


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Box:
    width: int
    when: datetime | None = None
    inner: list[Box] = field(default_factory=list)


class Person(TypedDict):
    name: str
    born: date


class Point(NamedTuple):
    x: int
    y: int


class Order(pydantic.BaseModel):
    number: int = pydantic.Field(alias="no", gt=0)
    at: datetime


def labels(rows: list[tuple[Any, Any, Any]]) -> list[str]:
    return [f"{number} {declared}" for number, (declared, _, _) in enumerate(rows)]


NOON = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)
UUID_ = UUID("12345678-1234-5678-1234-567812345678")
ORDER = Order(no=7, at=NOON)

#: declared type, value, its JSON
KEPT: list[tuple[Any, Any, str]] = [
    (str, "ü", '"ü"'),
    (int, 5, "5"),
    (float, 1.5, "1.5"),
    (bool, True, "true"),
    (None, None, "null"),
    (Any, {"a": [1, None]}, '{"a":[1,null]}'),
    (datetime, NOON, '"2026-11-27T12:30:00Z"'),
    (datetime, datetime(2026, 11, 27, 12, 30, 0, 5), '"2026-11-27T12:30:00.000005"'),
    (date, date(2026, 11, 27), '"2026-11-27"'),
    (time, time(12, 30), '"12:30:00"'),
    (timedelta, timedelta(seconds=90, milliseconds=5), '"PT90.005S"'),
    (UUID, UUID_, f'"{UUID_}"'),
    (Decimal, Decimal("1.50"), '"1.50"'),
    (bytes, b"\x00\xff", '"AP8="'),
    (Color, Color.RED, '"red"'),
    (Level, Level.LOW, "1"),
    (Literal["a", "b"], "a", '"a"'),
    (str | None, None, "null"),
    (int | str, "x", '"x"'),
    (list[int], [1, 2], "[1,2]"),
    (Sequence[date], [date(2026, 1, 2)], '["2026-01-02"]'),
    (tuple[int, str], (1, "x"), '[1,"x"]'),
    (set[str], {"x"}, '["x"]'),
    (dict[str, Color], {"a": Color.BLUE}, '{"a":"blue"}'),
    (dict[int, int], {1: 2}, '{"1":2}'),
    (Mapping[UUID, int], {UUID_: 2}, f'{{"{UUID_}":2}}'),
    (Box, Box(1, None, [Box(2)]), '{"width":1,"when":null,"inner":[{"width":2,"when":null,"inner":[]}]}'),
    (Box | None, Box(1), '{"width":1,"when":null,"inner":[]}'),
    (Person, {"name": "Ada", "born": date(1815, 12, 10)}, '{"name":"Ada","born":"1815-12-10"}'),
    (Point, Point(1, 2), "[1,2]"),
    (Order, ORDER, '{"no":7,"at":"2026-11-27T12:30:00Z"}'),
    (list[Order] | None, [ORDER], '[{"no":7,"at":"2026-11-27T12:30:00Z"}]'),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "value", "text"), KEPT, ids=labels(KEPT))
def test_a_value_becomes_json_and_comes_back(declared: Any, value: Any, text: str) -> None:
    converter = Converter(declared)
    assert to_json(converter.encode(value)) == text
    back = converter.decode(json.loads(text))
    assert back == value and type(back) is type(value)


#: declared type, value that is refused, what the message says
REFUSED: list[tuple[Any, Any, str]] = [
    (str, 5, "expected str, got int"),
    (str, b"x", "expected str, got bytes"),
    (str, NOON, "expected str, got datetime"),
    (str, None, "expected str, got null"),
    (int, "5", "expected int, got str"),
    (int, True, "expected int, got bool"),
    (int, 1.5, "expected int, got float"),
    (bool, 1, "expected bool, got int"),
    (datetime, "tomorrow", "expected datetime, got str"),
    (Color, "green", "invalid enum value 'green'"),
    (Literal["a"], "b", "invalid enum value 'b'"),
    (list[int], [1, "x"], "expected int, got str - at $[1]"),
    (Box, Box("wide"), "expected int, got str - at $.width"),  # type: ignore[arg-type]
    (Box, {"height": 1}, "object missing required field width"),
    (Person, {"name": "Ada"}, "object missing required field born"),
    (Order, {"no": 1, "at": NOON}, "expected Order, got dict"),
    (Any, object(), "object has no JSON form"),
    (dict[str, Any], {"a": Path("x")}, "Path has no JSON form"),
]


@pytest.mark.parametrize(("declared", "value", "said"), REFUSED, ids=labels(REFUSED))
def test_a_value_of_another_type_is_refused(declared: Any, value: Any, said: str) -> None:
    with pytest.raises(Mismatch) as caught:
        Converter(declared).encode(value)
    assert said in str(caught.value)


#: declared type, JSON as another program may write it, the value
TAKEN: list[tuple[Any, Any, Any]] = [
    (float, 3, 3.0),
    (Decimal, 1.5, Decimal("1.5")),
    (datetime, "2026-11-27T12:30:00.000Z", NOON),  # new Date().toJSON()
    (datetime, "2026-11-27T13:30:00+01:00", NOON),
    (timedelta, "PT1H", timedelta(hours=1)),
    (Box, {"width": 1, "depth": 5}, Box(1)),
    (Order, {"no": 7, "at": "2026-11-27T12:30:00.000Z"}, ORDER),
]


@pytest.mark.parametrize(("declared", "value", "taken"), TAKEN, ids=labels(TAKEN))
def test_json_of_another_program_is_taken(declared: Any, value: Any, taken: Any) -> None:
    assert Converter(declared).decode(value) == taken


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        (int, "5", "expected int, got str"),
        (datetime, 5, "expected datetime, got int"),
        (UUID, "x", "invalid UUID"),
        (Order, {"no": 0, "at": "2026-11-27T12:30:00Z"}, "no: Input should be greater than 0"),
        (list[Order], [{"no": 1}], "at: Field required - at $[0]"),
    ],
    ids=str,
)
def test_json_that_is_not_of_the_type_is_refused_in_one_line(declared: Any, value: Any, said: str) -> None:
    with pytest.raises(Mismatch) as caught:
        Converter(declared).decode(value)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (Path, "Path has no JSON form"),
        (object, "object has no JSON form"),
        (list[Path], "Path has no JSON form"),
        (dict[str, tuple[Path, int] | None], "Path has no JSON form"),
        (str | datetime, "type unions may not contain more than one str-like type"),
    ],
    ids=str,
)
def test_a_type_without_a_json_form_is_refused(declared: Any, said: str) -> None:
    with pytest.raises(Unsupported, match=said):
        Converter(declared)
