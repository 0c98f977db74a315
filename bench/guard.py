"""Fail if kue fell behind: ``python -m bench.guard``.

It drains jobs in turns with Node's Kue, as the interop tests install it, and compares how many times less CPU time it
needs for each with guard.json: of all figures these depend least on what else the machine does. If the median of the
turns fell by more than 15 %, as many are taken again, and all of them count. ``--update`` writes guard.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from bench.harness import catalog, envs, host
from bench.harness.server import Server
from bench.harness.steps import Bench, Peer, StepFailed

RATIOS = Path(__file__).with_name("guard.json")
#: Where the interop tests install Node's Kue.
MODULES = envs.HERE.parent / "tests" / "node" / "node_modules"
#: The share of a committed ratio that must be left.
LEAST = 0.85
JOBS, TURNS, LIMIT_S = 3000, 3, 20.0


def node_kue() -> Peer:
    """Return Node's Kue. Raises StepFailed where it is not installed."""
    node = shutil.which("node")
    if node is None or not (MODULES / "kue").is_dir():
        raise StepFailed("Node's Kue is not installed: run make test once")
    return Peer("Node's Kue", [node, str(envs.NODE / "peer_kue.js")], {"NODE_PATH": str(MODULES)})


def measure(bench: Bench, peer: Peer) -> dict[str, float]:
    """Return the CPU time that a peer needs, µs a job."""
    bench.server.empty()
    made = bench.enqueue(peer, JOBS, LIMIT_S, keep=1)
    drained = bench.drain(peer, int(made["count"]), LIMIT_S, keep=1)
    return {"server time of a kept job": drained.server_us, "worker time of a kept job": drained.worker_us}


class Guard:
    """Takes turns, and keeps the ratios of each."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._ours, self._peer = bench, catalog.kue(green=False), node_kue()
        self._turns: list[dict[str, float]] = []

    def run(self) -> dict[str, float]:
        """Take some turns; return how many times less CPU time kue needs, in the median of all so far."""
        for _ in range(TURNS):
            peer, ours = measure(self._bench, self._peer), measure(self._bench, self._ours)
            print(", ".join(f"{name} {peer[name]:.1f} / {us:.1f} µs" for name, us in ours.items()), flush=True)
            self._turns.append({name: peer[name] / us for name, us in ours.items()})
        return {name: round(statistics.median(turn[name] for turn in self._turns), 2) for name in self._turns[0]}


def fallen(ratios: dict[str, float], committed: dict[str, float]) -> list[str]:
    """Return what fell, a line each."""
    return [
        f"{name}: Node's Kue needs {ratios[name]:.2f} times as much; it was {was:.2f}"
        for name, was in committed.items()
        if ratios[name] < was * LEAST
    ]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write guard.json")
    options = parser.parse_args(argv)
    host.pin(0, host.peer_cores())
    with Server() as server:
        bench = Bench(server)
        try:
            guard = Guard(bench)
            ratios = guard.run()
            if options.update:
                RATIOS.write_text(json.dumps(ratios, indent=2) + "\n", encoding="utf-8")
                return 0
            committed: dict[str, float] = json.loads(RATIOS.read_text())
            if fallen(ratios, committed):
                ratios = guard.run()
        except StepFailed as exc:
            print(f"bench.guard: {exc}", file=sys.stderr)
            return 1 if os.environ.get("CI") == "true" else 0
        finally:
            bench.close()
    lines = fallen(ratios, committed)
    kept = ", ".join(f"{name} {ratios[name]:.2f} ({was:.2f})" for name, was in committed.items())
    print("\n".join(lines) or f"Node's Kue needs as many times as much as it did: {kept}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
