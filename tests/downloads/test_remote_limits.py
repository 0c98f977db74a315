"""Limits changed while downloads run, by any process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

import kue
from kue.downloads import DownloadHandler, LimitFollower, change_limits, changed_limits, limit_follower
from tests.downloads.conftest import assert_file
from tests.downloads.hostile import HostileServer, content, good
from tests.support import wait_until

Make = Callable[..., DownloadHandler]


def test_a_change_reaches_every_handler_and_none_means_no_limit(queue: kue.Queue, make: Make) -> None:
    handlers = [make(rate=1000, per_host=3, min_free=5) for _ in range(2)]
    followers = [LimitFollower(queue, handler) for handler in handlers]
    change_limits(queue, rate=2000, per_host=None)
    assert changed_limits(queue) == {"rate": 2000, "per_host": None}
    for follower, handler in zip(followers, handlers, strict=True):
        follower.look()
        assert handler.current() == {"slots": None, "per_host": None, "rate": 2000, "min_free": 5}
    change_limits(queue, min_free=0)
    followers[0].look()
    assert handlers[0].current()["min_free"] == 0
    # What nobody changed any more is as the process was started.
    queue.change_settings(dict.fromkeys(limit_follower.FIELDS.values()))
    followers[0].look()
    assert handlers[0].current() == {"slots": None, "per_host": 3, "rate": 1000, "min_free": 5}


@pytest.mark.parametrize("limits", [{"rate": 0}, {"rate": -1}, {"per_host": 1.5}, {"min_free": -1}, {"slots": 1}])
def test_an_invalid_limit_changes_nothing(queue: kue.Queue, limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="limit"):
        change_limits(queue, **{"rate": 5, **limits})
    assert changed_limits(queue) == {}


def test_what_others_wrote_there_does_no_harm(queue: kue.Queue, redis_client: redis.Redis, make: Make) -> None:
    redis_client.hset("q:settings", mapping={"download_rate": "fast", "download_per_host": "0"})
    handler = make(rate=7)
    LimitFollower(queue, handler).look()
    assert handler.current()["rate"] == 7 and handler.current()["per_host"] is None


@pytest.mark.slow
def test_a_running_download_follows_a_change(queue: kue.Queue, make: Make, folder: Path) -> None:
    data = content(2_000_000)
    with HostileServer(good(data)) as server:
        handler = make(server, rate=50_000)
        follower = LimitFollower(queue, handler)
        follower.start()
        queue.process("startdownload", 1, handler)
        job = queue.create("startdownload", {"title": "t", "url": server.url()}).save()
        wait_until(lambda: handler.limits.running() == 1)
        change_limits(queue, rate=None)
        assert_file(folder, job.wait(15), data)
        follower.stop()


@pytest.mark.slow
def test_the_limit_per_host_holds_across_processes(
    queue: kue.Queue, redis_url: str, make: Make, folder: Path
) -> None:
    # Given two handlers, as of two processes, of which each may download once from a host
    with HostileServer(good(content(100_000))) as server, kue.create_queue(redis_url) as other:
        handlers = [make(server, per_host=1, rate=40_000) for _ in range(2)]
        for each, handler in zip((queue, other), handlers, strict=True):
            LimitFollower(each, handler)
            each.process("startdownload", 1, handler)
        # When there are two jobs, then one of them waits, delayed
        jobs = queue.create_many({"type": "startdownload", "data": {"url": server.url()}} for _ in range(2))
        wait_until(lambda: queue.delayed_count() == 1)
        assert sum(handler.limits.running() for handler in handlers) == 1
        assert sum("already running" in line for job in jobs for line in queue.log(job.id)) >= 1
        # And a slot whose holder lost its job is none
        held = queue.active()[0]
        queue.cancel(held)
        waiting = next(job for job in jobs if job.id != held)
        queue.promote(waiting.id)
        wait_until(lambda: queue.get(waiting.id).state == "active")


def test_the_bandwidth_is_shared_with_the_downloads_of_other_processes(
    queue: kue.Queue, redis_url: str, make: Make
) -> None:
    with HostileServer(good(content(400_000))) as server, kue.create_queue(redis_url) as other:
        handlers = [make(server, rate=40_000) for _ in range(2)]
        followers = [LimitFollower(each, handler) for each, handler in zip((queue, other), handlers, strict=True)]
        for follower, each, handler in zip(followers, (queue, other), handlers, strict=True):
            follower.start()
            each.process("startdownload", 1, handler)
        queue.create_many({"type": "startdownload", "data": {"url": server.url()}} for _ in range(2))
        wait_until(lambda: [handler.limits.others for handler in handlers] == [1, 1])
        assert [handler.limits._own_rate() for handler in handlers] == [20_000, 20_000]
        for follower in followers:
            follower.stop()
        queue.cancel(queue.active()[0])
        queue.cancel(queue.active()[0])
