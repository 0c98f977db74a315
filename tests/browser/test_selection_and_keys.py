"""Selected rows, keyboard shortcuts, folded JSON, and the live overview."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kue
from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'


@pytest.fixture
def queue(redis_url: str) -> Iterator[Any]:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(1)


@pytest.fixture
def failed(queue: Any) -> list[int]:
    """Six failed jobs, newest first as the page lists them."""
    queue.create_many([{"type": "a", "data": {"title": f"job {n}"}} for n in range(6)])
    for job_id in range(1, 7):
        queue.set_state(job_id, "failed")
    return [6, 5, 4, 3, 2, 1]


def test_rows_are_selected_with_shift_and_retried_together(
    monitor: Any, queue: Any, failed: list[int], open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{monitor.url}/failed")
    page.wait_for_selector(LIVE)
    boxes = page.locator(".job_pick input")
    boxes.nth(1).check()
    boxes.nth(3).click(modifiers=["Shift"])
    assert page.inner_text("#selection [data-part=number]") == "3 selected"
    boxes.nth(2).uncheck()
    assert page.locator("#selection [data-selection=promote]").is_hidden()
    queue.remove(1)  # a row that goes away does not disturb the selection
    page.wait_for_selector("#job_1", state="detached")
    page.click("#selection [data-selection=retry]")
    page.wait_for_selector("#bulk_message:has-text('Retried 2.')", timeout=30_000)
    assert page.locator("#selection").is_hidden()
    assert [queue.get(n).state for n in (2, 3, 4, 5, 6)] == ["failed", "inactive", "failed", "inactive", "failed"]


def test_selected_jobs_are_removed_by_keyboard_alone(
    monitor: Any, queue: Any, failed: list[int], open_page: Callable[..., Any]
) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/failed")
    page.wait_for_selector(LIVE)
    for key in ("j", "j", "x", "j", "Shift+X"):
        page.keyboard.press(key)
    assert page.inner_text("#selection [data-part=number]") == "2 selected"
    for _ in range(200):
        if page.evaluate("document.activeElement.matches('[data-selection=remove]')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm_text:has-text('Remove 2 jobs?')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_until(lambda: queue.counts()["failed"] == 4, timeout=30)
    assert {job_id for job_id in failed if job_id not in queue.failed()} == {4, 5}


def test_shortcuts_are_listed_and_can_be_turned_off(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.keyboard.press("/")
    page.keyboard.type("?g")  # in a field they are letters
    assert page.input_value("[type=search]") == "?g" and page.locator("#shortcuts").is_hidden()
    page.locator("[type=search]").blur()
    page.keyboard.press("?")
    page.wait_for_selector("#shortcuts[open]")
    page.uncheck("#shortcuts_on")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#shortcuts").is_hidden()
    page.reload()
    page.wait_for_selector(LIVE)
    page.keyboard.press("?")
    assert page.locator("#shortcuts").is_hidden()
    page.click("#shortcuts_button")
    page.wait_for_selector("#shortcuts[open]")


def test_json_is_folded_and_copied_and_stays_as_it_was_left(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    data = {"title": "x", "list": list(range(30)), "html": "<b>&amp;</b>", "empty": {}}
    queue.create("a", data).save()
    page = open_page(f"{monitor.url}/job/1")
    page.wait_for_selector(LIVE)
    assert page.locator("pre[data-json]").is_hidden()
    folded = page.locator(".json_fold .json_fold")
    assert folded.get_attribute("open") is None and "30 items" in folded.inner_text()
    folded.locator("summary").click()
    assert "29" in folded.inner_text() and '"<b>&amp;</b>"' in page.inner_text(".json_tree")
    queue.set_state(1, "failed")  # the part is replaced
    page.wait_for_selector("#log_1:text-is('Failed')")
    page.wait_for_selector("[data-action=retry]:not([hidden])")
    assert page.locator(".json_fold .json_fold").get_attribute("open") is not None
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.click(".json_copy")
    page.wait_for_function("window.copied !== undefined")
    assert page.evaluate("JSON.parse(window.copied)") == data


def test_the_overview_follows_the_queue(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{monitor.url}/overview")
    page.wait_for_selector(LIVE)
    queue.create_many([{"type": "mail"} for _ in range(1_200)])
    page.wait_for_selector(".tile [data-count=inactive]:text-is('1,200')")  # by a frame
    page.wait_for_selector("tr[data-type=mail]")  # by the next fetch
    assert "#1 mail" in page.inner_text("text='Oldest waiting job' >> xpath=..")
