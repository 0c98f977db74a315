"""After a storm of events and a lost connection, the page shows what is in Redis."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kue
from tests.browser.cuttable_line import Cable
from tests.support import wait_until

LIVE = '#live_status[data-live="live"]'
SHOWN = """() => ({
  live: document.getElementById('live_status').dataset.live,
  counts: Object.fromEntries([...document.querySelectorAll('[data-count]')].map(
    (each) => [each.dataset.count, Number(each.textContent.replace(/\\D/g, ''))])),
  rows: [...document.querySelectorAll('.jobs > .job')].map((each) => [Number(each.dataset.id), each.dataset.state]),
})"""


@pytest.fixture
def cable(make_monitor: Callable[..., Any]) -> Iterator[Cable]:
    cable = Cable(make_monitor(KUE_WORKERS="0").port)
    yield cable
    cable.close()


@pytest.fixture
def storm(redis_url: str) -> Iterator[Callable[[float], Any]]:
    """A function that makes and works on some 150 jobs a second for so many seconds, and returns the queue at rest."""
    queue = kue.create_queue(redis_url)

    def work(job: Any) -> None:
        time.sleep(random.random() * 0.03)
        job.progress(1, 2)
        if random.random() < 0.1:
            raise RuntimeError("unlucky")

    def run(seconds: float) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            queue.create_many([{"type": "storm", "data": {"title": "x"}, "attempts": 1 + n % 2} for n in range(15)])
            time.sleep(0.1)
        queue.create("storm", {"title": "later"}, delay=600_000).save()
        wait_until(lambda: not queue.counts()["inactive"] and not queue.counts()["active"], timeout=20)
        return queue

    queue.process("storm", 10, work)
    yield run
    queue.shutdown(2)


def is_right(page: Any, queue: Any, path: str) -> bool:
    """Compare what the page shows with Redis."""
    shown = page.evaluate(SHOWN)
    if shown["live"] != "live" or shown["counts"] != queue.counts():
        return False
    state = path.strip("/")
    if state:
        return [job_id for job_id, _ in shown["rows"]] == [
            job.id for job in queue.range_by_state(state, -50, -1, "desc")
        ]
    jobs = {job.id: job.state for job in queue.get_many([job_id for job_id, _ in shown["rows"]])}
    delayed = [job_id for job_id, job_state in shown["rows"] if job_state == "delayed"]
    return all(jobs.get(job_id) == job_state for job_id, job_state in shown["rows"]) and delayed == queue.delayed()


@pytest.mark.long
@pytest.mark.parametrize("path", ["/", "/complete"])
def test_after_a_storm_with_a_dead_line_in_it_the_page_is_soon_right(
    cable: Cable, storm: Callable[[float], Any], open_page: Callable[..., Any], path: str
) -> None:
    page = open_page(cable.url + path)
    page.wait_for_selector(LIVE)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(storm(5)))
    thread.start()
    time.sleep(1)
    cable.freeze()
    page.wait_for_selector('#live_status[data-live="stale"]')
    cable.cut()
    thread.join()
    queue = results[0]
    cable.thaw()
    wait_until(lambda: is_right(page, queue, path), timeout=30.0, message="the page shows what Redis holds")


def test_a_line_that_only_stood_still_loses_nothing(
    cable: Cable, redis_url: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(cable.url)
    page.wait_for_selector(LIVE)
    cable.freeze()
    queue = kue.create_queue(redis_url)
    jobs = queue.create_many([{"type": "a"} for _ in range(5)])
    queue.remove(jobs[0].id)
    queue.set_state(jobs[1].id, "complete")  # no event tells of this
    time.sleep(0.5)
    cable.thaw()
    wait_until(lambda: is_right(page, queue, "/"), timeout=30.0, message="the page shows what Redis holds")
    assert page.locator("#list .job").count() == 3
    queue.shutdown(0)
