"""Many downloads at once: lines pasted into the URL field, and a text file dropped onto the page."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'
EVENT = """([kind, target, text]) => {
  const data = new DataTransfer();
  if (kind === "drop") data.items.add(new File([text], "urls.txt", { type: "text/plain" }));
  else data.setData("text/plain", text);
  const options = { bubbles: true, cancelable: true, [kind === "drop" ? "dataTransfer" : "clipboardData"]: data };
  const event = kind === "drop" ? new DragEvent("drop", options) : new ClipboardEvent("paste", options);
  document.querySelector(target).dispatchEvent(event);
}"""


def test_pasted_lines_are_checked_corrected_and_started_together(monitor: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    sample = page.input_value("#start_url")
    page.evaluate(EVENT, ["paste", "#start_url", f"{sample}?1\nexample.com/x\n\n{sample}?1\n{sample}?2\n"])
    page.wait_for_selector("#start_list_summary:text-is('2 URLs, 1 duplicate skipped, 1 line invalid')")
    problems = page.inner_text("#start_list_problems")
    assert "Line 2: example.com/x: The URL has no scheme. Did you mean https://example.com/x?" in problems
    assert "Duplicate of line 1" in problems
    page.fill("#start_list_text", f"{sample}?1\n{sample}?2\n{sample}?3")
    page.wait_for_selector("#start_list_start:text-is('Start 3 jobs')")
    page.click("#start_list_start")
    page.wait_for_selector("#start_list_summary:text-is('Started 3 jobs.')")
    page.wait_for_selector("#log_3")


def test_a_dropped_text_file_is_a_list(monitor: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.evaluate(EVENT, ["drop", "body", "# a list\nhttp://127.0.0.1:1/x\nhttp://a.example/1"])
    page.wait_for_selector("#start_list_summary:text-is('1 URL, 1 line invalid')")
    assert "Refused: 127.0.0.1 is a loopback address" in page.inner_text("#start_list_problems")
    wait_until(lambda: page.inner_text("#start_list_start") == "Start 1 job")


def test_one_pasted_url_stays_in_its_field(monitor: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.evaluate(EVENT, ["paste", "#start_url", "http://a.example/1\n"])
    assert page.is_hidden("#start_list")


def test_the_url_that_was_meant_is_one_click_away(monitor: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.fill("#start_url", "example.com/x")
    page.click("#button_start")
    page.click("#start_message button:text-is('Use this URL')")
    wait_until(lambda: page.input_value("#start_url") == "https://example.com/x")
    wait_until(lambda: page.inner_text("#start_message") == "")


@pytest.mark.slow
def test_several_downloads_and_their_archive_are_three_clicks(program: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(program.url)
    page.wait_for_selector(LIVE)
    page.click("#start_list_open")
    page.wait_for_selector("#start_list_start:text-is('Start 3 jobs')")
    page.check("#start_list_archive")
    page.click("#start_list_start")
    told = "Started 3 jobs. Job 1 then archives the files."
    page.wait_for_selector(f"#start_list_summary:text-is('{told}')")
    file = page.wait_for_selector("#job_1 .job_file:visible", timeout=60_000)
    with page.expect_download() as download:
        file.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["10mb.bin", "10mb (2).bin", "10mb (3).bin"] and archive.testzip() is None
