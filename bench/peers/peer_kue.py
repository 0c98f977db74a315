"""kue for Python itself. BENCH_PROFILE names a file.

BENCH_GREEN=1: eventlet's green threads, 0: plain threads, or with BENCH_ASYNC=1 async handlers.
"""

from __future__ import annotations

import os
import sys
import warnings

GREEN = os.environ.get("BENCH_GREEN", "1") == "1"
if GREEN:
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    os.environ["EVENTLET_NO_GREENDNS"] = "yes"  # as app.py and kue worker do
    import eventlet

    eventlet.monkey_patch()

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import signal  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import common  # noqa: E402

import kue  # noqa: E402

queue = kue.create_queue(common.URL)
KIND = os.environ.get("BENCH_KIND", "plain")


def options(number):
    """What the measurement of priorities, delays and retries asks for."""
    if KIND == "priorities":
        return {"priority": (-10, -5, 0, 5, 10)[number % 5]}
    if KIND == "delays":
        return {"delay": 1}
    if KIND == "retries":
        return {"attempts": 2}
    return {} if common.KEEP else {"remove_on_complete": True}


def enqueue(data):
    queue.create("bench", data, **options(data["n"])).save()


def bulk(datas):
    queue.create_many([{"type": "bench", "data": data, **options(data["n"])} for data in datas])


def handler(job):
    if KIND == "retries" and not job.attempts_made:
        raise ValueError("the first attempt fails")
    return common.handle(job.data)


async def async_handler(job):
    return await common.handle_async(job.data)


def work():
    profile, file = None, os.environ.get("BENCH_PROFILE")
    if file and GREEN:
        from bench.harness.sampler import Sampler

        profile = Sampler(file)
    elif file:
        from bench.harness.tracer import Tracer

        profile = Tracer(file)
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    queue.process("bench", common.CONCURRENCY, async_handler if os.environ.get("BENCH_ASYNC") else handler)
    if os.environ.get("BENCH_IDLE_TYPE"):
        queue.process("idle", common.CONCURRENCY, handler)
    while not told:
        time.sleep(0.05)
    if profile is not None:
        profile.write()
    queue.shutdown(2)


def from_threads():
    """``threads N COUNT``: many threads save one job at a time each."""
    threads, count = int(sys.argv[2]), int(sys.argv[3])
    enqueue(common.payload(0))
    began = time.perf_counter()

    def produce():
        for n in range(count // threads):
            enqueue(common.payload(n))

    made = [threading.Thread(target=produce) for _ in range(threads)]
    for thread in made:
        thread.start()
    for thread in made:
        thread.join()
    common.say(count=count // threads * threads + 1, per_s=count / (time.perf_counter() - began))


def wait_latency():
    """``wait N``: ms from ``save`` to the return of ``wait``."""
    queue.create("bench", {"n": 0}).save().wait(10)  # connections are made before the clock runs
    times = []
    for n in range(int(sys.argv[2])):
        time.sleep(0.005)
        began = time.perf_counter()
        queue.create("bench", {"n": n}).save().wait(10)
        times.append((time.perf_counter() - began) * 1000)
    common.say(times=times)


if __name__ == "__main__":
    if sys.argv[1] == "threads":
        from_threads()
    elif sys.argv[1] == "wait":
        wait_latency()
    else:
        common.main(enqueue, work, bulk)
    if sys.argv[1] != "work":
        queue.close()
