"""Dramatiq: one process with threads; results in Redis when they are kept."""

import os
import sys

import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=common.URL)
if common.KEEP:
    broker.add_middleware(Results(backend=RedisBackend(url=common.URL), result_ttl=3_600_000))
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="bench", **({"store_results": True} if common.KEEP else {}))
def job(data):
    result = common.handle(data)
    return result if common.KEEP else None


def work():
    words = ["peer_dramatiq", "--processes", "1", "--threads", str(common.CONCURRENCY)]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", *words])


if __name__ == "__main__":
    common.main(job.send, work)
