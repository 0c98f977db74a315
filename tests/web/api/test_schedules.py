"""Schedules over HTTP: made, changed, previewed, paused, run and removed; and how they show in metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kue import Schedule
from tests.web.api.test_openapi import check, http

__all__ = ["check", "http"]


def test_the_life_of_a_schedule_is_as_described(check: Any, queue: Any) -> None:
    assert check("get", "/schedules", "/schedules") == []
    body = {"name": "nightly", "type": "report", "data": {"of": "x"}, "options": {"priority": "high", "attempts": 2},
            "cron": "0 3 * * *", "timezone": "Europe/Berlin", "jitter": "5m", "missed": "all"}  # fmt: skip
    made = check("post", "/schedules", "/schedules", json=body)
    assert (made["cron"], made["jitter"], made["options"]) == ("0 3 * * *", 300_000, {"attempts": 2, "priority": -10})
    assert made["upcoming"][0] == made["next_at"] and len(made["upcoming"]) == 10
    ran = check("post", "/schedules/nightly/run", "/schedules/{schedule}/{schedule_action}")
    assert queue.get(ran["id"]).schedule == "nightly"
    assert check("post", "/schedules/nightly/pause", "/schedules/{schedule}/{schedule_action}")["message"]
    again = check("post", "/schedules/nightly/pause", "/schedules/{schedule}/{schedule_action}")
    assert "already paused" in again["error"]
    one = check("get", "/schedules/nightly", "/schedules/{schedule}")
    assert one["paused"] and one["runs"][0]["job"] == ran["id"] and one["runs"][0]["state"] == "inactive"
    check("post", "/schedules/nightly/resume", "/schedules/{schedule}/{schedule_action}")
    queue.remove(ran["id"])
    assert check("get", "/schedules", "/schedules")[0]["runs"][0]["state"] == "removed"
    # What was read may be sent back, but for what nobody may set
    sent = {name: value for name, value in one.items() if name in body}
    assert check("post", "/schedules", "/schedules", json=sent)["next_at"] == made["next_at"]
    # Without data it keeps that
    del sent["data"]
    assert check("post", "/schedules", "/schedules", json={**sent, "cron": "0 4 * * *"})["data"] == {"of": "x"}
    check("delete", "/schedules/nightly", "/schedules/{schedule}")
    for method, path in (("get", ""), ("delete", ""), ("post", "/run"), ("post", "/pause"), ("post", "/resume")):
        described = "/schedules/{schedule}/{schedule_action}" if path else "/schedules/{schedule}"
        assert "does not exist" in check(method, f"/schedules/nightly{path}", described)["error"]


def test_names_may_hold_slashes_and_blanks(check: Any, queue: Any) -> None:
    queue.schedule("a b/ü", "t", every=60_000)
    assert check("get", "/schedules/a%20b/%C3%BC", "/schedules/{schedule}")["name"] == "a b/ü"
    check("post", "/schedules/a%20b%2F%C3%BC/pause", "/schedules/{schedule}/{schedule_action}")
    assert queue.get_schedule("a b/ü").paused


@pytest.mark.parametrize(("body", "said"), [
    (None, "send an object"),
    ({"name": "x", "type": "t", "what": 1}, "send an object"),
    ({"name": "", "type": "t", "every": "5m"}, "name"),
    ({"name": "x", "every": "5m"}, "type"),
    ({"name": "x", "type": "t"}, "one of cron"),
    ({"name": "x", "type": "t", "cron": "* * * *"}, "invalid cron '* * * *'"),
    ({"name": "x", "type": "t", "cron": "0 0 30 2 *"}, "cron"),
    ({"name": "x", "type": "t", "cron": "0 3 * * *", "timezone": "Nowhere"}, "timezone"),
    ({"name": "x", "type": "t", "every": "soon"}, "every"),
    ({"name": "x", "type": "t", "every": 1}, "every"),
    ({"name": "x", "type": "t", "at": "tomorrow"}, "at must be a date"),
    ({"name": "x", "type": "t", "every": "5m", "limit": 0}, "limit"),
    ({"name": "x", "type": "t", "every": "5m", "overlap": "maybe"}, "overlap"),
    ({"name": "x", "type": "t", "every": "5m", "options": {"attempts": -1}}, "attempts"),
    ({"name": "x", "type": "t", "every": "5m", "options": {"color": "red"}}, "options"),
    ({"name": "x:jobs", "type": "t", "every": "5m"}, "keys of job types"),
])  # fmt: skip
def test_what_is_wrong_is_said(check: Any, queue: Any, body: Any, said: str) -> None:
    assert said in check("post", "/schedules", "/schedules", json=body)["error"]
    if body is None or "options" not in body or "color" in body["options"]:
        assert said in check("post", "/schedules/preview", "/schedules/preview", json=body)["error"]
    assert queue.schedules() == []


def test_the_preview_saves_nothing(check: Any, queue: Any) -> None:
    body = {"name": "x", "type": "t", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    upcoming = check("post", "/schedules/preview", "/schedules/preview", json=body)["upcoming"]
    assert len(upcoming) == 10 and upcoming == sorted(set(upcoming))
    assert queue.schedules() == []
    assert queue.save_schedule(Schedule("x", "t", cron="30 2 * * *", timezone="Europe/Berlin")).upcoming() == upcoming


def test_only_who_may_write_changes_schedules(make_site: Any, queue: Any) -> None:
    site = make_site(KUE_AUTH="a:b", KUE_AUTH_READONLY="r:s")
    queue.schedule("s", "t", every=60_000)
    http = site.http()
    assert http.get("/schedules").status_code == 401
    reader = {"auth": ("r", "s")}
    assert len(http.get("/schedules", **reader).json) == 1
    for path in ("/schedules", "/schedules/preview", "/schedules/s/run"):
        assert http.post(path, json={}, **reader).status_code == 403
    assert http.delete("/schedules/s", **reader).status_code == 403
    page = http.get("/schedules", headers={"Accept": "text/html"}, **reader).text
    assert "schedule_form" not in page and "Run now" not in page


def test_the_page_and_the_tab_are_there_if_there_are_schedules(make_site: Any, queue: Any) -> None:
    site = make_site(downloads=False)
    http = site.http()
    assert 'href="/schedules"' not in http.get("/overview").text
    queue.schedule("<b>bold</b>", "report", every=timedelta(minutes=5))
    del site.app.extensions["kue_has_schedules"]
    assert 'href="/schedules"' in http.get("/overview").text
    page = http.get("/schedules", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "&lt;b&gt;bold&lt;/b&gt;" in page.text and "every 5 min" in page.text
    assert http.get("/monitor/schedules").status_code == 200
    job = queue.run_schedule_now("<b>bold</b>")
    assert "Created by schedule" in http.get(f"/job/{job.id}", headers={"Accept": "text/html"}).text


def test_metrics_tell_of_each_schedule(http: Any, queue: Any) -> None:
    queue.schedule("s", "t", every=60_000)
    lines = http.get("/metrics").text.splitlines()
    for name in ("kue_schedule_overdue_seconds", "kue_schedule_jobs_total", "kue_schedule_skipped_total"):
        assert f'{name}{{schedule="s"}} 0.0' in lines
