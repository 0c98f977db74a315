"""Webhooks and alerts over HTTP: made, changed, tested and removed; and what is never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

import kue
from tests.web.api.test_openapi import check, http

__all__ = ["check", "http"]

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgb2YgMzIgYnl0ZXM="


def test_the_life_of_a_webhook_is_as_described(check: Any, queue: Any) -> None:
    assert check("get", "/webhooks", "/webhooks") == [] == check("get", "/alerts", "/alerts")
    body = {"name": "ops", "url": "https://h.example/x?token=abcd", "events": ["failed"], "secret": SECRET}
    made = check("post", "/webhooks", "/webhooks", json=body)
    assert (made["name"], made["url"], made["events"]) == ("ops", "https://h.example/x?…", ["failed"])
    assert check("get", "/webhooks/ops", "/webhooks/{webhook}") == made == check("get", "/webhooks", "/webhooks")[0]
    tested = check("post", "/webhooks/ops/test", "/webhooks/{webhook}/{webhook_action}")
    assert queue.get(tested["id"]).data["webhook"] == "ops"
    check("post", "/webhooks/ops/disable", "/webhooks/{webhook}/{webhook_action}")
    assert "already disabled" in check("post", "/webhooks/ops/disable", "/webhooks/{webhook}/{webhook_action}")["error"]
    assert "enable it first" in check("post", "/webhooks/ops/test", "/webhooks/{webhook}/{webhook_action}")["error"]
    assert check("get", "/webhooks/ops", "/webhooks/{webhook}")["disabled_why"] == "by hand"
    check("post", "/webhooks/ops/enable", "/webhooks/{webhook}/{webhook_action}")
    check("delete", "/webhooks/ops", "/webhooks/{webhook}")
    for method, path in (("get", ""), ("delete", ""), ("post", "/test"), ("post", "/enable")):
        described = "/webhooks/{webhook}/{webhook_action}" if path else "/webhooks/{webhook}"
        assert "does not exist" in check(method, f"/webhooks/ops{path}", described)["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "send an object"),
        ({"url": "https://h/", "events": ["failed"], "what": 1}, "send an object"),
        ({"url": "https://h/", "events": ["failed"]}, "secret is missing"),
        ({"url": "https://h/", "events": ["failed"], "secret": "swordfish"}, "24 to 64 bytes"),
        ({"url": "https://h/", "events": ["fialed"], "secret": SECRET}, "no event 'fialed'"),
        ({"url": "file:///etc/passwd", "events": ["failed"], "secret": SECRET}, "https://example.com/hook"),
    ],
)
def test_a_wrong_body_is_refused(check: Any, body: Any, said: str) -> None:
    told = check("post", "/webhooks", "/webhooks", json=body)["error"]
    assert said in told and "swordfish" not in told


def test_no_secret_is_on_a_page_in_an_answer_or_in_metrics(make_site: Any, queue: kue.Queue) -> None:
    site = make_site()
    slack_url = "https://hooks.slack.com/services/T0/B0/abcd"
    queue.webhook(["failed"], slack_url, name="slack", format="slack", secret=SECRET)
    queue.webhook(["alert"], "https://h.example/x?token=abcd", name="ops", secret=SECRET)
    job = queue.test_webhook("slack")
    entry = {"text": "Redis <is> full", "bad_since": "1", "started_at": "1", "seen_at": "2"}
    queue.session.connector.shared().hset("q:alerts", "redis_memory", json.dumps(entry))
    client = site.http()
    html = {"headers": {"Accept": "text/html"}}
    paths = [("/alerts", html), ("/webhooks", html), ("/webhooks", {}), ("/metrics", {}), ("/monitor/alerts", {})]
    paths += [(f"/job/{job.id}", html), (f"/job/{job.id}", {}), ("/inactive", html), ("/system", html)]
    told = {}
    for path, options in paths:
        answer = client.get(path, **options)
        told[path] = answer.get_data(as_text=True)
        assert answer.status_code == 200 and SECRET[6:] not in told[path] and "abcd" not in told[path], path
    assert "https://hooks.slack.com/…" in told["/monitor/alerts"] and "Redis &lt;is&gt; full" in told["/monitor/alerts"]
    assert 'kue_alert_active{alert="redis_memory"} 1.0' in told["/metrics"]
    assert 'kue_webhook_attempts_total{outcome="delivered",webhook="ops"} 0.0' in told["/metrics"]
    assert client.get("/alerts").get_json()[0]["name"] == "redis_memory"


def test_who_may_only_read_changes_nothing(make_site: Any, queue: kue.Queue) -> None:
    site = make_site(KUE_AUTH="ada:secret", KUE_AUTH_READONLY="eva:secret")
    queue.webhook(["failed"], "https://h.example/", name="ops")
    eva = {"headers": {"Accept": "text/html"}, "auth": ("eva", "secret")}
    page = site.http().get("/alerts", **eva).get_data(as_text=True)
    assert "ops" in page and "Send a test" not in page
    for method, path in (("post", "/webhooks/ops/test"), ("delete", "/webhooks/ops"), ("post", "/webhooks")):
        assert site.http().open(path, method=method, auth=("eva", "secret"), json={}).status_code == 403
    assert queue.webhook_count() == 1
