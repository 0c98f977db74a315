"""Hostile values in Redis: every response is valid, and healthy jobs stay visible."""
# ruff: noqa: E501

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kue.cli.root import cli
from kue.states import STATES
from kue.storage.keys import zid
from kue.web.live.relay import plain_event
from tests.support import wait_until

FIELDS = (
    "type data priority state created_at promote_at updated_at started_at failed_at duration result exact_result error "
    "workerId progress progress_data attempts max_attempts delay ttl backoff removeOnComplete attempt_log rescues token "
    "copy_of copies deaths alone unknown"
).split()  # fmt: skip
#: Values that have broken answers, or are of the kind that does.
ODD = [
    b"", b"NaN", b"nan", b"inf", b"1e400", b"-1e400", b"1e308", b"-5", b"0x10", b"9" * 400, b"9" * 5000, b"null", b"true",
    b"[1]", b"{}", b'"\\ud800"', b'{"title":"a\\ud800b"}', b'{"title":"http://u:p@h/\\ud800"}', b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 900 + b'"http://u:secret@h/"' + b"}" * 900, b'{"bytes":1e400}', b'{"bytes":NaN,"total":"x"}',
    b'{"bytes":1,"total":1e400,"rate":[],"eta_s":{}}', b'[{"number":"x"}]', b'[{"number":1e400,"started_at":[]}]',
    b'[{"number":1,"started_at":1e300,"ended_at":-1e300,"outcome":7,"error":{},"stack":[]}]', b'{"value":NaN}',
    b"[Infinity,-Infinity]", b"\xff\xfe", b"\xed\xa0\x80", b"\x00\x1b[2J", b"<script>alert(1)</script>", b"a\nb\r\nc",
    b"\xe2\x80\xae", b"function(){}", b'{"type":"exponential","delay":"x"}', b"9007199254740993", b"1.5", b" 1 ",
    b'{"url":"' + b"://" * 2000 + b'"}', b'{"file":"../../x","host":[]}', b"Traceback (most recent call last)\n",
    "\u2028\u0085é".encode(), b"%s%n", b"{{7*7}}", b"253402300799000", b"8640000000000001",
]  # fmt: skip
VALUES = st.sampled_from(ODD) | st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
HASHES = st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1)
QUICK = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=True
)

PAGES = ("/", "/inactive", "/active", "/complete", "/failed", "/delayed", "/system", "/search?q=healthy", "/files")
ANSWERS = (
    "/jobs/0..20", "/jobs/inactive/0..20", "/jobs/t/inactive/0..20", "/job/search?q=healthy", "/stats", "/job/types",
    "/monitor/home", "/monitor/list/inactive", "/monitor/list/delayed", "/monitor/search?q=healthy", "/healthz",
    "/inactive/count", "/monitor/system",
)  # fmt: skip
HEALTHY = "a healthy job"


