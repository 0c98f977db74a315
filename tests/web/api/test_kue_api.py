"""Kue's JSON API: its bodies, and the differences made on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def post(http: Any, body: Any) -> Any:
    return http.post("/job", data=json.dumps(body), content_type="application/json")


def test_an_empty_queue(http: Any) -> None:
    assert http.get("/stats").json == {
        "inactiveCount": 0, "completeCount": 0, "activeCount": 0, "failedCount": 0, "delayedCount": 0, "workTime": None,
    }  # fmt: skip
    assert http.get("/job/types").json == http.get("/jobs/0..10").json == http.get("/job/search?q=x").json == []
    assert http.get("/jobs/none/inactive/stats").json == {"count": 0}


def test_a_job_is_created_and_read_back_in_kues_form(http: Any) -> None:
    options = {"attempts": 5, "priority": "high", "delay": 3_600_000, "ttl": "30000", "backoff": {"type": "fixed"}}
    answer = post(http, {"type": "email", "data": {"title": "héllo"}, "options": options})
    assert (answer.status_code, answer.json) == (200, {"message": "job created", "id": 1})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    job = http.get("/job/1").json
    assert list(job) == [
        "id", "type", "data", "priority", "progress", "state", "created_at", "promote_at", "updated_at", "delay", "ttl",
        "attempts",
    ]  # fmt: skip
    assert (job["id"], job["priority"], job["delay"], job["ttl"]) == ("1", -10, "3600000", "30000")
    assert job["attempts"] == {"made": 0, "remaining": 5, "max": 5}
    assert http.get("/jobs/delayed/0..10").json[0]["id"] == 1
    assert http.get("/jobs/email/delayed/stats").json == {"count": 1}


def test_an_array_creates_the_good_ones_and_answers_the_bad_ones_in_place(http: Any) -> None:
    answer = post(
        http, [{"type": "a"}, {"data": 1}, None, 7, {"type": "b", "options": {"priority": "odd"}}, {"type": "c"}]
    )
    assert answer.status_code == 400
    assert [each.get("id") for each in answer.json] == [1, None, None, None, None, 2]
    assert answer.json[1] == {"error": "Must provide job type"} and answer.json[4] == {"error": "invalid priority"}
    assert post(http, [{"type": "a"}]).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "", 204),
        (b"{}", "application/json", 204),
        (b"[]", "application/json", 204),
        (b'{"type": "a"', "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b"null", "application/json", 400),
        (b'"a"', "application/json", 400),
        (b'{"data": {}}', "application/json", 400),
        (b'{"type": ""}', "application/json", 400),
        (b'{"type": {"a": 1}}', "application/json", 400),
        (b'{"type": "a", "data": NaN}', "application/json", 400),
        (b'{"type": "a", "options": {"backoff": "function(){}"}}', "application/json", 400),
        (b'{"type": "a", "options": {"backoff": {"type": "evil"}}}', "application/json", 400),
        (b'{"type": "a", "options": {"backoff": {"type": "fixed", "x": 1}}}', "application/json", 400),
        (b'{"type": "a", "options": {"priority": 1e400}}', "application/json", 400),
        (b'{"type": "a"}', "text/plain", 415),
        (b'{"type": "a"}', "application/json; charset=latin1", 415),
        (b'{"type": "a"}', "application/json; charset=utf-16", 400),
        (b"type=a", "application/x-www-form-urlencoded", 415),
        (b'{"type": "a", "data": "' + b"x" * 1_100_000 + b'"}', "application/json", 413),
    ],
)
def test_what_is_no_job_is_refused_with_a_true_status(
    http: Any, queue: Any, body: bytes, content_type: str, status: int
) -> None:
    answer = http.post("/job", data=body, headers={"Content-Type": content_type} if content_type else {})
    assert answer.status_code == status
    if status >= 400:
        assert list(answer.json) == ["error"]
    assert sum(queue.counts().values()) == 0


@pytest.mark.parametrize("job_id", ["0", "-1", "abc", "01", "9007199254740992", "9" * 200, "1%2F2", "%00", "1.5"])
def test_an_id_that_cannot_be_one_is_not_found(http: Any, job_id: str) -> None:
    for answer in (http.get(f"/job/{job_id}"), http.put(f"/job/{job_id}/state/failed"), http.delete(f"/job/{job_id}")):
        assert answer.status_code == 404
    assert http.get("/job/5").json == {"error": 'job "5" doesnt exist'}
    assert http.get("/job/5/log").json == []


def test_options_are_read_as_javascript_reads_them(http: Any, queue: Any, redis_client: Any) -> None:
    odd = {"attempts": "3 times", "priority": "-7", "delay": "100.5", "ttl": [], "backoff": 0, "searchKeys": "", "x": 1}
    bodies: list[Any] = [{"options": odd}, {"options": {"attempts": ["7"], "priority": "", "ttl": 0}}, {"options": 7}]
    assert post(http, [{"type": "a", **body} for body in bodies]).status_code == 200
    first, second, third = (redis_client.hgetall(f"q:job:{n}") for n in (1, 2, 3))
    assert (first["max_attempts"], first["priority"], first["delay"]) == ("3", "-7", "100.5")
    assert int(first["promote_at"]) - int(first["created_at"]) == 100
    assert not {"ttl", "backoff"} & set(first)
    assert (second["max_attempts"], third["max_attempts"]) == ("7", "1")
    assert post(http, {"type": "a", "options": {"attempts": "many"}}).status_code == 200
    assert http.get("/job/4").json["attempts"] == {"made": 0, "remaining": 1, "max": 1}


def test_ranges_go_by_rank_then_id(http: Any, queue: Any) -> None:
    queue.create_many([{"type": "a", "priority": n} for n in (5, -5, 0)])
    queue.create("b/c:d", {"x": 1}).save()

    def ids(path: str) -> list[int]:
        answer = http.get(path)
        assert answer.status_code == 200
        return [job["id"] for job in answer.json]

    assert ids("/jobs/0..1") == [2, 3] and ids("/jobs/0..1/desc") == [3, 2] and ids("/jobs/0..1/sideways") == [2, 3]
    assert ids("/jobs/0..-1") == [1, 2, 3, 4] and ids("/jobs/-1..-1") == [1] and ids("/jobs/0..-2") == [2, 3, 4]
    assert ids("/jobs/inactive/0..0") == [2] and ids("/jobs/a/inactive/0..10/desc") == [3, 2, 1]
    assert ids("/jobs/b%2Fc%3Ad/inactive/0..10") == [4] and ids("/jobs/nonsense/0..10") == []
    assert ids("/jobs/%200..+1x") == [2, 3] and ids("/jobs/0.9..1") == [2, 3]
    assert http.get("/jobs/a..b").status_code == 400
    assert http.get("/jobs/b/c:d/inactive/0..10").status_code == http.get("/jobs/0..1.5").status_code == 404
    assert http.get("/jobs/0..").status_code == http.get("/jobs/0.2").status_code == 404
    assert http.get("/", environ_overrides={"PATH_INFO": "/jobs/\xe0\xa4%A/inactive/0..10"}).status_code == 400


def test_state_and_priority_are_set_and_checked(http: Any, queue: Any) -> None:
    queue.create("a").save()
    assert http.put("/job/1/priority/3abc").json == {"message": "updated priority"}
    assert queue.get(1).options.priority == 3
    assert http.put("/job/1/priority/high").status_code == 400
    assert http.put("/job/1/state/failed").json == {"message": "updated state"}
    assert queue.get(1).state == "failed"
    answer = http.put("/job/1/state/paused")
    assert (answer.status_code, answer.json) == (400, {"error": "invalid state"})
    assert http.delete("/job/1").json == {"message": "job 1 removed"}
    assert http.delete("/job/1").status_code == 404


def test_get_changes_nothing(http: Any, queue: Any) -> None:
    queue.create("a").save()
    queue.set_state(1, "failed")
    for path in ("/inactive/1", "/job/1/state/inactive", "/monitor/job/1/retry", "/logout"):
        assert http.get(path).status_code in (404, 405)
    assert queue.get(1).state == "failed"


def test_paths_as_forgiving_as_nodes(http: Any) -> None:
    assert http.get("/job/1%2F2/log").json == []
    for path in ("/job/%", "/job/%E0%A4%A", "/jobs/x%/inactive/0..1"):
        assert http.get(path).status_code == 400
    assert (
        http.get("/STATS").status_code == http.get("/job/types/").status_code == http.head("/stats").status_code == 200
    )
    for answer in (http.get("/nope"), http.get("/job"), http.delete("/stats")):
        assert answer.status_code == 404 and answer.mimetype == "text/html"
    assert http.get("/job/types", headers={"Accept": "text/html"}).status_code == 404


def test_data_of_another_program_that_is_not_json(http: Any, queue: Any, redis_client: Any) -> None:
    queue.create("a", {"x": 1}).save()
    redis_client.hset("q:job:1", "data", "{broken")
    answer = http.get("/job/1")
    assert answer.status_code == 200 and answer.json["data"] == "{broken"
    assert http.get("/jobs/inactive/0..10").json == []
    assert http.get("/").status_code == http.get("/job/1", headers={"Accept": "text/html"}).status_code == 200


def test_while_redis_is_away_the_answer_is_503(make_site: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kue.errors import QueueUnavailable

    http = make_site().http()

    def away(*args: Any) -> Any:
        raise QueueUnavailable("no connection")

    monkeypatch.setattr(queue, "counts", away)
    monkeypatch.setattr(queue, "check_health", away)
    for path in ("/stats", "/healthz", "/", "/monitor/home"):
        assert http.get(path).status_code == 503


def test_metrics_hold_counts_and_no_job_data(http: Any, queue: Any) -> None:
    queue.create('odd "type"\n', {"title": "secret"}).save()
    text = http.get("/metrics").text
    assert 'kue_jobs{state="inactive",type="odd \\"type\\"\\n"} 1.0' in text
    assert "secret" not in text and "kue_relay_stale 0.0" in text


def test_a_unique_job_is_made_once(site: Any, queue: Any) -> None:
    http = site.http()
    body = {"type": "startdownload", "data": {"url": "https://example.com/x"}, "options": {"unique": True}}
    assert http.post("/job", json=body).json == {"message": "job created", "id": 1}
    assert http.post("/job", json=body).json == {"message": "job exists", "id": 1}
    assert http.post("/job", json={**body, "options": {}}).json["id"] == 2
    assert http.post("/job", json={**body, "options": {"unique": "yes"}}).status_code == 400
    assert http.post("/job", json={**body, "data": {}}).status_code == 400
    assert http.post("/job", json=[body]).json == [{"message": "job exists", "id": 1}]
    assert sum(queue.counts().values()) == 2
    # Any other job by its data or a key, with all that job.unique takes
    mail = {"type": "mail", "data": {"n": 1}, "options": {"unique": True}}
    assert [http.post("/job", json=mail).json["message"] for _ in "ab"] == ["job created", "job exists"]
    keyed = {**mail, "options": {"unique": {"key": 7, "on_duplicate": "replace"}}}
    assert http.post("/job", json=keyed).json["id"] == http.post("/job", json={**keyed, "data": {"n": 2}}).json["id"]
    refused = http.post("/job", json={**mail, "options": {"unique": {"for": 7}}})
    assert refused.status_code == 400 and "unique takes key, until, for_ms, on_duplicate" in refused.json["error"]
    rejected = http.post("/job", json={**mail, "options": {"unique": {"on_duplicate": "reject"}}})
    assert rejected.status_code == 409 and "already exists" in rejected.json["error"]


def test_a_job_joins_the_trace_of_the_request(site: Any, queue: Any) -> None:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}
    http = site.http()
    assert http.post("/job", json={"type": "a"}, headers=trace).status_code == 200
    assert http.post("/job", json=[{"type": "a"}], headers={"traceparent": "00-x", "baggage": "a=b"}).status_code == 200
    assert [queue.get(number).trace_context for number in (1, 2)] == [trace, {}]
    pages = [http.get(f"/job/{number}", headers={"Accept": "text/html"}).text for number in (1, 2)]
    assert ["4bf92f3577b34da6a3ce929d0e0e4736" in page for page in pages] == [True, False]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/job/1", None),  # as with Node Kue
        ("PUT", "/job", None),
        ("DELETE", "/stats", None),
        ("POST", "/jobs/0..1", None),
        ("GET", "/job/1/state/failed", None),
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("PUT", "/schedules", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/failed", "GET, HEAD, OPTIONS"),
        ("GET", "/monitor/bulk", "OPTIONS, POST"),
        ("PATCH", "/nowhere", None),
        ("PATCH", "/job/1/nothing", None),
    ],
)
def test_another_method_on_a_known_path_is_405_and_names_those_there_are(
    http: Any, method: str, path: str, allowed: str | None
) -> None:
    answer = http.open(path, method=method)
    if allowed is None:
        assert answer.status_code == 404
    else:
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
        assert f"{method} is not allowed here; allowed: {allowed}" in answer.text


def test_unknown_options_are_ignored_as_with_node_but_named(http: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = post(http, {"type": "a", "priority": "high", "options": {"atempts": 3, "attempts": 2, "x\n\u00e9": 1}})
    assert (answer.status_code, answer.json) == (200, {"message": "job created", "id": 1})
    assert answer.headers["X-Kue-Ignored"] == "options.atempts, options.x\\n\\xe9, priority"
    assert http.get("/job/1").json["attempts"]["max"] == 2 and http.get("/job/1").json["priority"] == 0
    told = [record.getMessage() for record in caplog.records if record.name == "kue.web"]
    assert told == [
        "POST /job: unknown and ignored: options.atempts, options.x\\n\\xe9, priority. Options are priority, attempts, "
        'delay, ttl, backoff, removeOnComplete, searchKeys, unique, in "options"'
    ]
    many = post(http, [{"type": "a", "options": {f"o{number}": 1}} for number in range(30)] + [None])
    assert many.headers["X-Kue-Ignored"].count(",") == 9
    assert "X-Kue-Ignored" not in post(http, {"type": "a", "data": {}, "options": {"attempts": 2}}).headers
