"""The Grafana dashboard and the alert rules ask for what `/metrics` really has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import kue
from tests.support import ROOT, wait_until

EXAMPLES = ROOT / "examples"
#: Labels that Prometheus adds to what it scrapes.
OF_TARGET = {"job", "instance"}
FUNCTIONS = {"histogram_quantile", "rate", "increase", "deriv", "sum", "max", "min", "absent"}
KEYWORDS = {"by", "on", "and", "unless", "or"}
#: What one metric has: the values of each label.
Labels = dict[str, set[str]]


@pytest.fixture
def exported(make_site: Callable[..., Any], queue: kue.Queue) -> dict[str, Labels]:
    """The names, labels and values of a `/metrics` with something in each metric."""
    site = make_site()

    @queue.process("works")
    def works(job: kue.Job) -> None:
        if job.data == "fail":
            raise ValueError("on purpose")

    queue.process("limited", lambda job: None)
    queue.limit("limited", concurrency=1)
    queue.schedule("often", "works", every=1000)
    queue.webhook(["failed"], "https://192.0.2.1/hook", name="hook")
    for job in queue.create_many([{"type": "works"}, {"type": "limited"}, {"type": "works", "delay": 60_000}])[:2]:
        job.wait(20)
    queue.create("waits").save()
    queue.webhook(["alert"], "https://h.invalid/", name="ops")
    entry = {"text": "x", "bad_since": "1", "started_at": "1", "seen_at": "2"}
    queue.session.connector.shared().hset("q:alerts", "redis_memory", json.dumps(entry))
    with pytest.raises(kue.JobFailed):
        queue.create("works", "fail").attempts(2).save().wait(20)
    found: dict[str, Labels] = {}

    def read() -> bool:
        found.clear()
        for family in text_string_to_metric_families(site.http().get("/metrics").text):
            if family.type in ("gauge", "counter"):  # also without samples
                found[family.name + ("_total" if family.type == "counter" else "")] = {}
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    labels.setdefault(name, set()).add(value)
        outcomes = found.get("kue_attempts_total", {}).get("outcome", set())
        has_fired = bool(found.get("kue_schedule_lateness_seconds"))
        return "kue_run_seconds_bucket" in found and len(outcomes) == 3 and has_fired

    wait_until(read, 30)
    return found


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((EXAMPLES / "grafana" / "dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((EXAMPLES / "prometheus" / "alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def mistakes(expr: str, exported: dict[str, Labels]) -> Iterator[str]:
    """Yield what an expression asks for that is not there."""
    labels = set(OF_TARGET)
    for name, matchers in re.findall(r"\b(kue_\w+|up)(\{[^}]*\})?", expr):
        known = exported.get(name)
        if name != "up" and known is None:
            yield f"no metric {name}"
        known = known or {}
        labels |= known.keys()
        for label, _, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            if label not in known and label not in OF_TARGET:
                yield f"{name} has no label {label}"
            elif label in known and not value.startswith("$"):
                yield from (f"no {label} {each}" for each in value.split("|") if each not in known[label])
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", expr)
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", bare):
        yield from (f"no label {each}" for each in re.findall(r"\w+", group) if each not in labels)
    bare = re.sub(r"\b(by|on)\s*\([^)]*\)", "", bare)
    for word, call in re.findall(r"\b([A-Za-z_]\w*)\s*(\(?)", bare):
        if not (word in FUNCTIONS if call and word not in KEYWORDS else word in KEYWORDS | {"up"} or word in exported):
            yield f"{word} is nothing"


def kept_labels(expr: str) -> set[str]:
    """Return the labels of an expression's result: those of its first aggregation."""
    found = re.search(r"\bby\s*\(([^)]*)\)", expr)
    return set(re.findall(r"\w+", found[1])) - {"le"} if found else set()


def test_dashboard_and_alerts_ask_for_what_is_exported(exported: dict[str, Labels]) -> None:
    wanted = {panel["title"]: [each["expr"] for each in panel["targets"]] for panel in panels()}
    wanted |= {rule["alert"]: [rule["expr"]] for rule in rules()}
    found = {f"{name}: {mistake}" for name, each in wanted.items() for expr in each
             for mistake in mistakes(expr, exported)}  # fmt: skip
    assert found == set()
    used = {name for each in wanted.values() for expr in each for name in re.findall(r"\bkue_\w+", expr)}
    assert len(used) > 25
    # And a mistake would be found
    for expr in (
        "kue_jbos", 'kue_jobs{state="waiting"}', 'kue_jobs{stat="active"}', "sum by (kind) (kue_jobs)", "sum(foo)",
        "rat(kue_jobs[5m])", "max by (le) (kue_jobs)",
    ):  # fmt: skip
        assert list(mistakes(expr, exported)) != [], expr


def test_the_dashboard_is_one_that_grafana_can_draw() -> None:
    dashboard = json.loads((EXAMPLES / "grafana" / "dashboard.json").read_text())
    variables = {each["name"] for each in dashboard["templating"]["list"]} | {"__rate_interval"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 20 and dashboard["schemaVersion"] >= 39 and "id" not in dashboard
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({each["refId"] for each in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables, panel["title"]
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert named <= kept_labels(target["expr"]), panel["title"]


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10 and all(name.startswith("Kue") for name in names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        said = rule["annotations"]
        assert set(said) == {"summary", "description"} and all(said.values())
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(said.values())))
        assert named <= (kept_labels(rule["expr"]) or OF_TARGET), rule["alert"]
