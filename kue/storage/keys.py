"""All Redis keys of a queue. ``lua/include/common.lua`` builds the same names inside the scripts.

“Ours” marks keys that Node Kue does not have.
"""

from __future__ import annotations

import re

from ..errors import InvalidJob
from .codec import check_text

#: Ids are whole numbers below 2^53: JavaScript cannot tell larger ones apart.
ID_MAX = 2**53 - 1
#: Maximum length of a textual id.
ID_CHARS_MAX = 64
#: Digits of the largest id, 2^53 - 1. A longer number is another program's textual id.
ID_DIGITS_MAX = 16
#: A Cluster's hash tag: the text in the first braces, which is hashed instead of the whole key.
_HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")


def check_prefix(prefix: object) -> str:
    """Return a queue's prefix. Raises InvalidJob for one that is ambiguous, or would spread the keys over slots."""
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
        #: The last job's id.
        self.ids = f"{prefix}:ids"
        #: Every type ever saved (set).
        self.types = f"{prefix}:job:types"
        #: Every existing job (zset, zid by priority).
        self.jobs = f"{prefix}:jobs"
        #: Total run time of completed jobs, ms.
        self.work_time = f"{prefix}:stats:work-time"
        #: Read by ``queue.setting`` (hash).
        self.settings = f"{prefix}:settings"
        #: Pub/sub channel of all events.
        self.events = f"{prefix}:events"
        #: Ours: channel that notifies workers of revoked jobs ("id token reason").
        self.revoked = f"{prefix}:revoked"
        #: Ours: leases (zset, id by the epoch ms at which its lease expires).
        self.leases = f"{prefix}:leases"
        #: Ours: types paused for all workers (set).
        self.paused = f"{prefix}:paused"
        #: Ours: the limits of types (hash, type -> JSON).
        self.limits = f"{prefix}:limits"
        #: Ours: written to check that Redis accepts writes (string, 10 s).
        self.health = f"{prefix}:health"
        #: Ours: ended sessions of the monitor (zset, by the epoch ms at which they would have expired).
        self.ended_sessions = f"{prefix}:sessions:ended"
        #: Ours: by user ("*": all users), the epoch ms up to which all sessions were ended (hash, 366 days).
        self.revoked_sessions = f"{prefix}:sessions:revoked"
        #: Ours: worker processes, for rescues at startup and the page (hash, worker -> JSON).
        self.workers = f"{prefix}:workers"
        #: Ours: schedules (zset, by the epoch ms at which they are due).
        self.schedules = f"{prefix}:schedules"
        #: Ours: names of webhooks (set).
        self.webhooks = f"{prefix}:webhooks"
        #: Ours: the events of all webhooks (string); missing without webhooks.
        self.webhook_events = f"{prefix}:webhooks:events"
        #: Ours: the outbox: events without a delivery job yet (stream).
        self.webhook_outbox = f"{prefix}:webhooks:outbox"
        #: Ours: number of events dropped because the outbox was full (string).
        self.webhooks_dropped = f"{prefix}:webhooks:dropped"
        #: Ours: alerts that are active or pending (hash, name -> JSON).
        self.alerts = f"{prefix}:alerts"

    def job(self, job_id: object) -> str:
        return f"{self.prefix}:job:{job_id}"

    def log(self, job_id: object) -> str:
        return f"{self.prefix}:job:{job_id}:log"

    def children(self, job_id: object) -> str:
        """Ours: the jobs that a job waits for, or waited for (zset, id by number and outcome)."""
        return f"{self.prefix}:job:{job_id}:children"

    def state(self, state: str) -> str:
        return f"{self.prefix}:jobs:{state}"

    def type_state(self, job_type: str, state: str) -> str:
        return f"{self.prefix}:jobs:{job_type}:{state}"

    def in_state(self, state: str, job_type: str | None = None) -> str:
        """The jobs of a state, of one type or of all."""
        return self.state(state) if job_type is None else self.type_state(job_type, state)

    def tokens(self, job_type: str) -> str:
        return f"{self.prefix}:{job_type}:jobs"

    def history(self, name: str) -> str:
        """Ours: statistics per minute ("minutes") or half hour ("halves"), for the charts (hash, JSON)."""
        return f"{self.prefix}:history:{name}"

    def bulk(self, bulk_id: str) -> str:
        """Ours: progress of a bulk action, for the page (string, JSON, 1 h); with ``:stop``, a request to stop it."""
        return f"{self.prefix}:bulk:{bulk_id}"

    def commands(self, worker: str) -> str:
        """Ours: slots requested for a worker process, by type; it applies them within seconds (hash, 60 s)."""
        return f"{self.prefix}:orders:{worker}"

    def wake(self, engine: str) -> str:
        """Ours: wakes up one worker process that blocks on wake-up tokens (list, at most one element, WAKE_S)."""
        return f"{self.prefix}:wake:{engine}"

    def limit(self, part: str, job_type: str) -> str:
        """Ours: the state of a limited type; ``include/limits/aside.lua`` lists the parts."""
        return f"{self.prefix}:limit:{part}:{job_type}"

    def limit_line(self, job_type: str, key: str) -> str:
        """Ours: the jobs set aside for one key of a limited type (zset, zid by priority)."""
        return self.limit("jobs", f"{len(job_type.encode())}:{job_type}:{key}")

    def slots(self, name: str) -> str:
        """Ours: attempts that hold slots of that name (set, "id token", 7 days); ended ones do not count."""
        return f"{self.prefix}:slots:{name}"

    def secret(self, name: str) -> str:
        """Ours: a random secret that the processes of a queue share (string, hex)."""
        return f"{self.prefix}:secret:{name}"

    def schedule(self, name: str) -> str:
        """Ours: a schedule's definition and last runs (hash)."""
        return f"{self.prefix}:schedule:{name}"

    def webhook(self, name: str) -> str:
        """Ours: a webhook's definition, secret and delivery statistics (hash)."""
        return f"{self.prefix}:webhook:{name}"

    def deliveries(self, name: str) -> str:
        """Ours: a webhook's last delivery attempts, newest first (list, JSON)."""
        return f"{self.prefix}:webhook:{name}:deliveries"

    def lane(self, lane: str) -> str:
        """Ours: a producer's last create call, so that repeating it creates nothing twice (string, 10 min)."""
        return f"{self.prefix}:lane:{lane}"


def zid(job_id: object) -> str:
    """Return the sorted-set member of a job: ``02|12`` for 12, so that equal scores are sorted by id."""
    text = str(job_id)
    return f"{len(text):02d}|{text}"


def id_of(member: str) -> int | str:
    """Return the id in a sorted-set member; a string only for a textual id of another program."""
    text = member.partition("|")[2]
    return int(text) if text.isdecimal() and len(text) <= ID_DIGITS_MAX else text


def check_id(job_id: int | str) -> None:
    """Raise InvalidJob unless the value can be a job's id."""
    if isinstance(job_id, str) and len(job_id) <= ID_CHARS_MAX:
        check_text("a job's id", job_id)  # another program's: Node's API accepts any text
        return
    if isinstance(job_id, bool) or not isinstance(job_id, int) or not 0 < job_id <= ID_MAX:
        raise InvalidJob(f"a job's id must be a whole number from 1 to 2^53-1, not {repr(job_id)[:80]}")
