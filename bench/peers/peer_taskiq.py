"""Taskiq on a Redis stream: coroutines in one worker process; results in Redis when they are kept."""

import asyncio
import os
import sys

import common
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(common.URL)
if common.KEEP:
    broker = broker.with_result_backend(RedisAsyncResultBackend(common.URL))


@broker.task("bench")
async def job(data: dict) -> int:
    return await common.handle_async(data)


async def produce():
    await broker.startup()
    await common.main_async(job.kiq)
    await broker.shutdown()


def work():
    words = ["worker", "peer_taskiq:broker", "--workers", "1", "--max-async-tasks", str(common.CONCURRENCY)]
    os.execv(sys.executable, [sys.executable, "-m", "taskiq", *words, "--log-level", "ERROR"])


if __name__ == "__main__":
    work() if sys.argv[1] == "work" else asyncio.run(produce())
