"""arq: coroutines; results stay in Redis when they are kept."""

import asyncio
import sys

import common
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker

settings = RedisSettings.from_dsn(common.URL)


async def job(context, data):
    return await common.handle_async(data)


async def produce():
    pool = await create_pool(settings)
    await common.main_async(lambda data: pool.enqueue_job("job", data))
    await pool.aclose()


def work():
    asyncio.set_event_loop(asyncio.new_event_loop())  # it asks for one as it is made
    Worker(
        functions=[func(job, name="job", keep_result=3600 if common.KEEP else 0)],
        redis_settings=settings,
        max_jobs=common.CONCURRENCY,
    ).run()


if __name__ == "__main__":
    work() if sys.argv[1] == "work" else asyncio.run(produce())
