"""The limits of downloads on the system page."""

from __future__ import annotations

from typing import Any

import pytest

from kue.downloads import changed_limits

PATH = "/monitor/downloads/limits"


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def test_limits_are_shown_and_changed(http: Any, queue: Any) -> None:
    assert http.get(PATH).json == {"rate": "", "per_host": "", "min_free": "256M"}
    assert 'name="min_free" value="256M"' in http.get("/system").text
    answer = http.post(PATH, json={"rate": "5M", "per_host": 2})
    assert answer.json == {"rate": "5M", "per_host": "2", "min_free": "256M"}
    assert changed_limits(queue) == {"rate": 5 * 2**20, "per_host": 2}
    assert http.post(PATH, json={"rate": "", "min_free": "1000"}).json["min_free"] == "1000"
    assert changed_limits(queue) == {"rate": None, "per_host": 2, "min_free": 1000}
    assert http.post(PATH, json={"min_free": ""}).json["min_free"] == ""


@pytest.mark.parametrize("body", [None, [], {}, {"slots": 1}, {"rate": "fast"}, {"rate": True}, {"per_host": -1}])
def test_what_is_no_limit_is_refused_in_words(http: Any, queue: Any, body: Any) -> None:
    answer = http.post(PATH, json=body)
    assert answer.status_code == 400 and answer.json["error"]
    assert changed_limits(queue) == {}
