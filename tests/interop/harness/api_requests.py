"""Hundreds of requests to Kue's JSON API, and the jobs that they are asked about: odd, broken and ordinary ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import redis

JSON = {"Content-Type": "application/json"}
#: Ids that are none: 0, signs, fractions, padding, too large, words, and what would make a key of something else.
ODD_IDS = (
    "0", "-1", "1.5", "01", "1e1", "+1", "%201", "1%20", "abc", "undefined", "null", "NaN", "%C3%A9", "1%2F2",
    "1%7C1", "%01", "9007199254740992", "9007199254740993", "18446744073709551616", "9" * 60, "0x10", "1,2", "*",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One request. ``instead``: our status where we refuse on purpose what Node takes."""

    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    instead: int = 0

    def __str__(self) -> str:
        shown = "" if self.body is None else f" {self.body[:150]!r}"
        return f"{self.method} {self.path}{shown}{' ' + repr(dict(self.headers)) if self.headers else ''}"


def get(*paths: str, **headers: str) -> list[Request]:
    return [Request("GET", path, headers=tuple(headers.items())) for path in paths]


def put(*paths: str, instead: int = 0) -> list[Request]:
    return [Request("PUT", path, instead=instead) for path in paths]


def post(body: Any, kind: str | None = "application/json", instead: int = 0) -> Request:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", "/job", text, (("Content-Type", kind),) if kind else (), instead)


def option(name: str, value: Any) -> Request:
    return post({"type": "o", "data": {"title": "welcome", "a": {"b": ["tobi"]}}, "options": {name: value}})


EMPTY = get(
    "/stats", "/job/types", "/jobs/0..10", "/jobs/inactive/0..10", "/jobs/none/inactive/0..10",
    "/jobs/none/inactive/stats", "/job/search?q=nothing", "/job/1", "/job/1/log",
)  # fmt: skip

