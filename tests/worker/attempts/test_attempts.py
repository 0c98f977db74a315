"""Which attempts a worker process holds, and which leases it renews."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from kue.storage.script_values import ReservedJob
from kue.worker.attempts.attempts import Attempts
from kue.worker.attempts.handler import read_handler
from kue.worker.attempts.slots import Slot, TypeSlots


def make_job(job_id: int | str, fields: dict[str, str]) -> Any:
    return SimpleNamespace(id=job_id, _interrupt=None, _token="")


@pytest.fixture
def types() -> dict[str, TypeSlots]:
    known = TypeSlots("work")
    known.add(range(1, 3), read_handler(lambda job: None))
    return {"work": known}


@pytest.fixture
def attempts(types: dict[str, TypeSlots]) -> Attempts:
    context: Any = lambda job_type: None  # noqa: E731
    executor: Any = lambda kind: SimpleNamespace(interrupt=lambda execution, exc: None)  # noqa: E731
    return Attempts(
        types, threading.Condition(), "kue:h:1", "ab", make_job=make_job, context=context, executor=executor
    )


def begin(attempts: Attempts, types: dict[str, TypeSlots], token: str) -> Any:
    slots: dict[int, tuple[str, Slot]] = {slot.number: ("work", slot) for slot in types["work"].take(1)}
    number = next(iter(slots))
    return attempts.begin(ReservedJob("7", token, number, {"type": "work"}), slots, 1, is_stopped=False)


def test_a_lease_is_renewed_until_the_acknowledgement_is_answered(
    attempts: Attempts, types: dict[str, TypeSlots]
) -> None:
    # Given an attempt that runs
    execution = begin(attempts, types, "ab1")
    assert attempts.leases() == {"7": "ab1"} and attempts.is_busy("work") and not attempts.is_busy("other")
    # When it ends, and the call that tells of it is under way
    attempts.release()
    assert execution.job._interrupt is not None and attempts.running == {} and len(types["work"].free) == 2
    assert attempts.leases() == {"7": "ab1"}
    sent = attempts.send(10)
    assert attempts.leases() == {"7": "ab1"} and attempts.unacknowledged == 0 and attempts.is_busy(None)
    # Then the lease is kept until the reply
    attempts.acknowledged(sent, [1])
    assert attempts.leases() == {} and not attempts.is_busy(None)


def test_a_reply_that_comes_late_leaves_the_lease_of_the_next_attempt_alone(
    attempts: Attempts, types: dict[str, TypeSlots]
) -> None:
    # Given that the next attempt has begun before the acknowledgement of the one before is answered
    begin(attempts, types, "ab1")
    attempts.release()
    sent = attempts.send(1)
    begin(attempts, types, "ab2")
    assert attempts.leases() == {"7": "ab2"}
    # When it is answered, or could not be sent, Then the next one's lease is still renewed
    attempts.not_sent(sent)
    assert attempts.leases() == {"7": "ab2"}
    attempts.acknowledged(attempts.send(1), [])
    assert attempts.leases() == {"7": "ab2"}


def test_an_attempt_whose_job_comes_once_more_has_lost_it(attempts: Attempts, types: dict[str, TypeSlots]) -> None:
    # Given an attempt whose lease lapsed without a word
    first = begin(attempts, types, "ab1")
    # When its job is reserved once more by this process
    second = begin(attempts, types, "ab2")
    # Then the first is stopped, and its slot free
    assert attempts.running == {"7": second} and len(types["work"].free) == 1
    assert first.job._interrupt is not None and second.job._interrupt is None
    attempts.stop_lost()
    assert attempts.running == {"7": second} and attempts.leases() == {"7": "ab2"}


def test_an_attempt_that_was_revoked_before_it_began_does_not_begin(
    attempts: Attempts, types: dict[str, TypeSlots]
) -> None:
    attempts.revoke("7", "ab1", "cancelled")
    attempts.revoke("7", "another process's", "cancelled")
    assert begin(attempts, types, "ab1") is None
    assert attempts.running == {} and len(types["work"].free) == 2 and attempts.leases() == {}
    assert begin(attempts, types, "ab2") is not None
