"""The first page in Chromium under load: ``python -m bench.page --jobs 100000 --rate 333 --seconds 60``.

Starts a server with that many active jobs, ``app.py`` without workers, and headless Chromium. First it loads the page a
few times; then a program makes and works jobs at a steady rate, three events each, while the page is watched. In the
middle the line to the browser is dead for some seconds. At the end the page is compared with Redis.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

import kue
from bench.clients import LOAD, web_program
from bench.harness.server import Server
from tests.browser.cuttable_line import Cable

LOADS = 7
LIVE = '#live_status[data-live="live"]'
#: Lets all waiting jobs run, in the eyes of Redis.
ACTIVATE = """
redis.call('RENAME', 'q:jobs:inactive', 'q:jobs:active')
redis.call('RENAME', 'q:jobs:held:inactive', 'q:jobs:held:active')
for _, zid in ipairs(redis.call('ZRANGE', 'q:jobs:active', 0, -1)) do
  local id = string.match(zid, '|(.*)')
  redis.call('HSET', 'q:job:' .. string.format('%d', tonumber(id)), 'state', 'active', 'started_at', ARGV[1])
end
"""
#: Notes how late a timer of 10 ms is, which is how long the main thread was busy, and what the browser calls long.
WATCH = """
window.bench = {late: [], long: []};
new PerformanceObserver((list) => list.getEntries().forEach((entry) => bench.long.push(entry.duration)))
  .observe({type: "longtask", buffered: true});
let due = performance.now() + 10;
setInterval(() => { const now = performance.now(); bench.late.push(Math.max(0, now - due)); due = now + 10; }, 10);
"""


def fill(url: str, jobs: int) -> None:
    """Make jobs that are active for good."""
    queue = kue.create_queue(url)
    for at in range(0, jobs, 5000):
        titles = range(at, min(at + 5000, jobs))
        queue.create_many([{"type": "held", "data": {"title": f"job {n}"}} for n in titles])
    queue.session.call(lambda client: client.eval(ACTIVATE, 0, int(time.time() * 1000)))
    queue.shutdown(5)


def first_paints(browser: Any, url: str) -> list[float]:
    """Load the page in new profiles; return the ms to the first contentful paint of each."""
    found = []
    for _ in range(LOADS):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector(LIVE)
        found.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        context.close()
    return found


def heap_mb(page: Any) -> float:
    """Return the page's heap after a collection, MB."""
    client = page.context.new_cdp_session(page)
    client.send("HeapProfiler.collectGarbage")
    used: float = client.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    client.detach()
    return used


def differences(page: Any, queue: Any) -> int:
    """Return how many of the states and counts that the page shows are not Redis'."""
    shown = page.evaluate(
        "[...document.querySelectorAll('li.job[data-id]')].map((li) => [Number(li.dataset.id), li.dataset.state])"
    )
    jobs = {job.id: job.state for job in queue.get_many([job_id for job_id, _ in shown])}
    wrong = sum(jobs.get(job_id) != state for job_id, state in shown)
    return wrong + (len(shown) == 0)


def part(values: list[float], share: float) -> float:
    """Return a quantile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def run(options: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    with Server() as server, web_program(server.url) as (port, _), sync_playwright() as playwright:
        fill(server.url, options.jobs)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        cable = Cable(port)
        queue = kue.create_queue(server.url)
        paints = first_paints(browser, f"http://127.0.0.1:{port}/")
        print(f"first paint    median {statistics.median(paints):.0f} ms, most {max(paints):.0f} ({LOADS} loads)")
        page = browser.new_page()
        page.goto(cable.url)
        page.wait_for_selector(LIVE)
        page.evaluate(WATCH)
        load = subprocess.Popen(
            [sys.executable, "-c", LOAD, server.url, str(options.rate), str(options.seconds)], stdout=subprocess.PIPE
        )
        try:
            page.wait_for_timeout(options.seconds * 250)
            before = heap_mb(page)
            page.wait_for_timeout(options.seconds * 250 - options.dead * 500)
            cable.freeze()
            page.wait_for_timeout(options.dead * 1000)
            cable.thaw()
            began = time.monotonic()
            page.wait_for_selector(LIVE)
            back = time.monotonic() - began
            page.wait_for_timeout(max(0, options.seconds * 500 - options.dead * 500 - 3000))
            watched: dict[str, list[float]] = page.evaluate("bench")
            after = heap_mb(page)
            made = int(load.communicate(timeout=120)[0])
        finally:
            load.kill()
        page.wait_for_timeout(2000)
        late, long = watched["late"], watched["long"]
        print(f"load           {made} jobs, {3 * made / options.seconds:.0f} events/s, {options.jobs:,} jobs active")
        print(f"main thread    p95 {part(late, 0.95):.1f} ms, p99 {part(late, 0.99):.1f}, most {max(late):.0f}")
        print(f"tasks > 50 ms  {len(long)}, p95 of these {part(long, 0.95):.0f} ms")
        print(f"heap MB        {before:.1f} after a quarter, {after:.1f} at the end")
        print(f"line dead {options.dead:3} s live again {back:.2f} s after it came back")
        print(f"rows not as in Redis at the end: {differences(page, queue)}")
        counts = json.loads(page.evaluate("JSON.stringify([...document.querySelectorAll('[data-count]')]"
                                          ".map((each) => [each.dataset.count, each.textContent.trim()]))"))
        print(f"counts shown   {counts}, in Redis {queue.counts()}")
        queue.shutdown(5)
        browser.close()
        cable.close()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="active jobs (100000)")
    parser.add_argument("--rate", type=int, default=333, help="jobs a second, three events each (333)")
    parser.add_argument("--seconds", type=int, default=60, help="of load (60)")
    parser.add_argument("--dead", type=int, default=20, help="seconds without a line in the middle (20)")
    run(parser.parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
