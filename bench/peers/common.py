"""What each peer's program shares: counting handled jobs, the jobs' bodies, and the command line.

It runs in the virtual environment of each peer, so it imports the standard library alone. The environment says:

BENCH_URL          the Redis
BENCH_DIR          a folder for the files below
BENCH_CONCURRENCY  jobs at once in one worker process
BENCH_KEEP         1: finished jobs or their results are kept, 0: nothing is
BENCH_BODY         what a job does: noop, sleep10 and sleep50 (ms), cpu2 (ms)
BENCH_BYTES        size of the data of a job beside its number
BENCH_IDLE_TYPE    1: where a worker has types of jobs, it has a second one without jobs

A program is called ``enqueue N SECONDS``, ``bulk N``, ``latency N PAUSE_MS``, or ``work``.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import struct
import sys
import threading
import time

URL = os.environ.get("BENCH_URL", "")
FOLDER = os.environ.get("BENCH_DIR", ".")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))
KEEP = os.environ.get("BENCH_KEEP", "1") == "1"
BODY = os.environ.get("BENCH_BODY", "noop")
BYTES = int(os.environ.get("BENCH_BYTES", "0"))

#: What a body waits, seconds.
SLEEPS_S = {"sleep10": 0.010, "sleep50": 0.050}
#: In PID.tally: jobs done, time of the first one's start and of the last one's end (epoch, seconds).
TALLY = struct.Struct("<qdd")


class Tally:
    """Counts the jobs that this process has done, where the harness can see it without asking."""

    def __init__(self):
        self.pid = os.getpid()
        self.count = 0
        self.first = time.time()
        path = os.path.join(FOLDER, f"{self.pid}.tally")
        with open(path + ".new", "w+b") as file:
            file.write(bytes(TALLY.size))
            file.flush()
            self.map = mmap.mmap(file.fileno(), TALLY.size)
        os.rename(path + ".new", path)
        self.times = os.open(os.path.join(FOLDER, "latencies"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def done(self):
        self.count += 1
        TALLY.pack_into(self.map, 0, self.count, self.first, time.time())


_tally = None
_making = threading.Lock()


def own_tally():
    """Return the tally of this process, made by its first job: many a peer forks before it works."""
    global _tally
    if _tally is None or _tally.pid != os.getpid():
        with _making:
            if _tally is None or _tally.pid != os.getpid():
                _tally = Tally()
    return _tally


def handle(data):
    """The body of a job, the same for every peer; ``data`` is its payload."""
    tally = own_tally()
    sent = data.get("t")
    if sent is not None:
        os.write(tally.times, b"%.3f\n" % ((time.time() - sent) * 1000))
    if BODY in SLEEPS_S:
        time.sleep(SLEEPS_S[BODY])
    elif BODY == "cpu2":
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass
    tally.done()
    return 1


async def handle_async(data):
    """The same for peers that work by coroutines: their sleep must not block the others."""
    if BODY not in SLEEPS_S:
        return handle(data)
    import asyncio

    tally = own_tally()
    await asyncio.sleep(SLEEPS_S[BODY])
    tally.done()
    return 1


def payload(number):
    return {"n": number, "x": "x" * BYTES} if BYTES else {"n": number}


def say(**facts):
    print(json.dumps(facts), flush=True)


def main(enqueue, work, bulk=None):
    """``enqueue(data)`` makes one job, ``bulk(list of data)`` many; ``work()`` runs a worker until it is killed."""
    action = sys.argv[1]
    if action == "work":
        work()
    elif action == "enqueue":
        count, limit = int(sys.argv[2]), float(sys.argv[3])
        enqueue(payload(0))  # connections are made before the clock runs
        made, began = 1, time.perf_counter()
        while made < count and time.perf_counter() - began < limit:
            enqueue(payload(made))
            made += 1
        say(count=made, per_s=(made - 1) / (time.perf_counter() - began))
    elif action == "bulk":
        jobs = [payload(n) for n in range(int(sys.argv[2]))]
        began = time.perf_counter()
        for at in range(0, len(jobs), 1000):
            bulk(jobs[at : at + 1000])
        say(count=len(jobs), per_s=len(jobs) / (time.perf_counter() - began))
    elif action == "latency":
        count, pause = int(sys.argv[2]), float(sys.argv[3]) / 1000
        enqueue(payload(0))
        for n in range(count):
            time.sleep(pause * random.uniform(0.5, 1.5))
            enqueue({"n": n, "t": time.time()})
        say(count=count)


async def main_async(enqueue, bulk=None):
    """As ``main``, for peers whose producers are coroutines; ``work`` is up to them."""
    import asyncio

    action = sys.argv[1]
    if action == "enqueue":
        count, limit = int(sys.argv[2]), float(sys.argv[3])
        await enqueue(payload(0))
        made, began = 1, time.perf_counter()
        while made < count and time.perf_counter() - began < limit:
            await enqueue(payload(made))
            made += 1
        say(count=made, per_s=(made - 1) / (time.perf_counter() - began))
    elif action == "bulk":
        jobs = [payload(n) for n in range(int(sys.argv[2]))]
        began = time.perf_counter()
        for at in range(0, len(jobs), 1000):
            await bulk(jobs[at : at + 1000])
        say(count=len(jobs), per_s=len(jobs) / (time.perf_counter() - began))
    elif action == "latency":
        count, pause = int(sys.argv[2]), float(sys.argv[3]) / 1000
        await enqueue(payload(0))
        for n in range(count):
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            await enqueue({"n": n, "t": time.time()})
        say(count=count)
