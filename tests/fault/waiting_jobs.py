"""The run of waits: jobs of several types, each saved while a slot is free, and how long each waits for its start.

    python -m tests.fault.waiting_jobs --seed 7 --waits 200000 [--redis redis-server]

Plain threads. Two workers, one of which comes and goes, share the types; calls to Redis are held up at random, the
concurrency changes, types are paused and resumed, in the process and for all, and running jobs are cancelled. The user
of Redis that the workers are may neither read the number of its connection nor unblock another. Ends with status 1 if a
job waited longer than the limit.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kue
from kue.embedded.server import find_binary

TYPES = ("a", "b", "c", "d", "e")
#: What the workers' user may do on the queue.
ACL = ("ACL", "SETUSER", "worker", "on", ">secret", "~q:*", "~*:lock", "&q:*", "+@all", "-client|unblock",
       "-client|id", "-client|info", "-client|kill")  # fmt: skip
#: Seconds that a job lasts which is cancelled meanwhile: its slot becomes free without an outcome.
STAY_S = 0.02
#: Seconds after which a job that has not begun will not.
GIVE_UP_S = 10.0


class Waits:
    """One run. ``late`` are the waits beyond the limit: seconds, type, and what happened to the type last."""

    def __init__(self, url: str, *, seed: int, waits: int, limit_s: float, restricted: bool = True) -> None:
        self._random = random.Random(seed)
        self._left, self._limit_s = waits, limit_s
        self._lock = threading.Lock()
        self._client = kue.create_queue(url).session.connector.shared()
        self._client.execute_command(*ACL)
        self._url = url
        self._worker_url = url.replace("redis://", "redis://worker:secret@") if restricted else url
        self._begun: dict[int, tuple[threading.Event, list[float]]] = {}
        #: When a type was last opened again after a pause, and what was done to it last.
        self._opened_at = dict.fromkeys(TYPES, 0.0)
        self._done_to = dict.fromkeys(TYPES, "")
        self.times: list[float] = []
        self.late: list[tuple[float, str, str]] = []
        self.counts: Counter[str] = Counter()
        self._over = threading.Event()

    def run(self) -> Waits:
        stays = self._worker()
        producers = [threading.Thread(target=self._produce, args=(name,)) for name in TYPES]
        others = [
            threading.Thread(target=self._change, args=(stays,)),
            threading.Thread(target=self._come_and_go),
        ]
        for thread in (*producers, *others):
            thread.start()
        for thread in producers:
            thread.join()
        self._over.set()
        for thread in others:
            thread.join()
        stays.shutdown(5)
        return self

    # The workers

    def _worker(self) -> kue.Queue:
        queue = kue.create_queue(self._worker_url)
        scripts: Any = queue.session.scripts
        for name in ("wait_and_reserve", "finish_and_reserve", "wake"):
            setattr(scripts, name, self._held_up(getattr(scripts, name)))
        for name in TYPES:
            queue.process(name, self._random.randint(1, 2), self._handle)
        return queue

    def _held_up(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let a call wait now and then before it leaves, and before its answer is taken in."""

        def held_up(*args: Any, **options: Any) -> Any:
            self._pause()
            answer = call(*args, **options)
            self._pause()
            return answer

        return held_up

    def _pause(self) -> None:
        if self._random.random() < 0.03:
            time.sleep(self._random.random() * 0.004)

    def _handle(self, job: kue.Job) -> None:
        now = time.monotonic()
        event, at = self._begun[job.data["n"]]
        at.append(now)
        event.set()
        if job.data["stays"]:
            time.sleep(STAY_S)
        self._pause()

    # What happens to them

    def _change(self, queue: kue.Queue) -> None:
        operator = kue.create_queue(self._url)
        engine: Any = queue._worker.engine
        while not self._over.wait(self._random.random() * 0.02):
            name = self._random.choice(TYPES)
            act = self._random.choice(("concurrency", "pause", "pause everywhere"))
            self.counts[act] += 1
            self._done_to[name] = act
            if act == "concurrency":
                queue.concurrency(name, self._random.randint(1, 4))
            elif act == "pause":
                engine.pause(name)
                time.sleep(self._random.random() * 0.01)
                engine.resume(name)
            else:
                operator.pause(name)
                time.sleep(self._random.random() * 0.03)
                operator.resume(name)
            if act.startswith("pause"):
                self._opened_at[name] = time.monotonic()
        operator.close()

    def _come_and_go(self) -> None:
        while not self._over.wait(self._random.random()):
            self.counts["workers"] += 1
            queue = self._worker()
            self._over.wait(self._random.random())
            queue.shutdown(5)

    # The jobs

    def _produce(self, name: str) -> None:
        queue = kue.create_queue(self._url)
        while True:
            with self._lock:
                if self._left <= 0:
                    break
                self._left -= 1
                number = self._left
            event, at = threading.Event(), []  # type: tuple[threading.Event, list[float]]
            self._begun[number] = event, at
            stays = self._random.random() < 0.02
            job = queue.create(name, {"n": number, "stays": stays}).remove_on_complete().save()
            saved_at = time.monotonic()
            if not event.wait(GIVE_UP_S):
                self.late.append((GIVE_UP_S, name, f"never began; {self._done_to[name]}"))
                continue
            waited_s = at[0] - max(saved_at, self._opened_at[name])
            del self._begun[number]
            if stays:
                self._cancel(job)
            self.times.append(waited_s)
            if waited_s > self._limit_s:
                self.late.append((waited_s, name, self._done_to[name]))
        queue.close()

    def _cancel(self, job: kue.Job) -> None:
        self.counts["cancel"] += 1
        try:
            job.queue.cancel(job.id or 0)
        except kue.KueError:
            pass  # it has ended meanwhile

    def __str__(self) -> str:
        times = sorted(self.times)
        parts = [f"p{share:g} {times[min(len(times) - 1, int(len(times) * share / 100))] * 1000:.1f}"
                 for share in (50, 99, 99.9, 99.99, 100)]  # fmt: skip
        late = "; ".join(f"{s * 1000:.0f} ms {name} after {what}" for s, name, what in self.late[:20])
        counts = ", ".join(f"{count} x {name}" for name, count in sorted(self.counts.items()))
        return f"{len(times)} waits, ms: {', '.join(parts)}; {counts}; late: {len(self.late)} {late}"


def main() -> int:
    from tests.conftest import start_server, stop_server

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--waits", type=int, default=200_000)
    parser.add_argument("--limit-ms", type=float, default=100)
    parser.add_argument("--redis", help="the server's program; by default the embedded Valkey")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, url = start_server(args.redis or str(find_binary()), Path(folder))
        try:
            run = Waits(url, seed=args.seed, waits=args.waits, limit_s=args.limit_ms / 1000).run()
        finally:
            stop_server(process)
    print(run)
    return int(bool(run.late))


if __name__ == "__main__":
    sys.exit(main())
