"""A worker process for `bench.scaling`: works on several queues, and notes each job that it handles.

    python scaling_worker.py URL FILE CONCURRENCY PREFIX…
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import kue  # noqa: E402


def main(url: str, file: str, concurrency: int, prefixes: list[str]) -> None:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    notes = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def handler(job: kue.Job) -> int:
        os.write(notes, f"{job.queue.prefix} {job.id}\n".encode())
        return 1

    queues = [kue.create_queue(url, prefix) for prefix in prefixes]
    for queue in queues:
        queue.process("bench", concurrency, handler)
    while not told:
        time.sleep(0.05)
    for queue in queues:
        queue.quiet()
    for queue in queues:
        queue.shutdown(2)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
