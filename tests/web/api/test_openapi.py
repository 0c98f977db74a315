"""The document of the HTTP API, held against the server: every route is in it, and real answers are as it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kue.web.api.openapi import document
from tests.support import wait_until


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def faults(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """Return what a value has that its schema does not allow: as much of JSON Schema as the document uses."""
    if "$ref" in schema:
        return faults(value, document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema:
        each = [faults(value, one, where) for one in schema["anyOf"]]
        return [] if [] in each else min(each, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} is none of {schema['enum']}"]
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None),
    }  # fmt: skip
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{where}: {value!r} is no {kind}"]
    found = []
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} is not as {schema['pattern']}")
    if kind == "array":
        found += [fault for at, each in enumerate(value) for fault in faults(each, schema["items"], f"{where}[{at}]")]
    if kind == "object":
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            if name in known or isinstance(other, dict):
                found += faults(each, known.get(name, other), f"{where}.{name}")
            elif other is False:
                found.append(f"{where}: {name} is not in the document")
    return found


def test_the_checker_finds_faults() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]}
    assert faults({"a": [1]}, schema) == []
    assert len(faults({"a": [1, "x", True]}, schema)) == 2 and faults({}, schema) and faults([], schema)
    assert faults({"a": [], "b": 1}, {**schema, "additionalProperties": False})
    assert faults("x", {"anyOf": [{"type": "integer"}, {"enum": ["y"]}]}) and not faults(2, {"type": "number"})


def test_every_route_is_in_the_document_and_nothing_else(site: Any) -> None:
    adapter = site.app.url_map.bind("localhost")
    described = set()
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    path = path.replace("{" + parameter["name"] + "}", str(parameter["example"]))
            endpoint, _ = adapter.match(path, method=method.upper())
            described.add((endpoint, method.upper()))
    there = {
        (rule.endpoint, method)
        for rule in site.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == there


def test_every_reference_leads_somewhere(http: Any) -> None:
    served = http.get("/openapi.json")
    assert served.status_code == 200 and served.json == document()
    parts = document()["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', served.text)) == set(parts) and len(parts) > 12


@pytest.fixture
def check(http: Any) -> Callable[..., Any]:
    """``check(method, path, described, **options)``: ask, hold the answer against the document, return its body."""

    def ask(method: str, path: str, described: str, **options: Any) -> Any:
        answer = http.open(path, method=method.upper(), **options)
        told = document()["paths"][described][method]["responses"]
        assert str(answer.status_code) in told, (method, path, answer.status_code, answer.text[:200])
        content = told[str(answer.status_code)]["content"]
        if "application/json" not in content:
            return answer
        assert faults(answer.json, content["application/json"]["schema"]) == [], (method, path)
        return answer.json

    return ask


def test_limits_are_as_described(check: Callable[..., Any], queue: Any) -> None:
    assert check("post", "/limits", "/limits", json={"type": "mail", "rate": "100/min", "by": ""})[0]["burst"] == 1
    by_key = {"type": "mail", "by": "data.to", "concurrency": 2, "weight": {"a": 2}}
    assert check("post", "/limits", "/limits", json=by_key)[1]["weights"] == {"a": 2}
    assert [each["by"] for each in check("get", "/limits", "/limits")] == [None, "data.to"]
    bad_ones = ({"type": "a", "rate": "x"}, {"type": "a", "other": 1}, {"type": "a", "rate": 1})
    for bad in ({}, [], {"type": ""}, {"type": "a"}, *bad_ones):
        check("post", "/limits", "/limits", json=bad)
    assert len(queue.limits()) == 2
    assert [each["by"] for each in check("delete", "/limits?type=mail&part=key", "/limits")] == [None]
    check("delete", "/limits?type=mail&part=x", "/limits")
    assert check("delete", "/limits?type=mail", "/limits") == []
    assert "error" in check("delete", "/limits?type=mail", "/limits")


def test_kues_own_answers_are_as_described(check: Callable[..., Any], queue: Any) -> None:
    queue.process("mail", 1, lambda job: {"sent": True})
    queue.process("bad", 1, lambda job: 1 / 0)
    job = {"type": "mail", "data": {"title": "x"}, "options": {"priority": "high", "attempts": 2, "ttl": 60000}}
    assert check("post", "/job", "/job", json=job)["id"] == 1
    two = [{"type": "bad"}, {"type": "idle", "options": {"delay": 60000}}]
    assert len(check("post", "/job", "/job", json=two)) == 2
    check("post", "/job", "/job", json=[{"type": "later"}, {"data": 1}])
    check("post", "/job", "/job", json="x")
    check("post", "/job", "/job", data="x", content_type="text/plain")
    check("post", "/job", "/job", json={"type": "a", "data": "x" * 1_100_000})
    wait_until(lambda: queue.counts()["complete"] == queue.counts()["failed"] == 1)
    assert check("get", "/stats", "/stats")["completeCount"] == 1
    assert "mail" in check("get", "/job/types", "/job/types")
    check("get", "/job/search?q=x", "/job/search")
    for number in (1, 2, 3, 4, 77):
        check("get", f"/job/{number}", "/job/{id}")
        check("get", f"/job/{number}/log", "/job/{id}/log")
    assert len(check("get", "/jobs/0..9", "/jobs/{from}..{to}")) == 4
    check("get", "/jobs/0..9/desc", "/jobs/{from}..{to}/{order}")
    check("get", "/jobs/x..y", "/jobs/{from}..{to}")
    check("get", "/jobs/failed/0..-1", "/jobs/{state}/{from}..{to}")
    check("get", "/jobs/failed/0..9/asc", "/jobs/{state}/{from}..{to}/{order}")
    check("get", "/jobs/mail/complete/0..9", "/jobs/{type}/{state}/{from}..{to}")
    check("get", "/jobs/mail/complete/0..9/desc", "/jobs/{type}/{state}/{from}..{to}/{order}")
    check("get", "/jobs/mail/complete/stats", "/jobs/{type}/{state}/stats")
    for state in ("inactive", "odd"):
        check("put", f"/job/2/state/{state}", "/job/{id}/state/{state}")
    for number, priority in ((3, -10), (3, "x"), (77, 1)):
        check("put", f"/job/{number}/priority/{priority}", "/job/{id}/priority/{priority}")
    check("delete", "/job/1", "/job/{id}")
    check("delete", "/job/1", "/job/{id}")


def test_what_the_pages_ask_for_is_as_described(check: Callable[..., Any], queue: Any) -> None:
    def work(job: Any) -> Any:
        job.progress(5, 10, {"bytes": 5, "total": 10, "rate": 2, "eta_s": 1.5})
        if job.data.get("fail"):
            raise RuntimeError("no")
        return {"file": "x.bin"}

    queue.process("mail", 1, work)
    data = {"url": "http://x/y", "title": "t"}
    queue.create_many(
        [{"type": "mail", "data": data}, {"type": "mail", "data": {"fail": 1}}, {"type": "idle"},
         {"type": "idle", "delay": 60_000}, {"type": "gone"}]
    )  # fmt: skip
    wait_until(lambda: queue.counts()["complete"] == queue.counts()["failed"] == 1)
    queue.set_state(5, "active")
    check("get", "/monitor/home?also=1,2", "/monitor/home")
    for state in ("active", "inactive", "complete", "failed", "delayed"):
        check("get", f"/monitor/list/{state}?type=&order=desc&from=0&after=1", "/monitor/list/{state}")
    check("get", "/monitor/list/failed?from=x", "/monitor/list/{state}")
    assert check("get", "/monitor/search?q=idle", "/monitor/search")["rows"]
    for number in (1, 77):
        check("get", f"/monitor/job/{number}", "/monitor/job/{id}")
    check("get", "/monitor/job/1/log?from=0", "/monitor/job/{id}/log")
    acts = "/monitor/job/{id}/{action}"
    for number, action, body in (
        (3, "priority", {"priority": "high"}), (3, "priority", {}), (3, "copy", {"data": {"n": 1}}), (3, "retry", {}),
        (4, "promote", {}), (5, "cancel", {}), (5, "remove", {}), (77, "remove", {}), (3, "odd", {}),
    ):  # fmt: skip
        check("post", f"/monitor/job/{number}/{action}", acts, json=body)
    check("get", "/monitor/bulk/preview?state=failed", "/monitor/bulk/preview")
    check("get", "/monitor/bulk/preview?state=odd", "/monitor/bulk/preview")
    check("get", "/monitor/bulk/preview?q=x&act=retry", "/monitor/bulk/preview")
    begun = check("post", "/monitor/bulk", "/monitor/bulk", json={"act": "retry", "state": "failed"})
    check("post", "/monitor/bulk", "/monitor/bulk", json={"act": "retry", "state": "active"})
    for bulk_id in (begun["id"], "nothing"):
        check("get", f"/monitor/bulk/{bulk_id}", "/monitor/bulk/{bulk}")
        check("delete", f"/monitor/bulk/{bulk_id}", "/monitor/bulk/{bulk}")
    check("get", "/monitor/system", "/monitor/system")
    asked = (("pause", "idle"), ("resume", "idle"), ("pause", ""), ("odd", "idle"), ("concurrency", "idle"))
    for action, kind in asked:
        check("post", f"/monitor/type/{action}", "/monitor/type/{type_action}", json={"type": kind})
    limits = "/monitor/downloads/limits"
    check("get", limits, limits)
    check("post", limits, limits, json={"rate": "5M"})
    check("post", limits, limits, json={"odd": "5M"})
    check("get", "/files/none", "/files/{name}")
    check("delete", "/files/none", "/files/{name}")
    check("get", "/healthz", "/healthz")
    check("get", "/metrics", "/metrics")
    check("post", "/login", "/login", data={})
    check("post", "/logout", "/logout")


def test_what_needs_no_login_is_what_the_document_says(make_site: Callable[..., Any]) -> None:
    http = make_site(KUE_AUTH="a:b").http()
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                path = path.replace("{" + parameter["name"] + "}", str(parameter["example"]))
            answer = http.open(path, method=method.upper(), json={}, headers={"Range": "bytes=0-9"})
            if (path, method) != ("/login", "post"):  # which answers 401 to nothing being typed
                assert (answer.status_code == 401) == bool(operation["security"]), path
