"""The numbered stream: frames, the ring, catching up, and Redis being unreachable. With a queue in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from kue.errors import QueueUnavailable
from kue.web.live import relay as relay_module
from kue.web.live.relay import FRAME_ROWS, FRAME_S, Relay, Ring, plain_event
from tests.support import wait_until


def event(job_id: int | None, name: str, *args: Any) -> Any:
    return SimpleNamespace(id=job_id, event=name, args=list(args))


def job(job_id: int, state: str = "active", **fields: Any) -> Any:
    options = SimpleNamespace(priority=0, attempts=1)
    empty = dict.fromkeys(
        ("promote_at", "started_at", "failed_at", "duration", "result", "error", "worker_id", "progress_data")
    )
    return SimpleNamespace(
        id=job_id,
        type="t",
        data={"title": f"job {job_id}"},
        state=state,
        options=options,
        attempts_made=0,
        created_at=1,
        updated_at=2,
        **{**empty, "progress_percent": 0, "children_total": 0, **fields},
    )


class Source:
    """As much of a queue as a relay needs."""

    def __init__(self) -> None:
        self.jobs: dict[int, Any] = {}
        self.away = False
        self.listeners: list[Any] = []
        self.reads = 0

    def subscribe(self, fn: Any, *, required: bool = True) -> Any:
        self.listeners.append(fn)
        return lambda: self.listeners.remove(fn)

    def counts(self) -> dict[str, int]:
        if self.away:
            raise QueueUnavailable("away")
        states = ("inactive", "active", "complete", "failed", "delayed")
        return {state: sum(each.state == state for each in self.jobs.values()) for state in states}

    def get_many(self, ids: list[int]) -> list[Any]:
        if self.away:
            raise QueueUnavailable("away")
        self.reads += 1
        return [self.jobs[i] for i in ids if i in self.jobs]

    def say(self, *said: Any) -> None:
        for fn in list(self.listeners):
            for each in said:
                fn(each)


class Ear:
    """What the clients were told."""

    def __init__(self) -> None:
        self.plain: list[tuple[str, Any]] = []
        self.frames: list[Any] = []
        self.pages = True

    @property
    def changes(self) -> list[Any]:
        """Frames that carry something, without the signs of life."""
        return [frame for frame in self.frames if "rows" in frame or "resync" in frame]


@pytest.fixture
def setup() -> Iterator[tuple[Source, Ear, Relay]]:
    source, ear = Source(), Ear()
    relay = Relay(
        source,  # type: ignore[arg-type]
        emit_plain=lambda events: ear.plain.extend(events),
        emit_pages=lambda frame: ear.frames.append(dict(frame)),
        has_plain=lambda: True,
        has_pages=lambda: ear.pages,
    )
    relay.start()
    thread = threading.Thread(target=relay.run)
    thread.start()
    yield source, ear, relay
    relay.stop()
    thread.join(30)
    assert not thread.is_alive() and not source.listeners


def test_a_frame_carries_each_changed_job_once_as_it_is_now(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, relay = setup
    source.jobs = {1: job(1, progress_percent=40), 2: job(2, "complete")}
    source.say(
        event(1, "start", "t", None),
        event(1, "progress", 10, None),
        event(1, "progress", 40, None),
        event(2, "complete"),
    )
    wait_until(lambda: sum(len(frame["rows"]) for frame in ear.changes) == 2 or len(ear.changes) > 2)
    rows = {row["id"]: row for frame in ear.changes for row in frame["rows"]}
    assert rows[1]["progress"] == 40 and rows[2]["state"] == "complete"
    assert relay.seq == ear.changes[-1]["seq"] <= 2
    assert ear.changes[-1]["counts"]["complete"] == 1


def test_plain_clients_get_every_event_with_its_data(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, _ = setup
    source.say(
        event(7, "enqueue", "t"),
        event(7, "start", "t", None),
        event(7, "progress", 5, {"a": 1}),
        event(7, "failed attempt", "x", 1),
        event(7, "promotion"),
        event(7, "failed", "y", None),
        event(7, "complete", {"r": 1}, None),
        event(7, "remove", "t"),
        event(7, "error", "trace"),
        event(7, "ttl exceeded"),
        event(7, "of tomorrow", 1),
    )
    wait_until(lambda: len(ear.plain) == 8)
    assert ear.plain == [
        ("enqueue", {"id": 7, "type": "t"}),
        ("start", {"id": 7}),
        ("progress", {"id": 7, "progress": 5, "data": {"a": 1}}),
        ("failed attempt", {"id": 7, "error": "x", "attempts": 1}),
        ("promotion", {"id": 7}),
        ("failed", {"id": 7, "error": "y"}),
        ("complete", {"id": 7}),
        ("remove", {"id": 7, "type": "t"}),
    ]


def test_an_event_without_arguments_is_delivered_anyway() -> None:
    assert plain_event(event(1, "progress")) == ("progress", {"id": 1, "progress": None, "data": None})


def test_frames_are_at_least_a_tenth_of_a_second_apart(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, _ = setup
    source.jobs = {1: job(1)}
    begun = time.monotonic()

    def say_and_count() -> bool:
        source.say(event(1, "progress", 1, None))
        return len(ear.changes) > 3

    wait_until(say_and_count)
    assert len(ear.changes) <= (time.monotonic() - begun) / FRAME_S + 2


def test_a_removed_job_is_gone(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, _ = setup
    source.say(event(5, "remove", "t"))
    wait_until(lambda: ear.changes)
    assert ear.changes[0]["gone"] == [5] and ear.changes[0]["rows"] == []


def test_too_many_changes_become_counts_and_resync(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, relay = setup
    before = relay.mark()
    source.jobs = {i: job(i) for i in range(2 * FRAME_ROWS)}
    source.say(*(event(i, "start", "t", None) for i in range(2 * FRAME_ROWS)))
    wait_until(lambda: any(frame.get("resync") for frame in ear.changes))
    assert all(len(frame.get("rows", ())) <= FRAME_ROWS for frame in ear.changes)
    assert relay.catch_up(before["epoch"], before["seq"], lambda: None).get("resync")


def test_a_client_catches_up_with_the_rows_of_now_each_once(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, relay = setup
    ear.pages = False  # nobody watches: frames are numbered all the same, without reading a job
    mark = relay.mark()
    source.jobs = {1: job(1), 2: job(2)}
    for _ in range(3):
        seq = relay.seq
        source.say(event(1, "progress", 1, None), event(2, "start", "t", None))
        wait_until(lambda seq=seq: relay.seq > seq)
    source.jobs[1].state = "complete"
    assert source.reads == 0
    answer = relay.catch_up(mark["epoch"], mark["seq"], lambda: None)
    assert sorted((row["id"], row["state"]) for row in answer["rows"]) == [(1, "complete"), (2, "active")]
    assert answer["seq"] == relay.seq and "resync" not in answer and source.reads == 1


def test_nothing_missed_is_answered_with_nothing(setup: tuple[Source, Ear, Relay]) -> None:
    _, _, relay = setup
    answer = relay.catch_up(relay.epoch, relay.seq, lambda: None)
    assert answer["rows"] == [] and answer["gone"] == [] and "resync" not in answer


@pytest.mark.parametrize(
    "mark", [(None, None), ("other", 0), ("epoch", 99), ("epoch", True), ("epoch", "0"), ("epoch", -3), ({}, [])]
)
def test_a_mark_that_means_nothing_here_is_answered_with_resync(setup: tuple[Source, Ear, Relay], mark: tuple) -> None:
    _, _, relay = setup
    epoch = relay.epoch if mark[0] == "epoch" else mark[0]
    assert relay.catch_up(epoch, mark[1], lambda: None)["resync"] is True


def test_a_lost_connection_makes_everybody_fetch_afresh(setup: tuple[Source, Ear, Relay]) -> None:
    source, ear, relay = setup
    mark = relay.mark()
    source.say(event(None, "resync"))
    wait_until(lambda: ear.changes)
    assert ear.changes[0]["resync"] is True
    assert relay.catch_up(mark["epoch"], mark["seq"], lambda: None).get("resync")
    assert "resync" not in relay.catch_up(relay.epoch, relay.seq, lambda: None)


def test_while_redis_is_away_the_pages_are_told_and_no_change_is_lost(
    setup: tuple[Source, Ear, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RETRY_S", 0.05)
    source, ear, relay = setup
    source.jobs = {1: job(1)}
    source.away = True
    source.say(event(1, "start", "t", None))
    wait_until(lambda: any(frame.get("stale") for frame in ear.frames))
    assert relay.catch_up(relay.epoch, relay.seq, lambda: None)["stale"] == "Redis is not responding"
    source.away = False
    wait_until(lambda: ear.changes)
    assert ear.changes[0]["rows"][0]["id"] == 1 and "stale" not in ear.changes[0]


def test_a_change_that_redis_announces_to_nobody_is_found_in_the_counts(
    setup: tuple[Source, Ear, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "COUNTS_S", 0.05)
    monkeypatch.setattr(relay_module, "SUSPECT_S", 0.05)
    source, ear, relay = setup
    wait_until(lambda: relay.counts)
    source.jobs = {1: job(1, "delayed")}
    wait_until(lambda: ear.changes, timeout=5)
    assert ear.changes[0]["resync"] and ear.changes[0]["counts"]["delayed"] == 1


def test_the_ring_forgets_the_oldest_and_says_so() -> None:
    ring = Ring(max_ids=10)
    for seq in range(1, 21):
        ring.add(seq, (seq,))
    assert ring.since(20, 20) == []
    assert ring.since(15, 20) == [16, 17, 18, 19, 20]
    assert ring.since(10, 20) == list(range(11, 21))
    assert ring.since(9, 20) is None
    ring.add(21, None)
    assert ring.since(20, 21) is None and ring.since(21, 21) == []
    ring.add(22, (1, 1))
    assert ring.since(21, 22) == [1]
