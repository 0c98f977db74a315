"""The codec: values as Node Kue writes and reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kue.errors import InvalidJob
from kue.storage import codec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert codec.from_json(codec.to_json(value)) == value


@given(JSON)
def test_json_text_can_be_stored_as_utf8(value: Any) -> None:
    assert codec.to_json(value).encode()


def test_json_is_compact_and_keeps_text_as_it_is() -> None:
    assert codec.to_json({"b": [1, "é/"], "a": None}) == '{"b":[1,"é/"],"a":null}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (-1.0, "-1"), (-0.0, "0"), (0.0, "0"), (1.5, "1.5"), (0.1, "0.1"), (100.05, "100.05"),
        (1e5, "100000"),
        (1e-5, "0.00001"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1.25e-7, "1.25e-7"), (1e16, "10000000000000000"),
        (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e21, "1.5e+21"), (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (2**64, "18446744073709551616"),
        ({"1.0": ["2.0 e-05", "\\"]}, '{"1.0":["2.0 e-05","\\\\"]}'), ([1.0, "\"1.0", 2.0], '[1,"\\"1.0",2]'),
        ({"a": 1.0, "b": "e+"}, '{"a":1,"b":"e+"}'),
    ],
)  # fmt: skip
def test_numbers_are_spelled_as_in_javascript(value: Any, text: str) -> None:
    assert codec.to_json(value) == text


def test_a_large_number_is_not_padded_where_python_would_read_another() -> None:
    assert codec.to_json(1.2345678901234568e20) == "1.2345678901234568e+20"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_javascripts_spelling_is_the_same_number(value: float) -> None:
    assert float(codec.number_text(value)) == value


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert json.loads(codec.to_json("a\ud800")) == "a\ud800"


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), b"bytes"])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InvalidJob, match="not JSON"):
        codec.to_json(value)


def test_a_list_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidJob):
        codec.to_json(circle)


def test_text_that_is_no_json_is_itself_the_value() -> None:
    assert codec.from_json("plain {") == "plain {"
    assert codec.from_json(None) is None


@pytest.mark.parametrize(
    ("value", "truthy"),
    [
        (None, False),
        (False, False),
        (0, False),
        ("", False),
        ([], True),
        ({}, True),
        ((), True),
        ("0", True),
        (1, True),
    ],
)
def test_truth_is_that_of_javascript(value: Any, truthy: bool) -> None:
    assert codec.is_truthy(value) is truthy


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        ("low", 10),
        ("normal", 0),
        ("medium", -5),
        ("high", -10),
        ("critical", -15),
        ("7", 7),
        (3, 3),
        (2.0, 2),
        (1.5, 1.5),
    ],
)
def test_a_priority_is_a_name_or_a_number(value: Any, priority: float) -> None:
    assert codec.check_priority(value) == priority


@pytest.mark.parametrize("value", ["urgent", "", None, True, [], float("nan"), float("inf"), 2**54])
def test_anything_else_is_no_priority(value: Any) -> None:
    with pytest.raises(InvalidJob, match="priority"):
        codec.check_priority(value)


@pytest.mark.parametrize(
    ("text", "whole", "priority"), [(None, None, 0), ("", None, 0), ("12", 12, 12), ("1.5", 1, 1.5), ("x", None, 0)]
)
def test_a_numbers_text_is_read_or_left_out(text: str | None, whole: int | None, priority: float) -> None:
    assert codec.number(text) == whole
    assert codec.number_or_float(text) == priority


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [
        (0, 10, 0),
        (1, 3, 33),
        (10, 10, 100),
        (20, 10, 100),
        (1, 0, 0),
        (-1, 10, -10),
        (999, 1000, 99),
        (1, float("nan"), 0),
    ],
)
def test_progress_is_cut_to_a_whole_percent(done: float, total: float, percent: int) -> None:
    assert codec.percent(done, total) == percent


@pytest.mark.parametrize(
    ("template", "args", "line"),
    [
        ("plain", (), "plain"),
        ("%s and %s", ("a", 1), "a and 1"),
        ("%d of %i", (3, 4.7), "3 of 4"),
        ("%d", ("x",), "NaN"),
        ("%j", ({"a": 1},), '{"a":1}'),
        ("100%", (), "100%"),
        ("%%", ("x",), "% x"),
        ("%s", (), "%s"),
        ("left", ("over", {"a": 1}), 'left over {"a":1}'),
        ({"a": 1}, (), '{"a":1}'),
    ],
)
def test_a_log_line_is_formatted_as_in_node(template: Any, args: tuple[Any, ...], line: str) -> None:
    assert codec.format_line(template, args) == line


@given(st.text(), st.lists(JSON, max_size=3))
def test_every_log_call_gives_one_line(template: str, args: list[Any]) -> None:
    assert isinstance(codec.format_line(template, tuple(args)), str)
