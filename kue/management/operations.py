"""Changing what is in a queue by hand: remove, move, cancel, pause, retain. The other half is reading, in browse.py."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..connection.connector import Connector, patiently
from ..errors import InvalidJob
from ..job import Job
from ..states import COMPLETE, DELAYED, FAILED, INACTIVE, check_state
from ..storage.codec import check_priority, number_text
from ..storage.scripts import RESUMED, Scripts
from .queries import Browsing, check_id
from .retention import ENDED, Retention, Rule, clean, rule


class Operating(Browsing):
    """What an operator does with a Queue."""

    _scripts: Scripts
    _retention: Retention
    _search: bool
    _connector: Connector

    def shared_secret(self, name: str) -> bytes:
        """Return 32 random bytes that all processes of this queue share under a name; made when first asked for."""
        key = self.keys.secret(name)

        def call(client: Any) -> Any:
            client.set(key, secrets.token_hex(32), nx=True)
            return client.get(key)

        text = self._ask(call)
        return hashlib.sha256(str(text).encode()).digest()

    def check_health(self) -> None:
        """Write one small key. Raises QueueUnavailable at once if Redis cannot be reached, or refuses writes."""
        patiently(lambda: self._connector.shared().set(self.keys.health, "1", ex=10), 0)

    def remove(self, job_id: int | str) -> None:
        """Remove a job and all that belongs to it. Raises JobNotFound."""
        check_id(job_id)
        self._ask(lambda client: self._scripts.remove(client, job_id))

    def set_state(self, job_id: int | str, state: str) -> str:
        """Put a job into a state by hand, whatever it was in; return that. A worker that holds it loses it.

        Raises JobNotFound, InvalidJob for a word that is no state. Node Kue: PUT /job/:id/state/:state.
        """
        check_id(job_id)
        return str(self._ask(lambda client: self._scripts.move(client, job_id, check_state(state))))

    def retry(self, job_id: int | str) -> None:
        """Let a failed job wait again. Raises JobNotFound, or WrongState if it has not failed."""
        check_id(job_id)
        self._ask(lambda client: self._scripts.move(client, job_id, INACTIVE, (FAILED,)))

    def promote(self, job_id: int | str) -> None:
        """Let a delayed job run now. Raises JobNotFound, or WrongState if it is not delayed."""
        check_id(job_id)
        self._ask(lambda client: self._scripts.move(client, job_id, INACTIVE, (DELAYED,)))

    def cancel(self, job_id: int | str, *, discard: bool = False) -> str:
        """Fail a job that has not ended, with the error "Cancelled"; return the state it was in.

        One that runs is stopped: its handler gets JobCancelled, with ``discard`` as its text "discarded", which asks
        it to keep nothing. Raises JobNotFound, or WrongState if the job has ended.
        """
        check_id(job_id)
        reason = "discarded" if discard else "cancelled"
        return str(self._ask(lambda client: self._scripts.cancel(client, job_id, reason)))

    def pause_job(self, job_id: int | str) -> str:
        """Let a job wait, as delayed, until ``resume_job``; return the state it was in. Its attempt is not counted.

        One that runs, in whatever process, is stopped: its handler gets JobCancelled with the text "paused". Raises
        JobNotFound, or WrongState if the job has ended.
        """
        check_id(job_id)
        return str(self._ask(lambda client: self._scripts.hold(client, job_id)))

    def resume_job(self, job_id: int | str) -> None:
        """Let a paused job go on as soon as a worker is free. Raises JobNotFound, or WrongState if it does not wait."""
        self.promote(job_id)

    def set_priority(self, job_id: int | str, priority: str | float) -> Job:
        """Change a job's priority and return the job. Raises JobNotFound, InvalidJob."""
        check_id(job_id)
        text = number_text(check_priority(priority))
        found_by = self.get(job_id)._found_by() if self._search else ""
        self._ask(lambda client: self._scripts.set_priority(client, job_id, text, found_by))
        return self.get(job_id)

    def pause(self, job_type: str) -> None:
        """Let no worker of this library, in whatever process, take jobs of a type, until ``resume``; kept in Redis."""
        self._ask(lambda client: client.sadd(self.keys.paused, job_type))

    def resume(self, job_type: str) -> None:
        """End ``pause``. Workers are told; one that does not hear it notices within a second."""

        def call(client: Any) -> None:
            client.srem(self.keys.paused, job_type)
            client.publish(self.keys.revoked, RESUMED)

        self._ask(call)

    def retain(
        self,
        complete: int | None = None,
        failed: int | None = None,
        max_age: int | timedelta | None = None,
        failed_max_age: int | timedelta | None = None,
    ) -> None:
        """Keep so many completed and failed jobs (of all types together), and none that ended too long ago.

        Ages are ms, or a timedelta. None is no limit, and ``retain()`` ends it. ``max_age`` holds for failed jobs too
        unless they have their own.
        Those that ended first are removed, with a ``remove`` event each, within a few seconds, by every process that
        called this and works on jobs (``process``); never within a second of a job's end. Raises InvalidJob.
        """
        oldest_failed = max_age if failed_max_age is None else failed_max_age
        self._retention.set({COMPLETE: rule(complete, max_age), FAILED: rule(failed, oldest_failed)})

    def retention(self) -> dict[str, Rule]:
        """Return what ``retain`` was told in this process, by state; a state without a limit is left out."""
        return dict(self._retention.rules)

    def clean(self, state: str, *, keep: int | None = None, max_age: int | timedelta | None = None) -> int:
        """Remove at once the completed or failed jobs beyond ``keep``, or older than ``max_age``; return how many.

        Raises InvalidJob for another state.
        """
        if state not in ENDED:
            raise InvalidJob(f"clean takes {' or '.join(ENDED)}, not {state!r}")
        wanted = rule(keep, max_age)
        return int(self._ask(lambda client: clean(self._scripts, client, state, wanted)))

    def change_settings(self, values: Mapping[str, str | None]) -> None:
        """Write values of the hash ``q:settings``; None takes one away. Node Kue only reads it."""
        written = {name: value for name, value in values.items() if value is not None}
        gone = [name for name, value in values.items() if value is None]

        def change(client: Any) -> None:
            pipe = client.pipeline(transaction=True)
            if written:
                pipe.hset(self.keys.settings, mapping=written)
            if gone:
                pipe.hdel(self.keys.settings, *gone)
            pipe.execute()

        if values:
            self._ask(change)
