"""streaQ: coroutines on a Redis stream."""

import asyncio
import sys

import common
from streaq import Worker

worker = Worker(redis_url=common.URL, concurrency=common.CONCURRENCY)


@worker.task(ttl=3600 if common.KEEP else 0)
async def job(data: dict) -> int:
    return await common.handle_async(data)


async def bulk(datas):
    await worker.enqueue_many([job.enqueue(data) for data in datas])


async def enqueue(data):
    await job.enqueue(data)


async def produce():
    async with worker:
        await common.main_async(enqueue, bulk)


if __name__ == "__main__":
    worker.run_sync() if sys.argv[1] == "work" else asyncio.run(produce())
