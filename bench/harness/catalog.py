"""Who is measured, and how each is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.harness import envs
from bench.harness.steps import Peer

PEERS = Path(__file__).resolve().parent.parent / "peers"


def kue(green: bool = True) -> Peer:
    """kue itself, by the Python and the packages that run the bench."""
    name = f"kue ({'green' if green else 'plain'} threads)"
    command = [sys.executable, str(PEERS / "peer_kue.py")]
    return Peer(name, command, {"BENCH_GREEN": "1" if green else "0"}, has_bulk=True)


def kue_async() -> Peer:
    """kue with async handlers."""
    peer = kue(False)
    return replace(peer, name="kue (async handlers)", env={**peer.env, "BENCH_ASYNC": "1"})


@dataclass(frozen=True)
class Entry:
    """A peer that is installed when it is asked for."""

    name: str
    #: Name of its environment and its requirements; "" for node.
    package: str
    program: str
    has_bulk: bool = False
    #: How it is measured differently.
    env: tuple[tuple[str, str], ...] = ()
    pool: bool = False
    #: Oldest Python it runs on.
    python: tuple[int, int] = (3, 11)

    def peer(self, concurrency: int = 10) -> Peer:
        """Install it if need be. Raises StepFailed."""
        if self.package:
            command = [envs.python_of(self.package, self.python), str(PEERS / self.program)]
        else:
            command = [envs.node(), str(envs.NODE / self.program)]
        paths = os.pathsep.join(filter(None, (str(PEERS), os.environ.get("PYTHONPATH", ""))))
        env = {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", **dict(self.env)}
        pool = concurrency if self.pool else 0
        return Peer(self.name, command, env, pool=pool, has_bulk=self.has_bulk)


ENTRIES = [
    Entry("rq (10 simple workers)", "rq", "peer_rq.py", has_bulk=True, pool=True),
    Entry("celery (threads)", "celery", "peer_celery.py"),
    Entry("dramatiq (threads)", "dramatiq", "peer_dramatiq.py"),
    Entry("huey (threads)", "huey", "peer_huey.py"),
    Entry("huey (greenlets)", "huey", "peer_huey.py", env=(("BENCH_KIND", "greenlet"),)),
    Entry("arq", "arq", "peer_arq.py"),
    Entry("saq", "saq", "peer_saq.py"),
    Entry("streaq", "streaq", "peer_streaq.py", has_bulk=True),
    Entry("taskiq (stream)", "taskiq", "peer_taskiq.py"),
    Entry("ardiq (Rust core)", "ardiq", "peer_ardiq.py", has_bulk=True, python=(3, 12)),
    Entry("Node: kue 0.11", "", "peer_kue.js"),
    Entry("Node: bullmq", "", "peer_bullmq.js", has_bulk=True),
    Entry("Node: bee-queue", "", "peer_bee.js", has_bulk=True),
]


#: Those that work by coroutines.
ASYNC = ("arq", "saq", "streaq", "taskiq (stream)")


def installed(wanted: Callable[[str], bool]) -> list[tuple[str, Callable[[], Peer]]]:
    """Return name and maker of each peer whose name is wanted."""
    return [(entry.name, entry.peer) for entry in ENTRIES if wanted(entry.name)]
