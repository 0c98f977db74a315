"""Celery with its thread pool; results in Redis when they are kept."""

import os
import sys

import common
from celery import Celery

app = Celery("bench", broker=common.URL, backend=common.URL if common.KEEP else None)
app.conf.update(task_ignore_result=not common.KEEP, broker_connection_retry_on_startup=True)


@app.task(name="bench.job")
def job(data):
    return common.handle(data)


def work():
    words = ["-A", "peer_celery", "worker", "-P", "threads", "-c", str(common.CONCURRENCY), "-l", "ERROR"]
    words += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"bench{os.getpid()}@localhost"]
    os.execv(sys.executable, [sys.executable, "-m", "celery", *words])


if __name__ == "__main__":
    common.main(job.delay, work)
