"""ArdiQ: a Rust core, coroutines on top."""

import asyncio
import sys

import common
from ardiq import Ardiq

app = Ardiq(common.URL, concurrency=common.CONCURRENCY, result_ttl_ms=3_600_000 if common.KEEP else 1)


@app.task(name="bench")
async def job(data: dict) -> int:
    return await common.handle_async(data)


async def bulk(datas):
    await app.enqueue_many([job.prepare(data) for data in datas])


if __name__ == "__main__":
    asyncio.run(app.run() if sys.argv[1] == "work" else common.main_async(job.enqueue, bulk))
