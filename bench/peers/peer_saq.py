"""SAQ: coroutines; a finished job stays for ever when kept."""

import asyncio
import sys

import common
from saq import Queue, Worker

queue = Queue.from_url(common.URL, name="bench")
TTL = 0 if common.KEEP else -1


async def job(context, *, data):
    return await common.handle_async(data)


async def produce():
    await queue.connect()
    await common.main_async(lambda data: queue.enqueue("job", data=data, ttl=TTL))
    await queue.disconnect()


async def work():
    await Worker(queue, functions=[job], concurrency=common.CONCURRENCY).start()


if __name__ == "__main__":
    asyncio.run(work() if sys.argv[1] == "work" else produce())
