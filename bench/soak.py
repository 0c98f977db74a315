"""Create and complete jobs without end, and watch whether anything grows: ``python -m bench.soak --cycles 1000000``.

One process produces, another works with retention on, over a server of their own. Each line tells of the memory of all
three. Ends with status 1 if one of them grew after the first 100,000 cycles by more than a tenth and 4 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

#: Cycles between two lines, and those in which everything may still find its size.
STEP, WARM_UP = 50_000, 100_000
#: Jobs of one call, and those that wait at most.
BATCH, BACKLOG = 200, 2_000
KEPT = 1_000
SLOTS = 50
#: Growth that counts: of the value after the warm-up, and bytes.
GROWTH, GROWTH_BYTES = 0.10, 4 * 2**20


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def work(url: str) -> None:
    """Complete jobs; a tenth fails first, a tenth logs, and retention takes away what is done."""
    import kue

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    queue = kue.create_queue(url)
    queue.retain(complete=KEPT, failed=KEPT)

    def handle(job: Any) -> dict[str, int]:
        number = job.data["n"]
        if number % 10 == 1:
            job.log("job number %d", number)
            job.progress(1, 2)
        if number % 10 == 2 and job.attempts_made == 0:
            raise RuntimeError("once")
        return {"n": number}

    queue.process("soak", SLOTS, handle)
    while not stop:
        time.sleep(0.1)
    queue.shutdown(10)


def soak(cycles: int, url: str, worker: int) -> list[dict[str, int]]:
    """Create ``cycles`` jobs as fast as they are completed; return what was measured every STEP, printing it."""
    import kue

    queue = kue.create_queue(url, search=True)
    client = queue.session.connector.shared()
    heard = 0

    def listen(*args: object) -> None:
        nonlocal heard
        heard += 1

    queue.on("job complete", listen)
    lines: list[dict[str, int]] = []
    made, began = 0, time.monotonic()
    while made < cycles:
        while made - heard > BACKLOG and int(client.zcard(queue.keys.state("inactive"))) > BACKLOG:
            time.sleep(0.005)
        jobs = [queue.create("soak", {"n": made + n, "title": f"job {made + n}"}, attempts=2) for n in range(BATCH)]
        if made % (50 * BATCH) == 0:
            jobs[0].on("complete", listen)  # an object with a listener of its own, let go of after its last event
        queue.create_many(jobs)
        made += BATCH
        if made % STEP == 0:
            settle(queue, client)
            line = {
                "cycles": made,
                "redis": int(client.info("memory")["used_memory"]),
                "keys": int(client.dbsize()),
                "worker": rss_bytes(worker),
                "producer": rss_bytes(os.getpid()),
            }
            lines.append(line)
            rate = made / (time.monotonic() - began)
            print(
                f"{made:>9,} cycles  Redis {line['redis'] / 1e6:6.2f} MB  {line['keys']:>6,} keys  "
                f"worker {line['worker'] / 1e6:6.1f} MB  producer {line['producer'] / 1e6:6.1f} MB  {rate:,.0f}/s",
                flush=True,
            )
    queue.close()
    return lines


def settle(queue: Any, client: Any) -> None:
    """Wait until all is done and retention has come to it, so that each line is of the same moment."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        counts = queue.counts()
        if counts["complete"] <= KEPT and not counts["active"] + counts["inactive"] + counts["delayed"]:
            return
        time.sleep(0.1)


def grown(lines: list[dict[str, int]]) -> list[str]:
    """Return what grew after the warm-up, a sentence each."""
    found = []
    after = [line for line in lines if line["cycles"] >= min(WARM_UP, lines[-1]["cycles"] // 2)]
    for what in ("redis", "worker", "producer"):
        first, last = after[0][what], after[-1][what]
        if last - first > max(GROWTH_BYTES, first * GROWTH):
            found.append(f"{what} grew from {first / 1e6:.1f} to {last / 1e6:.1f} MB")
    if after[-1]["keys"] > after[0]["keys"] + 100:
        found.append(f"the keys grew from {after[0]['keys']} to {after[-1]['keys']}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1_000_000)
    parser.add_argument("--threads", action="store_true", help="a worker with plain threads instead of green ones")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return 0
    from kue.embedded.server import EmbeddedServer

    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(directory) as server:
        command = [sys.executable, "-m", "bench.soak", "--worker", server.url]
        worker = subprocess.Popen(command if given.threads else [*command[:1], "-c", GREEN, server.url])
        try:
            lines = soak(max(given.cycles, 2 * STEP), server.url, worker.pid)
        finally:
            worker.terminate()
            worker.wait(30)
    found = grown(lines)
    print("; ".join(found) or "nothing grew after the warm-up")
    print(json.dumps(lines))
    return 1 if found else 0


#: The worker with green threads: patched before anything else is imported.
GREEN = """
import sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
from bench.soak import work
work(sys.argv[1])
"""

if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=r"\\s*Eventlet is deprecated")
    sys.exit(main())
