"""The system page, the charts behind it, and search."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

import kue
from kue.client.events import Event
from kue.web.metrics import event_counters as counters_module
from kue.web.metrics.event_counters import EventCounters, Times
from kue.web.pages import search as search_module
from kue.web.present import health_warnings
from kue.web.present.chart import HEIGHT, WIDTH, plots, top_of
from kue.web.present.why_waiting import why_waiting
from tests.support import wait_until


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def test_the_matrix_links_each_count_to_its_list(http: Any, queue: Any) -> None:
    queue.create_many([{"type": "a b/<c>"}, {"type": "mail"}, {"type": "mail"}])
    text = http.get("/system").text
    assert 'href="/inactive?type=a%20b/%3Cc%3E">1</a>' in text and 'href="/inactive?type=mail">2</a>' in text
    assert "2 jobs of type mail are waiting, but no worker processes that type." in text
    assert http.get("/monitor/system").headers["X-Kue-Mark"]


def test_a_type_is_paused_for_everybody_and_resumed(http: Any, queue: Any) -> None:
    queue.create("mail").save()
    assert http.post("/monitor/type/pause", json={"type": "mail"}).status_code == 200
    assert queue.paused() == ["mail"]
    assert "1 job of type mail is waiting: the type is paused." in http.get("/system").text
    assert http.post("/monitor/type/resume", json={"type": "mail"}).status_code == 200
    assert queue.paused() == []


def test_limits_are_shown_and_a_waiting_job_says_which_one_it_waits_for(http: Any, queue: Any) -> None:
    queue.limit("crawl", by="data.host", rate="2/s", concurrency=1)
    queue.limit("mail", rate="100/min", concurrency=5)
    queue.create_many({"type": "crawl", "data": {"host": "a.example"}} for _ in range(3))
    queue.create("mail").save()
    text = http.get("/system").text
    assert re.search(r'<tr role="row" data-type="crawl" data-part="key">.*?data.host.*?2/s.*?</tr>', text, re.DOTALL)
    assert 'id="type_limit_form"' in text and 'data-action="unlimit"' in text
    place = "2nd of key a.example, which may start 2/s and run 1 at once."
    assert why_waiting(queue, queue.get(2)) == f"{place} No worker processes jobs of type crawl."
    queue.pause("crawl")
    assert why_waiting(queue, queue.get(2)) == f"{place} Type crawl is paused."
    figures = http.get("/metrics").text
    assert 'kue_limit_waiting{type="crawl"} 3.0' in figures and 'kue_limit_keys{type="crawl"} 1.0' in figures
    assert 'kue_limit_admitted_total{type="crawl"} 0.0' in figures


def test_concurrency_is_changed_while_running(http: Any, queue: Any) -> None:
    queue.process("mail", 2, lambda job: None)
    asked = {"type": "mail", "count": 7}
    # Right after process() all slots may be out with a reservation; the engine then has none to copy the handler from.
    wait_until(lambda: http.post("/monitor/type/concurrency", json=asked).status_code == 200)
    assert queue.processing() == {"mail": 7}
    worker = wait_until(queue.workers)[0]["worker"]
    assert http.post("/monitor/type/concurrency", json={**asked, "worker": worker, "count": 4}).status_code == 200
    assert queue.processing() == {"mail": 4}
    bad = [
        {**asked, "worker": "kue:nowhere:1"}, {**asked, "worker": worker, "type": "x"}, {**asked, "worker": 5},
        {"type": "mail", "count": 0}, {"type": "mail", "count": "7"}, {"type": "other", "count": 1}, {}, [],
    ]  # fmt: skip
    for body in bad:
        assert http.post("/monitor/type/concurrency", json=body).status_code == 400
    assert http.post("/monitor/type/explode", json={"type": "mail"}).status_code == 404


@pytest.mark.slow
def test_another_process_is_told_how_many_to_run_at_once(http: Any, redis_url: str) -> None:
    # Given a queue that works, beside the one that the page is of
    other = kue.create_queue(redis_url, lease_ms=1_500)
    try:
        other.process("video", 1, lambda job: None)
        wait_until(other.workers)
        told = {"type": "video", "count": 6, "worker": other.workers()[0]["worker"]}
        # When the page sets its slots, it has them within some seconds, and the page shows them
        assert http.post("/monitor/type/concurrency", json=told).status_code == 200
        wait_until(lambda: other.concurrency("video") == 6, timeout=8)
        wait_until(lambda: other.workers()[0]["types"]["video"]["slots"] == 6)
        assert 'value="6"' in http.get("/system").text
        # A command that cannot be carried out does no harm to the ones after it
        other.session.call(lambda client: client.hset(other.keys.commands(told["worker"]), "nothing", 3))
        other.set_slots(told["worker"], "video", 2)
        wait_until(lambda: other.concurrency("video") == 2, timeout=8)
    finally:
        other.shutdown(2)


def test_the_tally_counts_what_ended_and_writes_the_minute(queue: Any) -> None:
    counters = EventCounters(queue)
    queue.subscribe(counters.receive)
    queue.process("mail", 2, lambda job: None)
    queue.process("bad", 1, lambda job: 1 / 0)
    queue.create_many([*[{"type": "mail"}] * 5, {"type": "bad", "attempts": 2}, {"type": "idle"}])
    wait_until(lambda: len(counters._fresh) == 7)
    minute = counters._minute
    counters.sample(minute * 60 + 30)
    assert counters.ended == {("mail", "complete"): 5, ("bad", "failed attempt"): 1, ("bad", "failed"): 1}
    assert sum(counters.run_s["mail"].counts) == sum(counters.wait_s["mail"].counts) == 5
    assert "bad" not in counters.run_s
    kept = queue.history.read("minutes")[-1]
    assert (kept["at"], kept["complete"], kept["failed"], kept["waiting"]) == (minute * 60_000, 5, 2, 1)
    assert kept["run_mid"] <= kept["run_slow"] and kept["wait_mid"] <= kept["wait_slow"]
    # When the minute is over, its half hour is put together, and the next minute begins with nothing.
    counters.sample((minute + 1) * 60)
    half = queue.history.read("halves")[-1]
    assert (half["at"], half["complete"], half["failed"]) == (minute // 30 * 1_800_000, 5, 2)
    assert [each["complete"] for each in queue.history.read("minutes")] == [5, 0]


def test_history_outlives_the_process_and_is_the_same_in_all(
    queue: Any, make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters_module, "RECORD_S", 0.0)
    sites = [make_site(), make_site()]
    job = queue.create("mail").save()
    queue.process("mail", 1, lambda job: None)
    job.wait(5)

    def noted() -> int:
        return sum(each["complete"] for each in queue.history.read("minutes"))

    for site in sites:
        wait_until(lambda site=site: site.monitor.relay.received["complete"] == 1)
    wait_until(lambda: [site.monitor.counters.sample() for site in sites] and noted() == 1)
    text = make_site().http().get("/system").text
    assert ": 1 completed, 0 failed</title>" in text


def test_a_busy_second_is_sampled_and_scaled(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters_module, "SAMPLE", 10)
    counters = EventCounters(queue)
    jobs = queue.create_many([{"type": "t"}] * 10)
    for job in jobs:
        queue.set_state(job.id, "complete")
    for number in range(30):
        counters.receive(Event(jobs[number % 10].id, "complete", []))
    counters._measure()
    assert counters.ended == {("t", "complete"): 30}


def test_more_types_than_can_be_told_apart_are_counted_together(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters_module, "MAX_TYPES", 2)
    counters = EventCounters(queue)
    for job in queue.create_many([{"type": f"t{number}"} for number in range(4)]):
        counters.receive(Event(job.id, "failed", []))
    counters.receive(Event(999, "failed", []))
    counters._measure()
    ended = {name: count for (name, _), count in counters.ended.items()}
    assert ended == {"t0": 1, "t1": 1, "(others)": 2, "(removed)": 1}


def test_of_many_times_a_fair_choice_is_kept() -> None:
    times = Times()
    assert times.at(0.5) is None
    for ms in range(10_000):
        times.add(ms)
    assert 4_000 < (times.at(0.5) or 0) < 6_000 < 9_000 < (times.at(0.95) or 0) < 10_000


def test_plots_stay_in_their_frame_and_lines_break_where_nothing_is_known() -> None:
    now = 1_700_000_000_000
    spans: Any = [
        {"at": (now // 60_000 - n) * 60_000, "complete": n, "failed": 60 - n, "waiting": n * n, "run_mid": 10**n % 7**n}
        for n in range(70) if n not in (5, 6)
    ]  # fmt: skip
    drawn = plots(spans, 60, 60_000, now)
    assert len(drawn["finished"]) == len(drawn["slots"]) == 58 and drawn["finished_marks"][0]["text"] == "100"
    for bar in drawn["finished"]:
        assert 0 <= bar["x"] <= WIDTH - bar["width"] and 0 <= bar["failed_y"] <= bar["complete_y"] <= HEIGHT
    assert len(drawn["waiting"]["pieces"]) == 2
    for line in (drawn["waiting"], *drawn["times"]):
        for piece in line["pieces"]:
            for point in piece.split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    empty = plots([], 60, 60_000, now)
    assert empty["finished"] == [] and empty["waiting"]["pieces"] == []
    assert [top_of(n) for n in (0, 1, 2, 3, 5, 6, 11, 99, 101, 2_001)] == [1, 1, 2, 5, 5, 10, 20, 100, 200, 5_000]


def test_search_looks_at_id_type_title_data_and_error_in_every_state(http: Any, queue: Any) -> None:
    queue.create("mail", {"title": "Thư mời họp", "to": "anna@example.com"}).save()
    queue.create("Video", {"deep": [{"url": "http://example.com/Clip.mp4"}]}).save()
    queue.set_state(2, "failed")

    def ids(words: str) -> list[int]:
        return [row["id"] for row in http.get("/monitor/search", query_string={"q": words}).json["rows"]]

    assert ids("2") == [2] and ids("#1") == [1] and ids("thư HỌP") == [1] and ids("clip.mp4") == [2]
    assert ids("video") == [2] and ids("example.com") == [2, 1] and ids("anna clip") == [] and ids("  ") == []
    page = http.get("/search", query_string={"q": "<script>thư"}).text
    assert "No matching jobs." in page and "<script>thư" not in page


def test_search_says_how_far_it_looked(http: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.create_many([{"type": "t", "data": {"n": f"n{n}."}} for n in range(45)])
    monkeypatch.setattr(search_module, "CHUNK", 10)
    answer = http.get("/monitor/search?q=n3.").json
    assert [row["id"] for row in answer["rows"]] == [4] and (answer["looked"], answer["total"]) == (45, 45)
    monkeypatch.setattr(search_module, "MAX_FOUND", 20)
    answer = http.get("/monitor/search?q=n1").json
    assert (len(answer["rows"]), answer["looked"]) == (11, 45)  # n1 and n10 to n19
    answer = http.get("/monitor/search?q=n").json
    assert [row["id"] for row in answer["rows"]] == list(range(45, 25, -1)) and answer["looked"] == 20
    assert 'href="/search?q=n&amp;from=20">Continue searching' in http.get("/search?q=n").text
    answer = http.get("/monitor/search?q=n&from=20").json
    assert [row["id"] for row in answer["rows"]] == list(range(25, 5, -1)) and answer["looked"] == 40
    monkeypatch.setattr(search_module, "MAX_SCAN_S", 0.0)
    assert http.get("/monitor/search?q=n3.").json["looked"] == 0
    assert "Searched 0 of 45 jobs, found 0." in http.get("/search?q=n3.").text


def test_workers_are_shown_with_what_they_do(http: Any, queue: Any, redis_client: Any) -> None:
    queue.process("mail", 3, lambda job: None)
    idle = {"mail": {"slots": 3, "busy": 0, "paused": False}}
    wait_until(lambda: [worker["types"] for worker in queue.workers()] == [idle])
    now = int(time.time() * 1000)
    other = {"host": "other<b>", "pid": 7, "started_at": now - 7_200_000, "seen_at": now - 120_000, "clock_off_ms": 0,
             "types": {"video": {"slots": 2, "busy": 1, "paused": False}}}  # fmt: skip
    redis_client.hset("q:workers", "kue:other:7", json.dumps(other))
    fast = {**other, "host": "fast", "pid": 8, "seen_at": now, "clock_off_ms": 90_000}
    redis_client.hset("q:workers", "kue:fast:8", json.dumps(fast))
    queue.create("video").save()
    text = http.get("/system").text
    assert "this process" in text and "other&lt;b&gt;" in text and "2 h" in text
    assert "Worker 7 on other&lt;b&gt; sent its last heartbeat 2 min ago. Its jobs are being rescued." in text
    assert "Worker 8 on fast: the clock is 1 min 30 s ahead of the clock of Redis." in text
    assert "1 /" in text and "0 / 3" in text
    redis_client.hdel("q:workers", "kue:fast:8")
    assert "1 job of type video is waiting, but no worker processes that type." in http.get("/system").text


def test_the_event_loop_lag_and_the_memory_of_workers_are_shown(http: Any, redis_client: Any) -> None:
    now = int(time.time() * 1000)
    worker = {"host": "h", "pid": 7, "started_at": now, "seen_at": now, "clock_off_ms": 0, "types": {}}
    redis_client.hset("q:workers", "kue:h:7", json.dumps(worker))
    assert "Event loop lag</th>" not in http.get("/system").text
    assert "kue_worker_loop_lag_seconds 0.0" in http.get("/metrics").text
    for pid, lag_ms in ((8, 1234), (9, 20)):
        entry = {**worker, "pid": pid, "loop_lag_ms": lag_ms, "memory_bytes": 45_600_000}
        redis_client.hset("q:workers", f"kue:h:{pid}", json.dumps(entry))
    text = http.get("/system").text
    assert text.count("45.6 MB</td>") == 2 and ">–</td>" in text  # the first worker does not tell
    assert "Event loop lag</th>" in text and "1,234 ms</td>" in text and "20 ms</td>" in text
    assert "kue_worker_loop_lag_seconds 1.234" in http.get("/metrics").text


def test_nothing_is_warned_of_while_all_is_well(http: Any, queue: Any) -> None:
    queue.process("mail", 3, lambda job: None)
    wait_until(queue.workers)
    queue.create("mail").save().wait(5)
    assert 'class="warning"' not in http.get("/system").text


def test_the_server_is_warned_of_when_it_is_full_or_forgets() -> None:
    memory: Any = {"used": 95, "limit": 100, "policy": "allkeys-lru", "jobs": 0, "queue": 0}
    leases: Any = {"held": 0, "late_ms": 0}
    found = health_warnings.of_server(memory, leases, 10**6, "Redis does not answer")
    assert len(found) == 4 and "Set it to noeviction" in found[1] and "1.0 MB of disk space" in found[2]
    well: Any = {"used": 95, "limit": None, "policy": "noeviction", "jobs": 0, "queue": 0}
    assert health_warnings.of_server(well, leases, None, None) == []
    late: Any = {"held": 1, "late_ms": 60_000}
    assert "no worker is running to rescue it" in health_warnings.of_server(well, late, None, None)[0]
    assert health_warnings.of_clock(-90_000) == ["This web server: the clock is 1 min 30 s behind the clock of Redis."]
    assert health_warnings.of_clock(1_000) == []
    counts = {f"t{n}": {"inactive": 1, "active": 0} for n in range(9)}
    more = "Jobs of 4 more types are waiting: paused, or without a worker."
    assert health_warnings.of_types(counts, set(), {})[-1] == more


def test_the_metrics_tell_of_types_times_leases_and_lag(site: Any, queue: Any) -> None:
    http = site.http()
    queue.process("mail", 2, lambda job: None)
    queue.create("mail", {"secret": "x"}).save().wait(5)
    wait_until(lambda: site.monitor.counters.ended)
    text = http.get("/metrics").text
    for line in (
        'kue_jobs{state="complete",type="mail"} 1.0', 'kue_attempts_total{outcome="complete",type="mail"} 1.0',
        'kue_run_seconds_bucket{le="+Inf",type="mail"} 1.0', 'kue_run_seconds_count{type="mail"} 1.0',
        'kue_wait_seconds_count{type="mail"} 1.0', "kue_redis_up 1.0", "kue_leases 0.0", "kue_lease_late_seconds 0.0",
        'kue_slots{type="mail"} 2.0', "kue_relay_stale 0.0", 'kue_events_total{event="complete"} 1.0',
    ):  # fmt: skip
        assert line in text, line
    assert "kue_hub_lag_seconds" in text and "secret" not in text
    ends = re.findall(r'kue_run_seconds_bucket{le="([^"]+)"', text)
    assert ends[:2] == ["0.005", "0.01"] and len(ends) == 16