#: Bodies that both take, or both refuse.
CREATING = [
    *[post(body) for body in (
        {"type": "email", "data": {"title": "welcome tobi", "to": "tobi@example.com"}}, {"type": "email"},
        {"type": "email", "data": None}, {"type": "email", "options": None}, {"type": "email", "options": {}},
        {"type": "email", "options": 7}, {"type": "email", "options": "x"}, {"type": "email", "options": [1]},
        {"type": "email", "data": [1, 2]}, {"type": "email", "data": []}, {"type": "email", "data": "text"},
        {"type": "email", "data": ""}, {"type": "email", "data": 7}, {"type": "email", "data": 0},
        {"type": "email", "data": True}, {"type": "email", "data": False}, {"type": "email", "data": 1.5},
        {"type": "email", "data": {"é": "Xin chào 🎉", "esc": "\" \\ / \b\n\u2028 </script>"}},
        {"type": "email", "data": {"b": 1, "a": {"d": [{}], "c": None}}}, {"type": "email", "other": 1},
        {"type": 42}, {"type": 1.5}, {"type": -3}, {"type": "a:b"}, {"type": "a/b"}, {"type": "a b"},
        {"type": "письмо"},
        {"type": "*"}, {"type": "a\nb"}, {"type": "inactive"}, {"type": " "}, {"type": "0"},
        {"type": "t" * 300}, {"id": 7, "type": "email"}, {"type": "email", "state": "complete", "attempts": 9},
        {}, [], {"data": {"title": "no type"}}, {"type": ""}, {"type": None}, {"type": 0}, {"type": False},
        {"options": {"priority": "high"}}, [{}], [{"type": "solo"}], [{"data": 1}, {"type": ""}],
        [{"type": "video", "data": {"n": 1}}, {"data": {"n": 2}}, {"type": "video", "data": {"n": 3}}],
        [{"type": "video", "data": {"title": f"screencast {n}"}, "options": {"priority": p,
            "delay": 3_600_000 * (n % 2)}}
         for n, p in enumerate(["low", "normal", "medium", "high", "critical", 3, "-4", 2.5])],
        [7], ["text"], [[]], [True], [{"type": "a"}, 7, {"type": "b"}],
    )],
    *[post(body) for body in (
        b'{"type": "email", ', b'"email"', b"null", b"7", b"true", b"nonsense", b"{'type': 'a'}", b"\xff\xfe", b" ",
        b"{}{}", b'{"type": "a",}', b'{"type": "a"} x', b'{"type": "a", "data": NaN}',
        b'{"type": "a", "data": Infinity}',
        b'  {"type": "blanks around"}  ', b'{"type": "a", "type": "the last one counts"}', b"[1,",
        b'{"type": "number", "data": {"e": 1e21, "h": 1.10, "i": 9007199254740991, "f": 1E2, "z": -0.0, "t": 1e-7}}',
        b'{"type": 1.0, "data": 3.0}', b'{"type": "a", "options": {"priority": 2.0, "delay": 3.6e6, "attempts": 3.0}}',
        b'{"type": "escapes", "data": "\\u0041\\/\\ud83d\\ude00\\u0000"}', b"\xef\xbb\xbf" + b'{"type": "with a mark"}',
    )],
    post(b"", None), post(b"", "application/json"), post(b"", "text/plain"),
    post({"type": "charset"}, "application/json; charset=utf-8"), post({"type": "case"}, "Application/JSON"),
    post('{"type": "é"}'.encode("latin-1"), "application/json; charset=latin1", instead=415),
    post({"type": "utf16"}, "application/json; charset=utf-16", instead=400),
    # Node answers an empty 204 to what it has not read.
    *[post(b'{"type": "email"}', kind, instead=415) for kind in ("text/plain", "application/x-www-form-urlencoded",
        "x")],
    post(b"type=email", "application/x-www-form-urlencoded", instead=415),
    # Node's limit is 100 kB.
    *[option(name, value) for name, values in {
        "attempts": [5, "3", "3.7", 3.7, 0, "0", "abc", "5x", " 4 ", "", False, True, None, [], ["7"], {}, "1e3",
            1000, -2],
        "priority": [0, 7, -7, 3.5, "low", "normal", "medium", "high", "critical", "-7", "3", "2.5", "", None, False,
                     123456789],
        "delay": [3_600_000, "3600000", 3_600_000.5, 0, -5, "-5", "", "abc", None, False, [], {}],
        "ttl": [30_000, "2500", 2500.5, 0, -5, "", "abc", None, False, {}],
        "removeOnComplete": [True, False, 0, "", None],
        "searchKeys": [["title"], "title", [], "", None, ["a.b[0]"]],
        "backoff": [True, False, None, {"type": "fixed"}, {"type": "fixed", "delay": 500}, 0, "",
                    {"type": "exponential", "delay": 1000, "maxDelay": 5000}, {"delay": 60_000, "type": "exponential"}],
        "unknown": [1, "x", None],
    }.items() for value in values],
    post({"type": "all", "data": {"title": "account renewal", "nested": {"a": [1, None, "x"]}}, "options": {
        "attempts": 5, "priority": "high", "delay": 3_600_000, "ttl": 30_000, "removeOnComplete": True,
        "searchKeys": ["title", "nested.a[2]"], "backoff": {"delay": 60_000, "type": "exponential"}}}),
]  # fmt: skip

#: Jobs for searches to find.
INDEXED = [
    post([{"type": "found", "data": {"title": title, "n": n}} for n, title in enumerate([
        "welcome tobi", "Welcomes Tobi Tobi", "screencast one", "screencast mail", "the snow is deep", "héllo snow",
        "42",
    ])]),
    post({"type": "found", "data": {"title": "zebra", "nested": "hidden"}, "options": {"searchKeys": ["title"]}}),
]  # fmt: skip

