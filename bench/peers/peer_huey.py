"""Huey: one consumer with threads (BENCH_KIND=thread) or greenlets; results in Redis when they are kept."""

import os
import sys

KIND = os.environ.get("BENCH_KIND", "thread")
if KIND == "greenlet":
    from gevent import monkey

    monkey.patch_all()

import common  # noqa: E402
from huey import RedisHuey  # noqa: E402

huey = RedisHuey("bench", url=common.URL, results=common.KEEP)


@huey.task(name="bench")
def job(data):
    return common.handle(data)


def work():
    words = ["peer_huey.huey", "-k", KIND, "-w", str(common.CONCURRENCY), "-q"]
    os.execv(sys.executable, [sys.executable, "-m", "huey.bin.huey_consumer", *words])


if __name__ == "__main__":
    import peer_huey  # under the name that the consumer knows

    common.main(peer_huey.job, work)
