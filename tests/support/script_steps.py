"""What the tests of the Lua scripts share: a clock of their own, and short words for the calls."""

from __future__ import annotations

import json
from typing import Any

import redis

from kue.storage.keys import Keys
from kue.storage.script_values import Outcome, Reservation, ReservedJob
from kue.storage.scripts import Scripts

NOW = 1_700_000_000_000
WORKER = "kue:host:1"


class Steps:
    """The scripts of queue ``q`` on one client, called at ``NOW`` unless told otherwise."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.keys = Keys()
        self.scripts = Scripts(self.keys)

    def create(self, count: int = 1, *, kind: str = "t", priority: int = 0, attempts: str = "", delay: str = "",
               ttl: str = "", remove: str = "", now: int = NOW, **lane: Any) -> str:  # fmt: skip
        row = (kind, '{"n":1}', str(priority), attempts, delay, ttl, "", remove)
        return str(self.scripts.create(self.client, [row] * count, now_ms=now, **lane))

    def reserve(self, slots: int = 1, *, kind: str = "t", nonce: str = "n", lease: int = 1000, now: int = NOW,
                again: bool = False) -> list[ReservedJob]:  # fmt: skip
        reservation = Reservation({kind: range(slots)}, lease, nonce, WORKER, again)
        return self.scripts.reserve(self.client, reservation, now_ms=now).jobs

    def held(self, nonce: str = "n", **options: Any) -> tuple[str, str]:
        """Create one job and reserve it; return its id and token."""
        self.create(**options)
        job = self.reserve(nonce=nonce)[0]
        return job.job_id, job.token

    def acknowledge(self, verb: str, job_id: str, token: str, *values: str, now: int = NOW) -> int:
        return self.scripts.acknowledge(self.client, Outcome(verb, job_id, token, values), now_ms=now)

    def field(self, job_id: str, name: str) -> str | None:
        value: str | None = self.client.hget(self.keys.job(job_id), name)
        return value

    def state(self, job_id: str) -> str:
        """Return the job's state, once the sets say the same."""
        state = self.field(job_id, "state")
        kind = self.field(job_id, "type") or ""
        member = f"{len(job_id):02d}|{job_id}"
        for each in ("inactive", "active", "complete", "failed", "delayed"):
            for key in (self.keys.state(each), self.keys.type_state(kind, each)):
                assert (self.client.zscore(key, member) is not None) == (each == state), key
        return str(state)

    def listen(self) -> Any:
        """Subscribe to the events; ``heard`` gives those published meanwhile."""
        subscription = self.client.pubsub()
        subscription.subscribe(self.keys.events)
        subscription.get_message(timeout=5)
        return subscription

    @staticmethod
    def heard(subscription: Any) -> list[str]:
        """Return the names of the events so far; a script has published all before it answers."""
        names = []
        while message := subscription.get_message(timeout=0.2):
            names.append(json.loads(message["data"])["event"])
        subscription.close()
        return names
