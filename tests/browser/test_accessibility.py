"""Accessibility, keyboard, narrow screens; and no injected scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.downloads import change_limits
from tests.support import NODE_DIR, require_node, wait_until

LIVE = '#live_status[data-live="live"]'
EVIL = [
    "<script>window.hit=1</script>", "<img src=x onerror=window.hit=1>", "\"'><svg onload=window.hit=1>",
    "javascript:window.hit=1", "{{7*7}}${7*7}", "</li></ul><iframe srcdoc='<script>parent.hit=1</script>'>",
    "<a href=javascript:window.hit=1>x</a>", "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "</template><script>window.hit=1</script>", "'-window.hit=1-'",
    "\u202e<b onclick=window.hit=1>", "<style>*{display:none}</style>",
]  # fmt: skip
PATHS = (
    "/", "/overview", "/active", "/inactive", "/failed", "/complete", "/delayed", "/job/1", "/job/3", "/files",
    "/system", "/schedules", "/alerts", "/search?q=job", "/search", "/job/999",
)  # fmt: skip


@pytest.fixture
def queue(redis_url: str) -> Any:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(1)


def fill(queue: Any, texts: list[str]) -> None:
    """Make jobs of every state, with each text in every field that holds one."""

    def fail(job: Any) -> None:
        job.log(job.data["title"])
        raise RuntimeError(job.data["title"])

    def finish(job: Any) -> Any:
        job.log(job.data["title"])
        return {"file": job.data["title"], job.data["title"]: job.data["title"]}

    for number, text in enumerate(texts):
        data = {"title": text, "url": text, text: [text]}
        queue.process(f"fail{number}{text}", 1, fail)
        queue.process(f"done{number}{text}", 1, finish)
        queue.create_many(
            [{"type": f"fail{number}{text}", "data": data}, {"type": f"done{number}{text}", "data": data},
             {"type": f"wait{text}", "data": data}, {"type": f"wait{text}", "data": data, "delay": 600_000}]
        )  # fmt: skip
        queue.schedule(text.replace("\u202e", "")[:200], f"wait{text}", data, cron="0 3 * * *", jitter=1000)
    queue.webhook(["failed"], "https://h.invalid/", name="w", types=texts[:100])
    for text in texts:
        entry = {"text": text, "bad_since": "1", "started_at": "1", "seen_at": "2"}
        queue.session.connector.shared().hset("q:alerts", f"queue_time{text}", json.dumps(entry))
    queue.declare_schedules([kue.Schedule("declared", "x", every=3_600_000)], owner=texts[0])
    wait_until(lambda: queue.counts()["failed"] == queue.counts()["complete"] == len(texts), timeout=60)


#: Pages that look like others.
ALIKE = ("/active", "/inactive", "/complete", "/delayed", "/job/3", "/search", "/job/999")
each_page = pytest.mark.parametrize(
    "paths",
    [[path for path in PATHS if path not in ALIKE], pytest.param(ALIKE, marks=pytest.mark.long)],
    ids=["different", "alike"],
)


@pytest.mark.slow
@each_page
def test_no_script_in_a_job_runs_on_any_page(
    monitor: Any, queue: Any, open_page: Callable[..., Any], paths: Sequence[str]
) -> None:
    fill(queue, EVIL)
    monitor.downloads.mkdir(exist_ok=True)
    (monitor.downloads / "<img src=x onerror=window.hit=1>.html").write_text("<script>window.hit=1</script>")
    page = open_page(monitor.url)
    for path in (*paths, "/job/2", "/job/5"):
        page.goto(monitor.url + path)
        page.wait_for_timeout(150)
        assert page.evaluate("window.hit") is None, path
        assert page.locator("iframe, main script, main svg[onload], main style").count() == 0, path
        assert page.evaluate("[...document.querySelectorAll('a')].every((a) => !/^javascript:/i.test(a.href))"), path
    page.goto(monitor.url)
    page.wait_for_selector(LIVE)
    texts = [{"type": "late", "data": {"title": text, "url": text}} for text in EVIL]
    last = queue.create_many(texts)[-1]  # these come over the socket
    page.wait_for_selector(f"#log_{last.id}")
    assert page.evaluate("window.hit") is None


#: The rules whose answer may be another one in the dark or on a narrow screen.
OF_LOOKS = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]


@pytest.mark.slow
@each_page
def test_every_page_is_accessible_and_fits_its_screen(
    monitor: Any, queue: Any, open_page: Callable[..., Any], paths: Sequence[str]
) -> None:
    require_node("axe-core")
    fill(queue, ["an ordinary job", "x" * 400])
    children = [queue.create("child", {"title": "x" * 60}) for _ in range(2)]
    parent = queue.create("parent").after(children).save()
    page = open_page(monitor.url, bypass_csp=True)
    for path in (*paths, f"/job/{parent.id}"):
        page.emulate_media(color_scheme="light")
        page.goto(monitor.url + path)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        for scheme, width, rules in (("light", 1440, None), ("light", 768, []), ("dark", 390, OF_LOOKS)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            assert rules == [] or serious_findings(page, rules) == [], (path, scheme)


def serious_findings(page: Any, rules: list[str] | None) -> list[tuple[str, str]]:
    """Run axe over the page as it is, dialogs and open parts too."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=Path(NODE_DIR, "node_modules", "axe-core", "axe.min.js"))
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = page.evaluate("(options) => axe.run(document, options).then((result) => result.violations)", options)
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


