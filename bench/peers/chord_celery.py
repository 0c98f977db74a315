"""Celery's chord of COUNT tasks and a callback: python chord_celery.py create COUNT | work | wait."""

import json
import os
import sys
import time

from celery import Celery, chord

URL = f"redis://127.0.0.1:{os.environ['BENCH_PORT']}/0"
app = Celery("flow", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True)
FIRST = []


@app.task(name="child")
def child(number):
    if not FIRST:
        FIRST.append(time.time())
    return number


@app.task(name="parent")
def parent(results):
    return {"results": len(results), "first": FIRST[0], "ended": time.time()}


if __name__ == "__main__":
    if sys.argv[1] == "work":
        words = ["-A", "chord_celery", "worker", "-P", "threads", "-c", sys.argv[2], "-l", "ERROR"]
        words += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"flow{os.getpid()}@localhost"]
        os.execv(sys.executable, [sys.executable, "-m", "celery", *words])
    count = int(sys.argv[2])
    child.apply_async((0,), queue="other")  # connects
    tasks = [child.s(number) for number in range(count)]
    began = time.perf_counter()
    promise = chord(tasks)(parent.s())
    print(json.dumps({"create_s": time.perf_counter() - began, "id": promise.id}), flush=True)
    found = promise.get(timeout=float(sys.argv[3]))
    assert found["results"] == count, found
    print(json.dumps({"work_s": found["ended"] - found["first"]}), flush=True)
