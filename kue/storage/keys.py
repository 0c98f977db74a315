"""Every Redis key of a queue, spelled once. ``lua/include/common.lua`` builds the same names inside the scripts."""

from __future__ import annotations

import re

from ..errors import InvalidJob
from .codec import check_text

#: Ids are whole numbers below 2^53: JavaScript cannot tell larger ones apart.
ID_MAX = 2**53 - 1
#: Longest id in text.
ID_CHARS_MAX = 64
#: Digits of the largest id, 2^53 - 1. A longer number is another program's text.
ID_DIGITS_MAX = 16
#: What a Cluster hashes in place of the whole key: the text in the first braces, if there is any.
_HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")


def check_prefix(prefix: object) -> str:
    """Return a queue's prefix; raise InvalidJob if its keys could not be told from others', or lie in many slots."""
    if not isinstance(prefix, str) or not prefix:
        raise InvalidJob(f'the prefix must be a non-empty string such as "q", not {prefix!r}')
    if any(letter.isspace() or ord(letter) < 32 for letter in prefix):
        raise InvalidJob(f'the prefix {prefix!r} contains a space; write a short word such as "q"')
    if "{" in prefix and not _HASH_TAG.match(prefix):
        raise InvalidJob(
            f'the prefix {prefix!r} has a "{{" but no hash tag, so a Redis Cluster would spread the keys: write "{{q}}"'
        )
    return check_text("the prefix", prefix)


