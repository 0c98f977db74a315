"""Using the pages beyond the first job: run as new, follow a log, read-only access, no JavaScript."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kue
from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'
TOKEN = "0123456789abcdef-token"


@pytest.fixture
def queue(redis_url: str) -> Iterator[Any]:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(1)


def test_a_jobs_log_grows_while_it_is_followed_and_stays_where_somebody_reads(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    go, end = threading.Event(), threading.Event()

    def work(job: Any) -> None:
        for number in range(100):
            job.log(f"early line {number}")
        go.wait(20)
        job.log("the late line")
        end.wait(20)

    queue.process("a", 1, work)
    queue.create("a").save()
    try:
        page = open_page(f"{monitor.url}/job/1")
        page.wait_for_selector(LIVE)
        page.wait_for_selector("#job_log:has-text('early line 99')")
        page.wait_for_function("(() => { const box = document.getElementById('job_log'); "
                               "return box.scrollTop + box.clientHeight >= box.scrollHeight - 8; })()")  # fmt: skip
        page.evaluate("document.getElementById('job_log').scrollTop = 0")
        page.wait_for_selector("#log_follow input:not(:checked)")
        go.set()
        page.wait_for_selector("#job_log:has-text('the late line')")
        assert page.evaluate("document.getElementById('job_log').scrollTop") == 0
    finally:
        go.set()
        end.set()
    page.wait_for_selector("#log_1:text-is('Completed')")
    assert page.inner_text("#job_log").count("early line") == 100


def test_a_failed_job_is_run_as_new_with_other_data_and_each_links_to_the_other(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    queue.create("a", {"n": 1}, priority="high").save()
    queue.set_state(1, "failed")
    page = open_page(f"{monitor.url}/job/1")
    page.wait_for_selector(LIVE)
    page.click("summary:has-text('Edit data')")
    page.fill("textarea[name=data]", '{"n": ')
    page.click("text='Run as a new job'")
    page.wait_for_selector("#act_message:text-is('The data is not valid JSON.')")
    page.fill("textarea[name=data]", '{"n": 2}')
    page.click("text='Run as a new job'")
    page.wait_for_url("**/job/2")
    assert queue.get(2).data == {"n": 2} and queue.get(2).options.priority == -10
    page.click("text='job 1'")
    page.wait_for_url("**/job/1")
    assert page.inner_text(".links") == "Copied to job 2."


def test_a_waiting_jobs_reason_and_priority_are_seen_and_changed(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    queue.create_many([{"type": "a"}, {"type": "a"}])
    page = open_page(f"{monitor.url}/job/2")
    page.wait_for_selector(LIVE)
    assert page.inner_text("#why") == "Waiting to run. No worker processes jobs of type a."
    page.select_option("#priority_form select", "critical")
    page.click("text='Set priority'")
    page.wait_for_selector("#job_2 .job_priority:text-is('critical')")
    assert queue.get(2).options.priority == -15
    queue.pause("a")
    page.wait_for_selector("#why:has-text('Type a is paused.')")  # by itself, within some seconds


def test_the_system_page_shows_workers_and_charts_and_pauses_a_type(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{monitor.url}/system")
    page.wait_for_selector(LIVE)
    page.wait_for_selector("text='this process'")
    queue.process("mail", 2, lambda job: None)
    queue.create("mail").save().wait(10)
    page.wait_for_selector("tr[data-type=mail] a[href='/complete?type=mail']")
    page.wait_for_selector("rect.bar_done", state="attached")  # written every few seconds, and looked for as often
    page.click("tr[data-type=mail] button")
    page.wait_for_selector("tr[data-type=mail] .job_priority:text-is('paused')")
    assert queue.paused() == ["mail"]
    page.click("summary:has-text('Last hour by minute: table')")
    completed = page.locator("[data-details=chart_minutes] tbody td:nth-child(2)").all_inner_texts()
    assert sum(int(text) for text in completed) == 1


def test_a_type_is_limited_and_the_limit_removed_on_the_system_page(
    monitor: Any, queue: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{monitor.url}/system")
    page.wait_for_selector(LIVE)
    form = page.locator("#type_limit_form")
    form.locator("[name=type]").fill("crawl")
    form.locator("[name=rate]").fill("fast")
    form.locator("button").click()
    page.wait_for_selector("#type_limit_message:has-text('rate must be a number of jobs per period')")
    form.locator("[name=rate]").fill("2/s")
    form.locator("[name=by]").fill("data.host")
    form.locator("button").click()
    page.wait_for_selector("tr[data-type=crawl][data-part=key]:has-text('2/s')")
    assert queue.limits()[0]["by"] == "data.host" and form.locator("[name=rate]").input_value() == ""
    queue.create_many({"type": "crawl", "data": {"host": "a.example"}} for _ in range(3))
    page.wait_for_selector("tr[data-type=crawl][data-part=key] td:nth-child(6):text-is('3')")
    page.goto(f"{monitor.url}/delayed")
    page.wait_for_selector("#job_2:has-text('limited')")
    page.goto(f"{monitor.url}/system")
    page.wait_for_selector(LIVE)
    page.click("tr[data-type=crawl] [data-action=unlimit]")
    page.wait_for_selector("#act_message:has-text('Limit of type crawl removed.')")
    page.wait_for_selector("tr[data-type=crawl][data-part=key]", state="detached")
    assert queue.limits() == []


@pytest.mark.long
def test_who_may_only_look_sees_all_and_can_press_nothing(
    make_monitor: Callable[..., Any], queue: Any, open_page: Callable[..., Any]
) -> None:
    monitor = make_monitor(KUE_AUTH="anna:all", KUE_AUTH_READONLY="eva:look")
    queue.create("a", {"title": "only seen"}).save()
    page = open_page(f"{monitor.url}/inactive")
    page.fill("[name=user]", "eva")
    page.fill("[name=password]", "look")
    page.keyboard.press("Enter")
    page.wait_for_url("**/inactive")
    page.wait_for_selector(LIVE)
    assert page.inner_text(".role") == "read only" and page.locator("text='only seen'").count() == 1
    for path in ("/", "/inactive", "/job/1", "/system", "/files"):
        page.goto(monitor.url + path)
        assert page.locator("main button:not(#filters button, .json_copy):visible").count() == 0, path
    page.goto(monitor.url)
    queue.create("a", {"title": "made later"}).save()
    page.wait_for_selector("text='made later'")
    assert page.locator("[data-action]").count() == 0
    page.click("text='Log out'")
    page.wait_for_url("**/login")


def test_without_script_everything_can_be_read(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    queue.create("a", {"title": "plain"}).save()
    queue.create_many([{"type": "b"} for _ in range(60)])
    page = open_page(monitor.url, java_script_enabled=False)
    page.click("#job_1 a.job_id")
    page.wait_for_url("**/job/1")
    assert "No worker processes jobs of type a" in page.inner_text("#why")
    page.click("a[href='/inactive']")
    page.select_option("[name=type]", "b")
    page.click("text='Show'")
    page.click("text='Next'")
    assert "51 – 60 of 60" in page.inner_text("#pager")
    page.fill("[type=search]", "plain")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=plain")
    assert page.locator(".job").count() == 1
    page.goto(f"{monitor.url}/system")
    assert page.locator("tr[data-type=b] a").first.inner_text() == "60"


def test_two_web_processes_show_the_same_including_each_others_actions(
    make_monitor: Callable[..., Any], queue: Any, open_page: Callable[..., Any]
) -> None:
    one, two = make_monitor(KUE_WORKERS="0"), make_monitor(KUE_WORKERS="0")
    queue.create("a", delay=600_000).save()
    first, second = open_page(one.url), open_page(two.url)
    for page in (first, second):
        page.wait_for_selector(LIVE)
        page.wait_for_selector("#log_1:text-is('Delayed')")
    first.click("#job_1 [data-action=promote]")
    second.wait_for_selector("#log_1:text-is('Queued')")
    second.click("#job_1 [data-action=remove]")
    second.click("#confirm [data-part=yes]")
    first.wait_for_selector("#job_1", state="detached")
    wait_until(lambda: queue.counts()["inactive"] == 0)