#: What Node takes and we do not: it would run code, lose the job, or die of it.
REFUSED = [
    *[Request("POST", "/job", json.dumps(body).encode(), (("Content-Type", "application/json"),), status)
      for status, body in (
        (400, {"type": "a", "options": {"backoff": "function(){ process.exit() }"}}),
        (400, {"type": "a", "options": {"backoff": "fixed"}}), (400, {"type": "a", "options": {"backoff": 5}}),
        (400, {"type": "a", "options": {"backoff": {"type": "evil"}}}), (400, {"type": "a",
            "options": {"backoff": []}}),
        (400, {"type": "a", "options": {"backoff": {"type": "fixed", "delay": "x"}}}),
        (400, {"type": "a", "options": {"backoff": {"type": "fixed", "delay": -1}}}),
        (400, {"type": "a", "options": {"backoff": {"type": "fixed", "code": 1}}}),
        (400, {"type": "a", "options": {"priority": "nonsense"}}), (400, {"type": "a", "options": {"priority": [1]}}),
        (400, {"type": "a", "options": {"priority": True}}), (400, {"type": "a", "options": {"priority": {}}}),
        (400, {"type": "a", "options": {"priority": "constructor"}}), (400, {"type": "a",
            "options": {"priority": 2**60}}),
        (400, {"type": {"a": 1}}), (400, {"type": ["a"]}), (400, {"type": True}), (400, {"type": "t" * 501}),
        (400, {"type": "a", "options": {"delay": 2**60}}), (400, {"type": "a", "options": {"ttl": 2**60}}),
        (400, {"type": "a", "options": {"attempts": 2**60}}), (400, {"type": "a", "options": {"searchKeys": [1]}}),
        (400, {"type": "a", "options": {"searchKeys": {"a": 1}}}), (400, [None]), (400, [{"type": ["a"]}, None]),
    )],
    Request("POST", "/job", b'{"type": "a", "options": {"priority": 1e999}}', (("Content-Type", "application/json"),),
        400),
    Request("POST", "/job", b"[" * 20_000, (("Content-Type", "application/json"),), 400),
    Request("POST", "/job", b'{"type": "a", "data": "' + b"x" * 1_100_000 + b'"}',
            (("Content-Type", "application/json"),), 413),
]  # fmt: skip

RANGES = (
    "0..0", "0..2", "0..-1", "-2..-1", "-1..-2", "5..2", "1000..2000", "-1000..1", "1..1000000", "-5..2", "2..-3",
    "0..-99",
    "00..01", "+0..+2", "0..1e1", "1.5..3", "0x0..0x2", "0..2abc", "0abc..2", "%200..%202", "a..b", "0..b", "a..2",
    "0..", "..2", "0.2", "0...2", "0..2..3", "0..9007199254740993", "0..99999999999999999999", "-0..2", "NaN..2", "0",
)  # fmt: skip