@pytest.mark.long
def test_what_opens_on_a_page_is_accessible(
    make_monitor: Callable[..., Any], queue: Any, open_page: Callable[..., Any]
) -> None:
    require_node("axe-core")
    queue.create_many([{"type": "t", "data": {"title": "waits"}}] * 3)
    monitor = make_monitor(KUE_AUTH="ada:secret")
    page = open_page(monitor.url, bypass_csp=True)

    def findings() -> list[tuple[str, str]]:
        found = []
        for scheme, width, rules in (("light", 390, None), ("dark", 1440, OF_LOOKS)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            found += serious_findings(page, rules)
        return found

    # The login, with a wrong password
    for password in ("wrong", "secret"):
        page.fill("[name=user]", "ada")
        page.fill("[name=password]", password)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert findings() == [], password
    # The list of URLs, with one that cannot be downloaded
    page.wait_for_selector(LIVE)
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/plain", "https://example.com/a\\nftp://example.com/b");
            const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
            document.getElementById("start_url").dispatchEvent(paste);
        }"""
    )
    page.wait_for_selector("#start_list_problems li")
    assert findings() == []
    # The selection, the question before a removal, and the shortcuts
    page.goto(monitor.url + "/inactive")
    page.wait_for_selector(LIVE)
    page.click("#job_1 [data-part=pick]")
    page.wait_for_selector("#selection:not([hidden])")
    assert findings() == []
    page.click("#job_2 [data-action=remove]")
    page.wait_for_selector("#confirm[open]")
    assert findings() == []
    page.keyboard.press("Escape")
    page.click("#shortcuts_button")
    page.wait_for_selector("#shortcuts[open]")
    assert findings() == []


def press_until(page: Any, selector: str, key: str = "Tab") -> None:
    """Press a key until the element with the focus matches."""
    for _ in range(80):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{selector} is not reached by {key}")


@pytest.mark.slow
def test_a_job_is_started_found_opened_cancelled_and_all_failed_are_retried_by_keyboard(
    make_monitor: Callable[..., Any], queue: Any, open_page: Callable[..., Any]
) -> None:
    monitor = make_monitor(DOWNLOAD_RATE="1M")  # it still runs when its Cancel button is reached
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)

    change_limits(queue, rate=100_000)  # so that it still runs when the cancelling is reached
    press_until(page, "#start_url")
    page.keyboard.press("Enter")
    page.wait_for_selector("#log_1:text-is('Running')")
    press_until(page, "input[type=search]", "Shift+Tab")
    page.keyboard.type("10mb")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=10mb")
    page.wait_for_selector(LIVE)
    press_until(page, "#job_1 a.job_id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/job/1")
    page.wait_for_selector(LIVE)
    press_until(page, "[data-action=cancel]:not([hidden])")
    page.keyboard.press("Enter")
    page.wait_for_selector("#log_1:text-is('Failed')")
    change_limits(queue, rate=50_000_000)
    press_until(page, "a[href='/failed']", "Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/failed")
    page.wait_for_selector(LIVE)
    press_until(page, "[data-bulk=retry]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bulk_message:has-text('Retried 1')")
    wait_until(lambda: queue.get(1).state == "complete", timeout=40)


@pytest.mark.long
def test_the_other_pages_are_operated_by_keyboard(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    monitor.downloads.mkdir(exist_ok=True)
    (monitor.downloads / "20260101000000-9-a.txt").write_text("a")
    job = queue.create("mail", {"title": "waits"}).save()
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    # The job: its priority
    page.goto(f"{monitor.url}/job/{job.id}")
    page.wait_for_selector(LIVE)
    press_until(page, "#priority_form select")
    page.keyboard.type("high")
    press_until(page, "#priority_form button")
    page.keyboard.press("Enter")
    wait_until(lambda: queue.get(job.id).options.priority == -10)
    # The overview, by a shortcut, and the figures of its chart as a table
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/overview")
    page.wait_for_selector(LIVE)
    press_until(page, "a[href='/inactive?type=mail']")
    # The system page: pause a type, and limit the downloads
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/system")
    page.wait_for_selector(LIVE)
    press_until(page, "tr[data-type=mail] [data-action=pause]")
    page.keyboard.press("Enter")
    wait_until(lambda: queue.paused() == ["mail"])
    press_until(page, "#limits_form [name=per_host]")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#limits_message:has-text('Limits saved.')")
    # The files: delete one, after the question
    page.goto(monitor.url + "/files")
    press_until(page, "[data-action=delete-file]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm[open]")
    press_until(page, "#confirm [data-part=yes]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#act_message:has-text('Deleted')")


def test_removing_asks_first(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    queue.create("t", {"title": "keep me"}).save()
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.click("#job_1 [data-action=remove]")
    page.keyboard.press("Escape")
    assert queue.get(1).state == "inactive"
    page.click("#job_1 [data-action=remove]")
    page.click("#confirm [data-part=yes]")
    page.wait_for_selector("#job_1", state="detached")
    assert queue.counts()["inactive"] == 0


def test_cancelling_can_delete_what_was_fetched(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(monitor.url)
    page.wait_for_selector(LIVE)
    page.click("summary:has-text('More options')")
    page.check("[name=unique]")
    page.click("#button_start")
    page.wait_for_selector("#log_1:text-is('Running')")
    page.click("#button_start")
    page.wait_for_selector("#start_message:text-is('Started job 1.')")  # it runs already
    page.click("#job_1 a.job_id")
    page.wait_for_url("**/job/1")
    page.wait_for_selector(LIVE)
    wait_until(lambda: list(monitor.downloads.glob("*.part")))
    page.click("[data-action=discard]")
    page.click("#confirm [data-part=yes]")
    page.wait_for_selector("#log_1:text-is('Failed')")
    wait_until(lambda: not list(monitor.downloads.glob("*.part")))
    assert queue.get(1).error == "Cancelled" and queue.counts()["inactive"] == 0


def test_all_that_a_search_finds_is_removed(monitor: Any, queue: Any, open_page: Callable[..., Any]) -> None:
    queue.create_many([{"type": "t", "data": {"title": title}} for title in ["red fox"] * 3 + ["red hen"]])
    page = open_page(f"{monitor.url}/search?q=fox")
    page.wait_for_selector(LIVE)
    page.click("[data-bulk=retry]")
    page.wait_for_selector("#bulk_message:text-is('No matching jobs.')")
    page.click("[data-bulk=remove]")
    page.wait_for_selector("#confirm_text:has-text('Remove 3 jobs?')")
    page.click("#confirm [data-part=yes]")
    page.wait_for_selector("#bulk_message:text-is('Removed 3.')", timeout=30_000)
    assert queue.counts()["inactive"] == 1
