"""The main job in a real browser: click Start, watch it run, find the file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

import kue
from kue.web.pages.sample_file import SIZE_BYTES, sample_bytes
from tests.browser.conftest import both_ways
from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'


def start(page: Any) -> str:
    """Press Start job; return the new job's id."""
    page.wait_for_selector(LIVE)
    before = page.evaluate("window.lastStarted || ''")
    page.click("#button_start")

    def started() -> Any:
        text = str(page.inner_text("#start_message"))
        return text if text.startswith("Started job") and text != before else None

    text: str = wait_until(started)
    page.evaluate("text => { window.lastStarted = text; }", text)
    return text.removeprefix("Started job ").rstrip(".")


def label(page: Any, job_id: str, text: str) -> None:
    page.wait_for_selector(f'#log_{job_id}:text-is("{text}")')


@both_ways
@pytest.mark.slow
def test_two_browsers_see_a_download_run_and_complete_and_the_file_is_there(
    make_program: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    program = make_program(DOWNLOAD_RATE="2M")  # it still runs when the last page has come
    first, second = open_page(program.url), open_page(program.url)
    second.wait_for_selector(LIVE)
    job_id = start(first)
    for page in (first, second):
        label(page, job_id, "Running")
        assert page.inner_text(f"#job_{job_id} a.job_id") == job_id
        assert page.locator(f"ul#list span#log_{job_id}.span_log").count() == 1
    wait_until(lambda: first.evaluate(f"document.querySelector('#job_{job_id} progress').value") > 10)
    late = open_page(program.url)  # a page loaded while the job runs shows it, and goes on
    assert late.inner_text(f"#log_{job_id}") == "Running"
    for page in (first, second, late):
        label(page, job_id, "Completed")
    name = first.inner_text(f"#job_{job_id} [data-part=file]")
    whole = hashlib.sha256(b"".join(sample_bytes(0, SIZE_BYTES))).hexdigest()
    assert hashlib.sha256((program.downloads / name).read_bytes()).hexdigest() == whole
    with first.expect_download() as download:
        first.click(f"#job_{job_id} [data-part=file]")
    assert download.value.suggested_filename == name


def test_a_job_behind_the_limit_is_queued_and_a_failed_one_says_why(
    monitor: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(monitor.url)
    first, second = start(page), start(page)
    label(page, first, "Running")
    label(page, second, "Queued")
    page.fill("#start_url", "ftp://example.com/x")
    page.click("#button_start")
    page.wait_for_selector("#start_message.is_bad")
    assert "http" in page.inner_text("#start_message")
    page.fill("#start_url", f"{monitor.url}/nothing-here")
    page.click("#start_form summary")
    page.fill("[name=attempts]", "1")
    failed = start(page)
    label(page, second, "Completed")
    label(page, failed, "Failed")
    page.wait_for_function(
        "id => document.querySelector(`#job_${id} .job_detail`).innerText.includes('404')", arg=failed
    )


@pytest.mark.slow
def test_the_page_says_that_it_is_not_live_and_is_right_again_after_a_restart(
    program: Any, redis_url: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(program.url)
    job_id = start(page)
    label(page, job_id, "Running")
    program.stop()
    page.wait_for_selector('#live_status[data-live="stale"]')
    queue = kue.create_queue(redis_url)
    waiting = queue.create("elsewhere", {"title": "made meanwhile"}).save()
    program.start()
    page.wait_for_selector(LIVE)
    label(page, str(waiting.id), "Queued")
    label(page, job_id, "Completed")
    queue.shutdown(1)


def test_what_happens_while_the_line_is_dead_is_shown_once_it_is_back(
    monitor: Any, redis_url: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    fetches: list[str] = []
    page.on("request", lambda request: "/monitor/home" in request.url and fetches.append(request.url))
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    queue = kue.create_queue(redis_url)
    job = queue.create("elsewhere", {"title": "unseen"}).save()
    page.context.set_offline(False)
    label(page, str(job.id), "Queued")
    queue.remove(job.id)
    page.wait_for_selector(f"#job_{job.id}", state="detached")
    wait_until(lambda: page.locator(LIVE).count() == 1)
    queue.shutdown(1)