def strict(text: str) -> Any:
    """Return the value of JSON that any parser takes, without recursion beyond what is in it."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def look(site: Any, queue: Any, redis_client: redis.Redis) -> Iterator[Callable[[], None]]:
    """A function that asks for everything, and checks the answers and the healthy job in them."""
    http = site.http()
    runner = CliRunner()
    url = "redis://{host}:{port}/{db}".format(**redis_client.connection_pool.connection_kwargs)

    def look() -> None:
        for path in (*PAGES, "/job/1", "/job/2", "/job/1/log"):
            answer = http.get(path, headers={"Accept": "text/html"})
            assert answer.status_code in (200, 404), (path, answer.status_code)
            answer.data.decode()
            if path in ("/", "/inactive", "/search?q=healthy"):
                assert HEALTHY in answer.text, path
        for path in (*ANSWERS, "/job/1", "/job/2", "/monitor/job/1", "/monitor/job/2"):
            answer = http.get(path, headers={"Accept": "application/json"})
            assert answer.status_code in (200, 404), (path, answer.status_code, answer.text[:200])
            if answer.mimetype == "application/json":
                strict(answer.text)
                answer.data.decode("ascii")
            if path in ("/jobs/0..20", "/jobs/inactive/0..20", "/monitor/home", "/monitor/search?q=healthy"):
                assert HEALTHY in answer.text, path
        assert http.get("/metrics").status_code == 200
        page = site.socketio.test_client(site.app, headers={"Host": site.url.removeprefix("http://")})
        told = page.emit("watch", {}, callback=True)
        strict(json.dumps(told))
        rows, _ = site.monitor.relay.read([1, 2, 9])
        assert HEALTHY in {row["title"] for row in rows}
        strict(json.dumps(rows, allow_nan=False))
        page.disconnect()
        for words in (["stats"], ["ls", "inactive"], ["ls", "delayed"], ["show", "9"], ["log", "1"], ["show", "1"]):
            for extra in ([], ["--json"]) if words[0] != "log" else ([],):
                result = runner.invoke(cli, [*words, *extra, "-r", url], standalone_mode=False)
                known = result.exception is None or type(result.exception).__module__.startswith(("kue", "click"))
                assert known, (words, result.exception)
                assert "\x1b" not in result.output and "\u202e" not in result.output, words

    yield look


def put(client: redis.Redis, job_id: int, fields: dict[str, bytes], state: str) -> None:
    """Write a job as Node lays it down, with these fields on top."""
    member = zid(job_id)
    healthy = {"type": b"t", "data": b"{}", "state": state.encode(), "priority": b"0", "created_at": b"1700000000000",
               "updated_at": b"1700000000000", "promote_at": b"1700000000000"}  # fmt: skip
    client.delete(f"q:job:{job_id}")
    client.hset(f"q:job:{job_id}", mapping={**healthy, **fields})
    client.rpush(f"q:job:{job_id}:log", b"\xff\xed\xa0\x80 \x1b[2J http://u:secret@h/")
    client.sadd("q:job:types", "t")
    for key in ("q:jobs", f"q:jobs:{state}", f"q:jobs:t:{state}"):
        client.zadd(key, {member: 0})


def start(client: redis.Redis) -> None:
    client.flushdb()
    put(client, 9, {"data": json.dumps({"title": HEALTHY}).encode()}, "inactive")


@pytest.mark.long
@QUICK
@given(first=HASHES, second=HASHES, states=st.lists(st.sampled_from(STATES), min_size=2, max_size=2))
def test_no_field_of_any_job_breaks_an_answer(
    look: Callable[[], None], redis_client: redis.Redis, first: Any, second: Any, states: list[str]
) -> None:
    start(redis_client)
    put(redis_client, 1, first, states[0])
    put(redis_client, 2, second, states[1])
    look()


@pytest.mark.long
def test_no_odd_value_in_any_field_breaks_an_answer(
    look: Callable[[], None], site: Any, redis_client: redis.Redis
) -> None:
    # Given a job for each value in all of its fields, but for those that say where it lies, and one with it in the JSON
    start(redis_client)
    for at, value in enumerate(ODD):
        put(redis_client, 100 + at, {name: value for name in FIELDS if name not in ("type", "state")}, STATES[at % 5])
        put(redis_client, 200 + at, {"data": value, "result": value, "progress_data": value}, STATES[at % 5])
    look()
    http = site.http()
    for at in range(len(ODD)):
        for job_id in (100 + at, 200 + at):
            assert http.get(f"/job/{job_id}", headers={"Accept": "text/html"}).status_code == 200, ODD[at]
            answer = http.get(f"/job/{job_id}", headers={"Accept": "application/json"})
            assert answer.status_code == 200, ODD[at]
            strict(answer.text)
            assert "secret" not in answer.text


KINDS: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, key: client.set(key, "x"),
    "hash": lambda client, key: client.hset(key, "x", "y"),
    "zset": lambda client, key: client.zadd(key, {"x": 1}),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_no_key_of_another_kind_breaks_an_answer(look: Callable[[], None], redis_client: redis.Redis, kind: str) -> None:
    names = (
        "q:job:1 q:job:1:log q:jobs:active q:jobs:delayed q:jobs:t:failed q:workers q:leases q:paused q:settings "
        "q:history:minutes q:history:halves q:stats:work-time q:unique q:search:object:1 q:jobs:complete"
    ).split()
    for name in names:
        start(redis_client)
        put(redis_client, 1, {}, "failed")
        redis_client.delete(name)
        KINDS[kind](redis_client, name)
        look()


RECORDS = [
    "", "x", "[]", "null", "7", "NaN", '{"host":1}', '{"host":"h","pid":"x","started_at":1,"seen_at":1,"clock_off_ms":0,"types":{}}',
    '{"host":"h","pid":1,"started_at":NaN,"seen_at":1,"clock_off_ms":0,"types":{}}',
    '{"host":"h","pid":1,"started_at":1e400,"seen_at":1e300,"clock_off_ms":0,"types":{}}',
    '{"host":"h\\ud800","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":{"\\ud800":{"slots":1,"busy":1}}}',
    '{"host":"h","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":[]}',
    '{"host":"h","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":{},"loop_lag_ms":"<b>"}',
    '{"host":"h","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":{},"loop_lag_ms":-1e400}',
    '{"host":"h","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":{"t":7,"u":{"slots":"x","busy":null}}}',
    '{"host":"h","pid":1,"started_at":1,"seen_at":1,"clock_off_ms":0,"types":{"t":{"slots":1e400,"busy":-5,"paused":3}}}',
    '{"host":"\\u001b[2J","pid":1,"started_at":-1,"seen_at":-1,"clock_off_ms":1e15,"types":{"<b>":{"slots":1,"busy":0}}}',
    "[" * 3000, '{"host":' + "[" * 900 + "]" * 900 + "}",
]  # fmt: skip


def test_no_record_of_a_worker_or_of_history_breaks_an_answer(
    look: Callable[[], None], queue: Any, redis_client: redis.Redis
) -> None:
    start(redis_client)
    good = {"host": "h", "pid": 5, "started_at": 1, "seen_at": 1, "clock_off_ms": 0, "types": {}}
    redis_client.hset("q:workers", mapping={f"w{at}": text for at, text in enumerate(RECORDS)} | {"ok": json.dumps(good)})
    redis_client.hset("q:workers", b"\xff\xed", json.dumps(good))
    for name in ("minutes", "halves"):
        odd = dict.fromkeys(["x", "-1", "1e400", "9" * 30, "28333333"], '{"complete":"x","wait_mid":NaN,"run_mid":1e400}')
        redis_client.hset(f"q:history:{name}", mapping=odd | {str(at): text for at, text in enumerate(RECORDS)})
    look()
    assert "ok" in {worker["worker"] for worker in queue.workers()}


EVENTS = [
    '{"id":1,"event":"progress","args":["progress",NaN,Infinity]}', '{"id":1,"event":"progress","args":["progress",1e400]}',
    '{"id":1,"event":"complete","args":7}', '{"id":1,"event":"complete"}', '{"id":[],"event":"complete","args":[]}',
    '{"id":"\\ud800","event":"failed","args":["failed","\\ud800"]}', '{"id":1,"event":7,"args":[]}', "[]", "", "x", "null",
    '{"id":"' + "9" * 5000 + '","event":"start","args":[]}', '{"id":1,"event":"remove","args":["remove",' + "[" * 900 + "]" * 900 + "]}",
    '{"id":1,"event":"progress","args":["progress",' + "[" * 3000 + "]}", '{"id":' + "9" * 5000 + ',"event":"start","args":["start"]}',
]  # fmt: skip


def test_no_event_breaks_the_relay_or_reaches_a_client_as_no_json(
    site: Any, queue: Any, redis_client: redis.Redis
) -> None:
    start(redis_client)
    put(redis_client, 1, {"progress_data": b'{"bytes":1e400}', "created_at": b"x"}, "inactive")
    plain = site.socketio.test_client(site.app, headers={"Host": site.url.removeprefix("http://")})
    for text in EVENTS:
        redis_client.publish("q:events", text)
    redis_client.publish("q:events", b"\xff\xed\xa0\x80")
    redis_client.publish("q:events", '{"id":9,"event":"start","args":["start"]}')
    got: list[Any] = []
    wait_until(lambda: got.extend(plain.get_received()) or any(each["args"] == [{"id": 9}] for each in got))
    for each in got:
        strict(json.dumps(each, allow_nan=False))
    wait_until(lambda: not site.monitor.relay.waiting and site.monitor.relay.stale is None)


def test_an_event_is_told_with_null_for_what_is_not_a_number() -> None:
    from kue.client.events import parse

    event = parse('{"id":1,"event":"progress","args":["progress",NaN,{"a":1e400}]}')
    assert event is not None and plain_event(event) == ("progress", {"id": 1, "progress": None, "data": {"a": None}})
