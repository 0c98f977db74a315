"""Fixtures of the tests that need a server."""

from __future__ import annotations

import pytest
import redis

from tests.integration.script_steps import Steps


@pytest.fixture
def steps(redis_client: redis.Redis) -> Steps:
    return Steps(redis_client)
