"""The page of schedules: what runs next, pause, run now, and a form with the next ten times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kue
from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'


@pytest.fixture
def queue(redis_url: str) -> Any:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(1)


@pytest.mark.slow
def test_a_schedule_is_made_run_changed_paused_and_removed(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(monitor.url, timezone_id="Europe/Berlin")
    page.click("nav a:has-text('Schedules')")
    page.wait_for_selector(LIVE)
    # When somebody types, the next times are shown
    page.fill("[name=name]", "nightly")
    page.fill("[name=type]", "report")
    page.fill("[name=cron]", "nonsense")
    page.wait_for_selector("#form_message:has-text('invalid cron')")
    page.fill("[name=cron]", "30 2 * * *")
    page.wait_for_selector("#preview li >> nth=9")
    assert page.inner_text("#preview_heading") == "Next 10 times (Europe/Berlin)"
    assert all(text.endswith("02:30:00") for text in page.locator("#preview li").all_inner_texts())
    page.click("summary:has-text('Job, overlap')")
    page.fill("[name=data]", '{"url": "https://me:secret@example.com/"}')
    page.fill("[name=options]", '{"attempts": 3}')
    # And saved
    page.click("#schedule_form button[type=submit]")
    page.wait_for_selector("tr[data-schedule=nightly]")
    saved = queue.get_schedule("nightly")
    assert (saved.definition.cron, saved.definition.timezone) == ("30 2 * * *", "Europe/Berlin")
    # It runs now, and its job leads back to it
    page.click("tr[data-schedule=nightly] [data-action=run]")
    page.click("tr[data-schedule=nightly] .runs a:has-text('Queued')")
    page.wait_for_url("**/job/1")
    page.click("a:has-text('nightly')")
    page.wait_for_selector(LIVE)
    # It is changed, without touching the data that the page does not show as it is
    page.click("tr[data-schedule=nightly] [data-action=edit]")
    page.wait_for_selector("#form_heading:has-text('Edit nightly')")
    assert "secret" not in page.input_value("[name=data]")
    page.select_option("[name=rule]", "every")
    page.fill("[name=every]", "2h")
    page.click("#schedule_form button[type=submit]")
    page.wait_for_selector("tr[data-schedule=nightly]:has-text('every 2 h')")
    saved = queue.get_schedule("nightly")
    assert saved.data == {"url": "https://me:secret@example.com/"} and saved.definition.options == {"attempts": 3}
    # Paused, resumed, and removed after a question
    page.click("tr[data-schedule=nightly] [data-action=pause]")
    page.wait_for_selector("tr[data-schedule=nightly] .job_priority:text-is('paused')")
    page.click("tr[data-schedule=nightly] [data-action=resume]")
    page.wait_for_selector("tr[data-schedule=nightly] [data-action=pause]")
    page.click("tr[data-schedule=nightly] [data-action=remove]")
    page.click("#confirm [data-part=yes]")
    page.wait_for_selector("tr[data-schedule=nightly]", state="detached")
    wait_until(lambda: queue.schedules() == [])