READING = [
    *get(*[f"{before}/{pages}{order}"
           for before in ("/jobs", "/jobs/inactive", "/jobs/email/inactive")
           for pages in RANGES for order in ("", "/desc") if (order == "" or pages in RANGES[:12])]),
    *get(*[f"/jobs/0..4/{order}" for order in ("asc", "desc", "DESC", "sideways", "", "1", "desc/", "desc/more")]),
    *get(*[f"/jobs/{state}/0..10{order}" for state in
           ("inactive", "active", "complete", "failed", "delayed", "nonsense", "INACTIVE", "email", "types", "%C3%A9",
               "%20")
           for order in ("", "/desc")]),
    *get(*[f"/jobs/{quote(kind, safe='')}/{state}/{what}" for kind in
           ("email", "report", "a:b", "a/b", "a b", "письмо", "*", "none", "42", "email:inactive", "constructor")
           for state in ("inactive", "complete", "failed", "nonsense") for what in ("0..10", "0..10/desc", "stats")]),
    *get("/jobs/paused/0..10", "/jobs/paused/0..-1/desc", "/jobs/email/paused/0..10",
         "/jobs/email/paused/stats", "/job/26"),
    *get("/jobs/a+b/inactive/0..10", "/jobs/%E0%A4%A/inactive/0..10", "/jobs/email/stats", "/jobs/stats", "/jobs/",
         "/jobs", "/jobs//inactive/0..10", "/jobs/email/inactive", "/jobs/email/inactive/0..10/desc/more"),
    *get(*[f"/job/{n}" for n in range(1, 26)], *[f"/job/{n}/log" for n in range(1, 26)], "/job/99999",
        "/job/99999/log"),
    *get(*[f"/job/{odd}" for odd in ODD_IDS], *[f"/job/{odd}/log" for odd in ODD_IDS]),
    *get("/job/1:log", "/job/3%3Alog", "/job/", "/job", "/job/1/", "/job/1/log/", "/job/1/nothing", "/job/1/state",
        "/JOB/1",
         "/Job/1/LOG", "/job/%E0%A4%A", "/job/%", "/job/1%", "/job/1?x=1", "/job/1/log?from=1"),
    *get("/job/types", "/job/types/", "/JOB/TYPES", "/stats", "/STATS", "/stats/", "/stats?x=1", "/job/stats"),
    *get(*[f"/job/search{query}" for query in (
        "?q=tobi", "?q=screencast+mail", "?q=screencasts", "?q=toby", "?q=the", "?q=zebra", "?q=", "", "?q=snow",
        "?q=nested",
        "?q=TOBI", "?q=title", "?q=Welcomes", "?q=tobi%20welcome", "?q=+", "?q=%26", "?x=tobi", "?q=tobi+tobi", "?q=42",
        "?q=hidden",
    )], "/job/search/", "/job/search/tobi"),
    *get("/nope", "/jobs/x/y/z/0..1", "/static/none.css", "/job/1/state/active", "/job/1/priority/5", "/inactive/x/y"),
    *[Request(method, path) for method, path in (
        ("HEAD", "/stats"), ("HEAD", "/job/1"), ("DELETE", "/stats"), ("PUT", "/stats"),
        ("POST", "/stats"), ("DELETE", "/job"), ("PUT", "/job"), ("PUT", "/job/1"), ("POST", "/job/1"),
        ("DELETE", "/jobs/0..1"), ("PATCH", "/job/1"), ("PUT", "/job/1/state"), ("PUT", "/job/1/state/"),
        ("PUT", "/job/1/priority"), ("DELETE", "/job/"), ("DELETE", "/job/1/log"), ("POST", "/job/types"),
    )],
    Request("HEAD", "/job/99", instead=404),
    *[Request("GET", path, headers=(("Accept", accept),)) for path in
      ("/stats", "/job/types", "/jobs/0..1", "/job/search?q=tobi", "/job/1/log", "/jobs/email/inactive/stats")
      for accept in ("application/json", "*/*", "text/html", "text/plain", "application/*",
                     "text/html,application/json;q=0.5", "application/json;q=0", "text/html,*/*;q=0.8", "")],
    *[Request("GET", "/job/1", headers=(("Accept", accept),))
      for accept in ("application/json", "*/*", "application/*", "text/html;q=0.5,application/json")],
]  # fmt: skip

PRIORITIES = (
    "5", "-10", "0", "+3", "3abc", "1.9", "-1.9", "007", "1e3", "0x10", "%205", "5%20", "123456789", "-0", "high",
    "abc",
    "NaN", "-", "%20", "--5", ".5", "Infinity", "null",
)  # fmt: skip
STATES = ("inactive", "active", "complete", "failed", "delayed")

#: Each job in each state, put into each state; priorities of all sorts; removals. Jobs are those of ``seed``.
WRITING = [
    *put(*[f"/job/{n}/priority/{priority}" for n, priority in zip([1, 2, 3, 4, 5, 6, 7] * 9, PRIORITIES,
        strict=False)]),
    *put(*[f"/job/{n}/priority/-4" for n in range(1, 26)], "/job/99999/priority/5", "/job/99999/priority/x"),
    *put(*[f"/job/{n}/state/{state}" for state in (*STATES, "delayed", "active", "inactive") for n in range(1, 26)]),
    *put(*[f"/job/{n}/state/{state}" for n in range(1, 8) for state in STATES], "/job/99999/state/failed"),
    *put(*[f"/job/{odd}/priority/5" for odd in ODD_IDS], *[f"/job/{odd}/state/failed" for odd in ODD_IDS]),
    *put("/job/1/STATE/failed", "/job/1/Priority/7", "/job/1/state/failed/", "/job/1/priority/5/",
        "/job/1/priority/5/6"),
    *[Request("DELETE", f"/job/{odd}") for odd in (*ODD_IDS, "99999", "types", "search")],
    *[Request("DELETE", path) for path in ("/job/1", "/job/1", "/job/2/", "/JOB/3", *[f"/job/{n}" for n in range(4,
        26)])],
    *get("/stats", "/jobs/0..-1", "/job/types"),
]  # fmt: skip

