"""A prefix that would mix up or scatter a queue's keys is rejected when the queue is created."""

from __future__ import annotations

from typing import Any

import pytest

import kue


@pytest.mark.parametrize("prefix", ["", None, 5, b"q", "{", "a{", "{}", "{}q", "{q", "q{}{x}", "}{", "a\ud800"])
def test_a_malformed_prefix_is_refused(prefix: Any) -> None:
    with pytest.raises(kue.InvalidJob, match="prefix"):
        kue.Queue(prefix=prefix)


@pytest.mark.parametrize("prefix", ["q", "{q}", "a{b}c", "my:queue", "ü", "q}", "{q}{}"])
def test_others_are_taken(prefix: str) -> None:
    assert kue.Queue(prefix=prefix).prefix == prefix
