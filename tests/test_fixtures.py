"""The fixtures that every other test stands on."""

from __future__ import annotations

from collections.abc import Callable

import redis


def test_the_test_server_is_empty_at_first(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_the_test_server_is_emptied_between_tests(redis_client: redis.Redis) -> None:
    assert redis_client.get("left") is None


def test_the_test_server_never_is_the_usual_redis(redis_url: str) -> None:
    assert redis_url.startswith("redis://127.0.0.1:")
    assert ":6379/" not in redis_url


def test_debians_redis_can_be_started_as_well(second_redis_server: Callable[..., str], redis_url: str) -> None:
    url = second_redis_server()
    with redis.Redis.from_url(url) as client:
        assert client.info("server")["redis_version"]
    assert url != redis_url