class Keys:
    """Names of the keys of the queue with ``prefix``, for example ``q`` or ``{q}`` on a Cluster."""

    def __init__(self, prefix: str = "q") -> None:
        self.prefix = prefix
        #: Last id given out.
        self.ids = f"{prefix}:ids"
        #: Every type ever saved (set).
        self.types = f"{prefix}:job:types"
        #: Every job that is not removed (zset, zid by priority).
        self.jobs = f"{prefix}:jobs"
        #: Sum of the durations of completed jobs, ms.
        self.work_time = f"{prefix}:stats:work-time"
        #: Read by ``queue.setting`` (hash).
        self.settings = f"{prefix}:settings"
        #: Pub/sub channel of all events.
        self.events = f"{prefix}:events"
        #: Ours: channel that tells a worker that a job was revoked from it ("id token reason").
        self.revoked = f"{prefix}:revoked"
        #: Ours: id by the epoch ms at which its lease expires (zset).
        self.leases = f"{prefix}:leases"
        #: Ours: types that no worker may reserve from, anywhere (set).
        self.paused = f"{prefix}:paused"
        #: Ours: the limits of types (hash, type -> JSON).
        self.limits = f"{prefix}:limits"
        #: Ours: written to see whether Redis takes writes (string, 10 s).
        self.health = f"{prefix}:health"
        #: Ours: sessions of the monitor that were logged out, by the epoch ms at which they would have expired (zset).
        self.ended_sessions = f"{prefix}:sessions:ended"
        #: Ours: until when all sessions of a user ("*": of everybody) were ended, epoch ms (hash, 366 days).
        self.revoked_sessions = f"{prefix}:sessions:revoked"
        #: Ours: worker processes, for the boot reclaim and the page (hash, worker -> JSON).
        self.workers = f"{prefix}:workers"
        #: Ours: schedules by the epoch ms at which they are due (zset).
        self.schedules = f"{prefix}:schedules"
        #: Ours: names of webhooks (set).
        self.webhooks = f"{prefix}:webhooks"
        #: Ours: the events that webhooks want (string); a queue without webhooks has none.
        self.webhook_events = f"{prefix}:webhooks:events"
        #: Ours: events that no delivery job has been made of yet (stream).
        self.webhook_outbox = f"{prefix}:webhooks:outbox"
        #: Ours: events that were lost since the outbox was full (string, a number).
        self.webhooks_dropped = f"{prefix}:webhooks:dropped"
        #: Ours: alerts that are active, or may soon be (hash, name -> JSON).
        self.alerts = f"{prefix}:alerts"

    def job(self, job_id: object) -> str:
        return f"{self.prefix}:job:{job_id}"

    def log(self, job_id: object) -> str:
        return f"{self.prefix}:job:{job_id}:log"

    def children(self, job_id: object) -> str:
        """Ours: the jobs that a job waits for, or waited for (zset, id by its number and what became of it)."""
        return f"{self.prefix}:job:{job_id}:children"

    def state(self, state: str) -> str:
        return f"{self.prefix}:jobs:{state}"

    def type_state(self, job_type: str, state: str) -> str:
        return f"{self.prefix}:jobs:{job_type}:{state}"

    def tokens(self, job_type: str) -> str:
        return f"{self.prefix}:{job_type}:jobs"

    def history(self, name: str) -> str:
        """Ours: what happened in each minute ("minutes") or half hour ("halves"), for the charts (hash, JSON)."""
        return f"{self.prefix}:history:{name}"

    def bulk(self, bulk_id: str) -> str:
        """Ours: progress of a bulk action, for the page (string, JSON, 1 h); with ``:stop``, a request to stop it."""
        return f"{self.prefix}:bulk:{bulk_id}"

    def commands(self, worker: str) -> str:
        """Ours: slots requested for a worker process, by type; it applies them within seconds (hash, 60 s)."""
        return f"{self.prefix}:orders:{worker}"

    def wake(self, engine: str) -> str:
        """Ours: what ends the wait of one worker process for tokens (list, at most one element, WAKE_S)."""
        return f"{self.prefix}:wake:{engine}"

    def limit(self, part: str, job_type: str) -> str:
        """Ours: what is kept of a limited type; ``include/aside.lua`` says which parts there are."""
        return f"{self.prefix}:limit:{part}:{job_type}"

    def limit_line(self, job_type: str, key: str) -> str:
        """Ours: the jobs that stepped aside for one key of a limited type (zset, zid by priority)."""
        return self.limit("jobs", f"{len(job_type.encode())}:{job_type}:{key}")

    def slots(self, name: str) -> str:
        """Ours: running attempts that hold slots of that name (set, "id token", 7 days), void if they run no more."""
        return f"{self.prefix}:slots:{name}"

    def secret(self, name: str) -> str:
        """Ours: a random secret that the processes of a queue share (string, hex)."""
        return f"{self.prefix}:secret:{name}"

    def schedule(self, name: str) -> str:
        """Ours: a schedule's definition, and how its last runs were (hash)."""
        return f"{self.prefix}:schedule:{name}"

    def webhook(self, name: str) -> str:
        """Ours: what a webhook is, its secret, and how its deliveries go (hash)."""
        return f"{self.prefix}:webhook:{name}"

    def deliveries(self, name: str) -> str:
        """Ours: the last attempts to deliver to a webhook, newest first (list, JSON)."""
        return f"{self.prefix}:webhook:{name}:deliveries"

    def lane(self, lane: str) -> str:
        """Ours: the last create of one producer, so that a repeated call makes nothing twice (string, 10 min)."""
        return f"{self.prefix}:lane:{lane}"


def zid(job_id: object) -> str:
    """Return the sorted-set member of a job: ``02|12`` for 12, so that equal scores come out in order of id."""
    text = str(job_id)
    return f"{len(text):02d}|{text}"


def id_of(member: str) -> int | str:
    """Return the id in a sorted-set member; text only if somebody stored a job under a textual id."""
    text = member.partition("|")[2]
    return int(text) if text.isdecimal() and len(text) <= ID_DIGITS_MAX else text


def check_id(job_id: int | str) -> None:
    """Raise InvalidJob for what cannot be a job's id."""
    if isinstance(job_id, str) and len(job_id) <= ID_CHARS_MAX:
        check_text("a job's id", job_id)  # another program's: Node's API takes any text
        return
    if isinstance(job_id, bool) or not isinstance(job_id, int) or not 0 < job_id <= ID_MAX:
        raise InvalidJob(f"a job's id must be a whole number from 1 to 2^53-1, not {repr(job_id)[:80]}")
