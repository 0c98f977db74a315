"""Limits: what each script answers, and what stands in Redis afterwards, at a clock that the test sets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kue.errors import InvalidJob
from kue.management.limits import parse_rate
from kue.states import ASIDE_UNTIL_MS
from kue.storage.codec import to_json
from kue.storage.script_values import ClockWatch, FetchResult, Reservation
from tests.support.script_steps import NOW, WORKER, Steps


class Limited(Steps):
    """The steps of a queue with limits."""

    def limit(self, kind: str = "t", part: str = "all", weights: list[str] | None = None, **limit: Any) -> bool:
        text = to_json(limit) if limit else ""
        return self.scripts.set_limit(self.client, kind, part, text, weights or [])

    def by_key(self, kind: str = "t", weights: list[str] | None = None, **limit: Any) -> bool:
        return self.limit(kind, "key", weights, by="data.k", path=["k"], **limit)

    def made(self, *keys: Any, kind: str = "t", priority: int = 0, now: int = NOW) -> list[str]:
        rows = [(kind, to_json({"k": key}), str(priority), "3", "", "", "", "") for key in keys]
        first = self.scripts.create(self.client, rows, now_ms=now)
        return [str(first + at) for at in range(len(keys))]

    def take(self, slots: int = 1, *, kind: str = "t", now: int = NOW, nonce: str = "n") -> FetchResult:
        reservation = Reservation({kind: range(slots)}, 1000, nonce, WORKER)
        return self.scripts.reserve(self.client, reservation, now_ms=now)

    def taken(self, slots: int = 1, **options: Any) -> list[str]:
        return [job.job_id for job in self.take(slots, **options).jobs]

    def tend(self, now: int = NOW) -> None:
        self.client.hdel("q:clock", "tended", "swept")
        self.scripts.promote(self.client, now_ms=now)


@pytest.fixture
def limited(redis_client: Any) -> Limited:
    return Limited(redis_client)


# A type as a whole


def test_a_rate_lets_a_burst_start_and_then_one_in_each_interval(limited: Limited) -> None:
    limited.limit(count=10, period=1000, burst=3)
    limited.create(8)
    first = limited.take(8)
    assert len(first.jobs) == 3 and first.more == [] and first.later == {"t": 100}
    assert limited.take(8, now=NOW + 99).later == {"t": 1}
    assert len(limited.take(8, now=NOW + 100).jobs) == 1
    assert len(limited.take(8, now=NOW + 10_000).jobs) == 3


def test_a_concurrency_counts_what_runs_in_all_workers(limited: Limited) -> None:
    limited.limit(concurrency=2)
    limited.create(3)
    first = limited.take(3)
    assert len(first.jobs) == 2 and first.more == [] and first.later == {}
    assert limited.client.llen(limited.keys.tokens("t")) == 0  # nobody is woken in vain
    job = first.jobs[0]
    assert limited.acknowledge("complete", job.job_id, job.token, "null", "0") == 1
    assert len(limited.take(3, nonce="m").jobs) == 1


def test_the_clock_of_the_server_counts_and_may_be_set_back(limited: Limited) -> None:
    limited.limit(count=1, period=1000, burst=1)
    limited.create(3)
    assert len(limited.take().jobs) == 1
    back = NOW - 3_600_000
    assert limited.take(now=back).later == {"t": 1000}  # not an hour
    assert limited.taken(now=back + 1000, nonce="m") == ["2"]


def test_a_hold_does_not_grow_with_a_clock_that_was_set_back(limited: Limited) -> None:
    limited.create(2)
    job = limited.take(1).jobs[0]
    limited.acknowledge("limit", "1", job.token, "429", "700")
    back = NOW - 3_600_000
    assert limited.take(nonce="m", now=back).later == {"t": 700}
    assert limited.taken(nonce="o", now=back + 700) == ["2"]


def test_jobs_that_only_seem_to_run_hold_no_slot(limited: Limited) -> None:
    limited.limit(concurrency=1)
    limited.create(2)
    assert limited.taken() == ["1"]
    assert limited.taken(nonce="m") == []
    limited.client.zrem(limited.keys.leases, "1")  # somebody deleted its lease
    assert limited.taken(nonce="o") == ["2"]


def test_a_limit_can_be_changed_and_removed(limited: Limited) -> None:
    assert limited.limit() is False
    limited.limit(concurrency=1)
    limited.create(4)
    assert len(limited.take(4).jobs) == 1
    limited.limit(concurrency=2)
    assert len(limited.take(4, nonce="m").jobs) == 1
    assert limited.limit() is True
    assert limited.client.exists(limited.keys.limits) == 0
    assert len(limited.take(4, nonce="o").jobs) == 2


# By key


def test_jobs_of_a_type_with_a_limit_by_key_wait_for_their_turn_as_delayed(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    one, two = limited.made("a", "a")
    for job_id in (one, two):
        assert limited.state(job_id) == "delayed"
        assert limited.field(job_id, "promote_at") == str(ASIDE_UNTIL_MS)
        assert limited.field(job_id, "limit_key") == "a"
    assert limited.scripts.promote(limited.client, now_ms=NOW) [0] == 0
    assert limited.client.llen(limited.keys.tokens("t")) == 1  # as many as may start


def test_a_key_at_its_limit_lets_others_pass(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a", "a", "b")
    assert limited.taken(4) == ["1", "4"]
    assert limited.state("1") == "active" and limited.state("2") == "delayed"
    assert limited.field("1", "promote_at") == str(NOW)
    assert limited.taken(4, nonce="m") == []


def test_a_new_job_of_a_key_that_is_full_waits(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a")
    assert limited.taken(3) == ["1"]
    limited.made("a")
    assert limited.taken(3, nonce="m") == []


@pytest.mark.parametrize("how", ["complete", "fail", "release", "cancel", "suspend", "remove", "move", "rescue"])
def test_whatever_ends_an_attempt_returns_the_slot_to_its_key(limited: Limited, how: str) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a")
    job = limited.take(2).jobs[0]
    limited.client.delete(limited.keys.tokens("t"))
    values = {"complete": ("null", "0"), "fail": ("e", "e", "e", "never", "", ""), "release": ("r", "5000")}
    if how in values:
        assert limited.acknowledge(how, job.job_id, job.token, *values[how]) == 1
    elif how == "move":
        limited.scripts.move(limited.client, job.job_id, "complete", now_ms=NOW)
    elif how == "rescue":
        assert limited.scripts.rescue(limited.client, now_ms=NOW + 2000) == [job.job_id]
    else:
        getattr(limited.scripts, how)(limited.client, job.job_id, now_ms=NOW)
    assert limited.client.llen(limited.keys.tokens("t")) > 0  # a worker that blocks is woken
    assert limited.taken(2, nonce="m", now=NOW + 2000) == ["1" if how == "rescue" else "2"]


def test_keys_take_turns_and_priorities_count_within_a_key(limited: Limited) -> None:
    limited.by_key(concurrency=100)
    limited.made(*"aaaa")
    assert limited.taken(1) == ["1"]
    limited.made("b", "b")
    limited.made("b", priority=-10)
    assert limited.taken(1, nonce="2") == ["2"]  # at most one turn of the other key
    assert limited.taken(4, nonce="3") == ["7", "3", "5", "4"]
    assert limited.taken(4, nonce="4") == ["6"]


def test_a_key_of_weight_2_has_two_turns_to_one(limited: Limited) -> None:
    limited.by_key(concurrency=100, weights=["a", "2"])
    limited.made(*"aaaaaa", *"bbbbbb")
    keys = [json.loads(job.fields["data"])["k"] for job in limited.take(6).jobs]
    assert keys.count("a") == 4 and keys.count("b") == 2


def test_the_bucket_of_each_key_is_its_own(limited: Limited) -> None:
    limited.by_key(count=2, period=1000, burst=1)
    limited.made("a", "a", "b", "b")
    first = limited.take(4)
    assert [job.job_id for job in first.jobs] == ["1", "3"] and first.later == {"t": 500}
    assert limited.taken(4, nonce="m", now=NOW + 499) == []
    assert limited.taken(4, nonce="o", now=NOW + 500) == ["2", "4"]


def test_both_limits_of_a_type_hold_together(limited: Limited) -> None:
    limited.limit(concurrency=2)
    limited.by_key(concurrency=1)
    limited.made("a", "b", "c", "a")
    first = limited.take(4).jobs
    assert [job.job_id for job in first] == ["1", "2"]
    limited.acknowledge("complete", "1", first[0].token, "null", "0")
    assert limited.taken(4, nonce="m") == ["3"]


@pytest.mark.parametrize(
    ("data", "key"),
    [({"k": 7}, "7"), ({"k": 1.5}, "1.5"), ({"k": True}, "true"), ({}, ""), ([1], ""), ({"k": {"x": 1}}, ""),
     ({"k": "é" * 200}, "d3f3bea2")],
)  # fmt: skip
def test_the_key_is_text_from_the_data(limited: Limited, data: Any, key: str) -> None:
    limited.by_key(concurrency=1)
    limited.scripts.create(limited.client, [("t", to_json(data), "0", "", "", "", "", "")], now_ms=NOW)
    found = limited.field("1", "limit_key") or ""
    assert found == key if len(key) < 8 else len(found) == 40


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://User:x@Example.com:8080/a?b=c", "example.com"), ("http://[::1]:80/", "[::1]"), ("nonsense", ""),
     ("https://a.b?x=http://c/", "a.b")],
)  # fmt: skip
def test_the_key_may_be_the_host_of_a_url(limited: Limited, url: str, host: str) -> None:
    limited.limit("t", "key", by="data.k|host", path=["k"], of_url=True, concurrency=1)
    limited.made(url)
    assert limited.field("1", "limit_key") == host


def test_waiting_jobs_of_whatever_origin_wait_for_their_turn_when_they_are_met(limited: Limited) -> None:
    limited.made("a", "a", "b")
    limited.by_key(concurrency=1)
    subscription = limited.listen()
    assert limited.taken(3) == ["1", "3"]
    assert limited.heard(subscription) == ["postpone", "postpone", "postpone", "start", "start"]
    assert limited.state("2") == "delayed"
    limited.scripts.move(limited.client, "2", "inactive", ("delayed",), now_ms=NOW)  # promoted by hand
    assert limited.state("2") == "inactive" and limited.field("2", "promote_at") == str(NOW)
    assert limited.taken(3, nonce="m") == []
    assert limited.state("2") == "delayed"


@pytest.mark.parametrize("what", ["remove", "cancel", "suspend", "hand"])
def test_a_job_removed_while_it_waited_for_its_turn_is_skipped(limited: Limited, what: str) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a", "a")
    if what == "hand":
        limited.client.delete(limited.keys.job(1))
    else:
        getattr(limited.scripts, what)(limited.client, "1", now_ms=NOW)
        assert limited.client.zcard(limited.keys.limit("aside", "t")) == 2
    assert limited.taken(3) == ["2"]


def test_priority_and_data_may_change_while_a_job_waits_for_its_turn(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a", "a")
    limited.scripts.set_priority(limited.client, "3", "-5", now_ms=NOW)
    limited.scripts.update(limited.client, "2", {"data": '{"k":"b"}'}, now_ms=NOW)
    assert limited.taken(3) == ["3", "2"]
    assert limited.field("2", "limit_key") == "b"


def test_jobs_go_back_into_line_when_their_limit_is_lifted_or_goes_by_another_key(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a", "a")
    assert limited.taken(3) == ["1"]
    limited.limit("t", "key", by="data.x", path=["x"], concurrency=2)
    limited.tend()
    assert limited.state("2") == "inactive"
    assert limited.taken(3, nonce="m") == ["2", "3"]
    assert limited.field("2", "limit_key") == ""
    limited.made("a", "a")
    assert limited.limit("t", "key") is True
    assert limited.client.exists(limited.keys.limits) == 0
    limited.tend()
    assert limited.taken(3, nonce="o") == ["4", "5"]
    assert limited.client.keys("q:limit:*leaving*") == []


def test_slots_of_jobs_that_ended_without_a_word_come_back(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "a")
    assert limited.taken(2) == ["1"]
    limited.client.delete(limited.keys.job(1))  # as Node's remove, which knows of no slots
    assert limited.taken(2, nonce="m") == []
    limited.tend()
    assert limited.client.llen(limited.keys.tokens("t")) == 1
    assert limited.taken(2, nonce="o") == ["2"]


def test_limits_are_tended_by_one_process_at_a_time(limited: Limited) -> None:
    limited.by_key(count=1, period=40, burst=1)
    limited.made("a", "a")
    limited.tend()
    assert limited.taken(2) == ["1"]
    limited.scripts.promote(limited.client, now_ms=NOW + 49)
    assert limited.client.llen(limited.keys.tokens("t")) == 0
    limited.scripts.promote(limited.client, now_ms=NOW + 50)
    assert limited.client.llen(limited.keys.tokens("t")) == 1


def test_lines_that_somebody_deleted_are_made_again(limited: Limited) -> None:
    limited.by_key(concurrency=1)
    limited.made("a", "b")
    limited.client.delete(limited.keys.limit("turns", "t"), limited.keys.limit_line("t", "a"))
    assert limited.taken(2) == []
    limited.tend()
    assert limited.taken(2, nonce="m") == ["1", "2"]


def test_keys_do_not_wait_for_a_clock_that_was_set_back(limited: Limited) -> None:
    limited.by_key(count=1, period=1000, burst=1)
    limited.made("a", "a")
    watch = limited.scripts.watch_clock
    watch(limited.client, ClockWatch(3000, 12000, 0), now_ms=NOW)
    assert limited.taken(2) == ["1"]
    back = NOW - 3_600_000
    watch(limited.client, ClockWatch(3000, 12000, 0), now_ms=back)
    assert limited.take(2, nonce="m", now=back).later == {"t": 1000}
    assert limited.taken(2, nonce="o", now=back + 1000) == ["2"]


# A handler that is rate limited


def test_a_rate_limited_handler_holds_back_its_key(limited: Limited) -> None:
    limited.by_key(concurrency=5)
    limited.made("a", "a", "b")
    job = limited.take(1).jobs[0]
    assert limited.acknowledge("limit", "1", job.token, "429", "700") == 1
    assert limited.acknowledge("limit", "1", job.token, "429", "700") == 0
    assert limited.state("1") == "delayed" and limited.field("1", "attempts") is None
    assert limited.taken(3, nonce="m") == ["3"]
    later = limited.take(3, nonce="o", now=NOW + 600)
    assert later.jobs == [] and later.later == {"t": 100}
    limited.tend(NOW + 700)
    assert limited.taken(3, nonce="p", now=NOW + 700) == ["1", "2"]


def test_a_rate_limited_handler_holds_back_its_type_if_that_is_not_limited_by_key(limited: Limited) -> None:
    limited.create(3)
    job = limited.take(1).jobs[0]
    assert limited.acknowledge("limit", "1", job.token, "429", "700") == 1
    assert limited.take(3, nonce="m").later == {"t": 700}
    limited.tend(NOW + 700)
    assert limited.client.exists(limited.keys.limits) == 0
    assert limited.taken(3, nonce="o", now=NOW + 700) == ["1", "2", "3"]


@pytest.mark.parametrize(("id_", "token", "code"), [("9", "x", -1), ("1", "x", -2)])
def test_what_is_not_held_holds_nothing_back(limited: Limited, id_: str, token: str, code: int) -> None:
    limited.create(2)
    limited.take(1)
    assert limited.acknowledge("limit", id_, token, "429", "700") == code
    assert limited.taken(1, nonce="m") == ["2"]


# Slots that all processes share


def test_a_slot_is_taken_once_and_given_back_or_void(limited: Limited) -> None:
    def take(job: Any, slots: int = 1) -> int:
        return limited.scripts.take_slot(limited.client, "x", job.job_id, job.token, slots)

    limited.create(3)
    one, two, three = limited.take(3).jobs
    assert take(one) == 0 and take(one) == 0
    assert take(two) == 1 and take(two, 2) == 0 and take(three, 2) == 2
    limited.scripts.return_slot(limited.client, "x", one.job_id, one.token)
    assert take(three, 2) == 0
    limited.scripts.move(limited.client, two.job_id, "inactive", now_ms=NOW)  # its holder has lost it
    assert take(one, 2) == 0 and take(two, 2) == 2


# What may be asked for


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("100/min", (100, 60_000)), ("2/s", (2, 1000)), ("5/10s", (5, 10_000)), ("1/h", (1, 3_600_000)),
     ("9 / 2 day", (9, 172_800_000))],
)  # fmt: skip
def test_a_rate_is_a_number_and_a_time(rate: str, expected: tuple[int, int]) -> None:
    assert parse_rate(rate) == expected


@pytest.mark.parametrize(
    "options",
    [{}, {"rate": "x"}, {"rate": "0/s"}, {"rate": "1/fortnight"}, {"rate": 5}, {"burst": 5}, {"concurrency": 0},
     {"concurrency": True}, {"rate": "1/s", "burst": 1.5}, {"rate": "1/s", "by": "host"},
     {"rate": "1/s", "weight": {"a": 1}},
     {"rate": "1/s", "by": "data.a", "weight": {"a": 0}}, {"rate": "1/s", "by": "data.a", "weight": 3}],
)  # fmt: skip
def test_a_meaningless_limit_is_rejected(queue: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        queue.limit("t", **options)
    assert queue.limits() == []
