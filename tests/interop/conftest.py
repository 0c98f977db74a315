"""The Python side of the tests with Node Kue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.harness.sides import PythonSide


@pytest.fixture
def python(redis_url: str) -> Iterator[PythonSide]:
    side = PythonSide(redis_url)
    yield side
    side.close()