#: Words that are no state: Node makes sets of them.
REFUSED_STATES = put(
    "/job/1/state/paused", "/job/1/state/INACTIVE", "/job/1/state/0", "/job/1/state/%20active",
    "/job/1/state/undefined", instead=400,
)  # fmt: skip


def seed(client: redis.Redis, now_ms: int) -> None:
    """Put 25 jobs into Redis by hand: of every state and kind, some with odd fields, and a few leavings."""
    kinds = ["email", "report", "a:b", "a/b", "a b", "письмо", "42", "email:inactive"]
    for n in range(1, 26):
        state, kind = STATES[n % 5], kinds[n % len(kinds)] if n % 3 else "email"
        priority = [0, -10, 10, 5, -5, 2.5][n % 6]
        created = now_ms - 50_000 - 1_000 * n
        job: dict[str, Any] = {
            "type": kind, "data": json.dumps({"title": f"tobi {n}", "n": n}, separators=(",", ":")),
            "priority": priority,
            "max_attempts": 1 + n % 4, "state": state, "created_at": created, "promote_at": created,
            "updated_at": created,
        }  # fmt: skip
        score: float = priority
        if state == "delayed":
            job |= {"delay": 60_000_000, "promote_at": created + 60_000_000}
            score = job["promote_at"]
        if state == "active":
            job |= {"started_at": created + 5, "workerId": f"kue:host:1:{kind}:1"}
            if n % 2:
                job |= {"ttl": 30_000_000}
                score = created + 5 + 30_000_000
            else:
                score = -abs(priority)
        if state in ("complete", "failed"):
            job |= {"started_at": created + 5, "workerId": f"kue:host:1:{kind}:2", "attempts": 1}
        if state == "complete":
            job |= {"duration": 12, "progress": 100, "result": '{"ok":true,"n":1.5}', "progress_data": '{"page":4}'}
        if state == "failed":
            job |= {"error": "Error: boom\n    at f (x.js:1:2)", "failed_at": created + 9, "progress": 40}
            client.rpush(f"q:job:{n}:log", "Error: boom", "", "50% <b>done</b>", "{ a: 1 }")
        zid = f"{len(str(n)):02d}|{n}"
        client.hset(f"q:job:{n}", mapping=job)
        client.zadd("q:jobs", {zid: priority})
        client.zadd(f"q:jobs:{state}", {zid: score})
        client.zadd(f"q:jobs:{kind}:{state}", {zid: priority})
        client.sadd("q:job:types", kind)
        if state == "inactive":
            client.lpush(f"q:{kind}:jobs", 1)
    client.set("q:ids", 26)
    client.set("q:stats:work-time", 60)
    client.hdel("q:job:5", "max_attempts")
    client.hset("q:job:6", mapping={"removeOnComplete": "true", "backoff": '{"delay":500,"type":"fixed"}',
        "ttl": "1000"})
    client.hset("q:job:7", mapping={"attempts": 1, "backoff": "true", "progress": "33"})
    client.hset("q:job:10", "data", '"text"')
    # Node's own API makes a state of any word.
    client.hset("q:job:26", mapping={"type": "email", "data": "{}", "priority": 3, "state": "paused", "created_at": 1})
    for key in ("q:jobs", "q:jobs:paused", "q:jobs:email:paused"):
        client.zadd(key, {"02|26": 3})
