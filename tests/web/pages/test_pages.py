"""Pages, actions and files through Flask's test client."""

from __future__ import annotations

import html
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.downloads.files.partial import part_key
from kue.web.actions import bulk as bulk_module
from tests.support import wait_until

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"


@pytest.fixture
def http(site: Any) -> Any:
    return site.http()


def test_the_first_page_holds_the_articles_hooks(http: Any, queue: Any) -> None:
    queue.create("a", {"title": "first"}).save()
    queue.set_state(1, "active")
    text = http.get("/").text
    assert '<ul id="list"' in text and '<button id="button_start"' in text
    assert '<span class="span_log" data-part="label" id="log_1">Running</span>' in text
    assert '/sample/10mb.bin"' in text


def test_whatever_a_job_holds_is_shown_as_text(http: Any, queue: Any) -> None:
    def fail(job: Any) -> None:
        job.log(EVIL)
        raise RuntimeError(EVIL)

    queue.process(EVIL, 1, fail)
    queue.create(EVIL, {"title": EVIL, "url": EVIL, EVIL: [EVIL]}).save()
    wait_until(lambda: queue.counts()["failed"] == 1)
    for path in ("/", "/failed", "/job/1", "/monitor/job/1"):
        text = http.get(path, headers=HTML).text
        assert "alert(1)" in text, path
        assert "<script>alert" not in text and "<img" not in text.replace('<img src="/static/icon.svg"', ""), path


def test_the_page_of_a_job_tells_all_about_it(http: Any, queue: Any) -> None:
    def fail(job: Any) -> None:
        job.log("one step")
        raise RuntimeError("no such user")

    queue.process("mail", 1, fail)
    queue.create("mail", {"to": "a@b.c"}, attempts=2).save()
    wait_until(lambda: queue.counts()["failed"] == 1)
    answer = http.get("/job/1", headers=HTML)
    assert answer.mimetype == "text/html" and "Accept" in answer.headers["Vary"]
    for words in ("a@b.c", "one step", "no such user", "2 of 2", "Why it failed"):
        assert words in answer.text
    assert answer.text.count("<b>Attempt ") == 2 and answer.text.count('<span class="span_log">Failed</span>') == 2
    assert answer.text.count("RuntimeError: no such user\n  File") == 3  # of the job, and of each attempt
    assert http.get("/job/77", headers=HTML).status_code == 404


@pytest.fixture
def why(http: Any) -> Callable[[int], str]:
    def ask(job_id: int) -> str:
        text = http.get(f"/job/{job_id}", headers=HTML).text
        return str(html.unescape(text.split("Waiting to run.</b> ")[1].split("</p>")[0]))

    return ask


def test_a_waiting_job_says_why_it_does_not_run(queue: Any, why: Callable[[int], str]) -> None:
    queue.create_many([{"type": "a"}, {"type": "a"}, {"type": "b", "delay": 3_600_000}])
    assert why(1) == "No worker processes jobs of type a."
    assert why(3) in ("Due in 1 h.", "Due in 59 min 59 s.", "Due in 59 min 58 s.")
    queue.set_state(1, "active")  # as a Node worker would have it
    queue.create("a").save()
    assert why(2) == "Next in the queue for its type."
    assert why(4) == "2nd in the queue for its type, after job 2."
    queue.pause("a")
    assert why(2) == "Type a is paused."


def test_a_suspect_says_that_it_will_run_alone(
    queue: Any, http: Any, redis_client: Any, why: Callable[[int], str]
) -> None:
    queue.create("a").save()
    redis_client.hset(queue.keys.job(1), "deaths", "2")
    alone = "It will run alone: 2 worker processes died while running it."
    assert why(1) == f"No worker processes jobs of type a. {alone}"
    assert "yes, 2 worker processes died in a row" in http.get("/job/1", headers=HTML).text


def test_a_job_in_line_shows_how_busy_the_workers_are(queue: Any, redis_url: str, why: Callable[[int], str]) -> None:
    worker = kue.create_queue(redis_url, lease_ms=1_500)  # it tells of itself each third of that
    go = threading.Event()
    contexts: list[Any] = []

    def work(job: Any, ctx: Any, done: Any) -> None:
        contexts.append(ctx)
        go.wait(20)
        done()

    worker.process("a", 2, work)
    queue.create_many([{"type": "a"} for _ in range(14)])

    def busy() -> list[int]:
        return [worker["types"]["a"]["busy"] for worker in queue.workers()]

    try:
        wait_until(lambda: busy() == [2], timeout=12, message="the worker tells of two busy slots")
        assert why(3) == "Next in the queue for its type. All 2 slots are busy."
        assert why(14) == "12th in the queue for its type, after job 13. All 2 slots are busy."
        contexts[0].pause()
        wait_until(lambda: queue.workers()[0]["types"]["a"]["paused"], timeout=12)
        assert why(3) == "All workers for type a are paused or shutting down."
    finally:
        go.set()
        worker.shutdown(5)


def test_a_postponed_job_says_why(queue: Any, why: Callable[[int], str]) -> None:
    def work(job: Any) -> None:
        raise kue.RetryLater(600_000, "waiting for files.example, which has 2 downloads already", counts=False)

    def fail(job: Any) -> None:
        raise RuntimeError("no route")

    queue.process("a", 1, work)
    queue.process("b", 1, fail)
    queue.create("a").save()
    queue.create("b", attempts=3, backoff={"type": "fixed", "delay": 600_000}).save()
    wait_until(lambda: queue.get(1).attempt_log and queue.get(2).state == "delayed")
    assert why(1).startswith("Waiting for files.example, which has 2 downloads already. Next try in ")
    assert re.fullmatch(r"Attempt 1 of 3 failed\. Next attempt in (10 min|9 min \d+ s)\.", why(2))


def test_lists_are_paged_in_the_order_of_redis(http: Any, queue: Any) -> None:
    queue.create_many([{"type": "a", "priority": -(n % 2)} for n in range(120)])
    queue.create("b").save()

    def ids(query: str) -> list[int]:
        return [row["id"] for row in http.get(f"/monitor/list/inactive?{query}").json["rows"]]

    line = [job.id for job in sorted(queue.range(0, -1), key=lambda job: (job.options.priority, job.id))]
    assert ids("") == line[:50] and ids("from=100") == line[100:]
    assert ids("order=desc") == line[::-1][:50] and ids("order=desc&from=100") == line[::-1][100:]
    assert ids("type=b") == [121] and ids("from=999999") == line[100:]
    assert http.get("/monitor/list/inactive?from=x").status_code == 400
    text = http.get("/inactive?type=a&from=50").text
    assert "51 – 100 of 120" in text
    rows = [row["id"] for row in http.get("/monitor/list/inactive?type=a&from=50").json["rows"]]
    assert f'href="/inactive?type=a&amp;order=asc&amp;from=100&amp;after={rows[-1]}"' in text
    assert f'href="/inactive?type=a&amp;order=asc&amp;from=0&amp;before={rows[0]}"' in text


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_turning_the_page_shows_no_job_twice_and_leaves_none_out(http: Any, queue: Any, order: str) -> None:
    queue.create_many([{"type": "a", "priority": -(n % 2)} for n in range(130)])

    def page(query: str) -> list[int]:
        return [row["id"] for row in http.get(f"/monitor/list/inactive?order={order}&{query}").json["rows"]]

    first, second = page(""), page("from=50")
    for job_id in first[:10]:
        queue.remove(job_id)
    assert page(f"from=50&after={first[-1]}") == second
    assert page(f"from=0&before={second[0]}") == first[10:] + second[:10]
    queue.remove(first[-1])
    assert len(page(f"from=50&after={first[-1]}")) == 50  # the job is gone: by rank then
    assert page("after=x%22") == page("")


def test_acts_do_one_thing_each_and_say_why_not(http: Any, queue: Any) -> None:
    queue.create("a").save()
    queue.create("a", delay=60_000).save()

    def act(job_id: int, name: str, body: Any = None) -> int:
        return int(http.post(f"/monitor/job/{job_id}/{name}", json=body or {}).status_code)

    assert act(1, "retry") == 409 and act(2, "promote") == 200 and act(2, "promote") == 409
    assert act(1, "cancel") == 200 and queue.get(1).state == "failed"
    assert act(1, "retry") == 200 and queue.get(1).state == "inactive"
    assert act(1, "priority", {"priority": "critical"}) == 200 and queue.get(1).options.priority == -15
    assert act(1, "priority", {"priority": "odd"}) == 400 and act(1, "dance") == 404 and act(9, "retry") == 404
    assert act(1, "remove") == 200 and act(1, "remove") == 404


def test_a_job_is_paused_and_continues(http: Any, queue: Any) -> None:
    queue.create("a").save()
    queue.set_state(1, "active")
    assert http.post("/monitor/job/1/pause").status_code == 200
    assert queue.get(1).state == "delayed"
    assert "Suspended." in http.get("/job/1", headers=HTML).text
    assert '<span class="job_when" data-part="when">suspended</span>' in http.get("/delayed").text
    assert http.post("/monitor/job/1/resume").status_code == 200 and queue.get(1).state == "inactive"
    assert http.post("/monitor/job/1/resume").status_code == 409
    queue.set_state(1, "complete")
    assert http.post("/monitor/job/1/pause").status_code == 409


def test_a_cancel_can_ask_for_nothing_to_be_kept(http: Any, queue: Any, folder: Path) -> None:
    for keep in (True, False):
        job = queue.create("startdownload", {"url": "http://x/y"}, delay=60_000).save().refresh()
        part = folder / f"{part_key(job.id, 'http://x/y', job.created_at)}.part"
        part.write_bytes(b"half")
        assert http.post(f"/monitor/job/{job.id}/cancel", json={"keep_partial": keep}).status_code == 200
        assert part.exists() == keep and queue.get(job.id).state == "failed"


def test_a_job_is_run_again_with_other_data_as_a_new_one(http: Any, queue: Any) -> None:
    queue.create("a", {"n": 1}, priority="high", attempts=4).save()
    answer = http.post("/monitor/job/1/copy", json={"data": {"n": 2}})
    copy = queue.get(answer.json["id"])
    assert (copy.id, copy.data, copy.options.priority, copy.options.attempts) == (2, {"n": 2}, -10, 4)
    assert 'Copied from <a href="/job/1">job 1</a>' in http.get("/job/2", headers=HTML).text
    assert 'Copied to <a href="/job/2">job 2</a>' in http.get("/job/1", headers=HTML).text
    queue.create("startdownload", {"url": "http://x/y"}).save()
    assert http.post("/monitor/job/3/copy", json={"data": {"url": "file:///etc/passwd"}}).status_code == 400


def test_the_log_is_read_on_from_a_line(http: Any, queue: Any) -> None:
    job = queue.create("a").save()
    for number in range(3):
        job.log(f"line {number}")
    answer = http.get("/monitor/job/1/log?from=1").json
    assert answer == {"from": 1, "lines": ["line 1", "line 2"], "more": False}
    assert http.get("/monitor/job/1/log?from=9").json["lines"] == []
    assert http.get("/monitor/job/1/log?from=-1").json["from"] == 0


@pytest.fixture
def quick_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "UNDO_S", 0.2)


def test_all_failed_jobs_are_retried_in_chunks(http: Any, queue: Any, quick_bulk: None) -> None:
    queue.create_many([{"type": "a"} for _ in range(250)])
    for job_id in range(1, 251):
        queue.set_state(job_id, "failed")
    assert http.get("/monitor/bulk/preview?state=failed&type=a").json == {"total": 250}
    begun = http.post("/monitor/bulk", json={"act": "retry", "state": "failed", "type": ""}).json
    assert begun["phase"] == "waiting" and begun["total"] == 250
    queue.set_state(7, "complete")
    wait_until(lambda: http.get(f"/monitor/bulk/{begun['id']}").json["phase"] == "done", timeout=15)
    ended = http.get(f"/monitor/bulk/{begun['id']}").json
    assert (ended["done"], ended["skipped"]) == (249, 1)
    assert queue.counts()["inactive"] == 249 and queue.get(7).state == "complete"


def test_an_act_on_all_that_a_search_finds_takes_each_state_it_goes_with(
    http: Any, queue: Any, quick_bulk: None
) -> None:
    titles = ["Grüße a"] * 60 + ["Grüße b"] * 60 + ["other"]
    queue.create_many([{"type": "t", "data": {"title": title}} for title in titles])
    for job_id in (*range(1, 4), 121):
        queue.set_state(job_id, "failed")
    queue.set_state(4, "active")
    assert http.get("/monitor/bulk/preview?act=retry&q=grüße").json == {"total": 3}
    assert http.get("/monitor/bulk/preview?act=remove&q=GRÜSSE+a").json == {"total": 0}
    assert http.get("/monitor/bulk/preview?act=remove&q=GRÜßE+a").json["total"] >= 59
    assert http.get("/monitor/bulk/preview?act=eat&q=x").status_code == 400
    begun = http.post("/monitor/bulk", json={"act": "retry", "q": "grüße"}).json
    assert begun["total"] == 3
    wait_until(lambda: http.get(f"/monitor/bulk/{begun['id']}").json["phase"] == "done")
    assert queue.counts()["failed"] == 1 and queue.get(121).state == "failed"
    assert http.get("/monitor/bulk/preview?act=remove&q=grüße&state=failed").json == {"total": 0}
    assert http.get("/monitor/bulk/preview?act=remove&q=grüße&type=other").json == {"total": 0}
    begun = http.post("/monitor/bulk", json={"act": "remove", "q": "grüße", "state": "inactive", "type": "t"}).json
    wait_until(lambda: http.get(f"/monitor/bulk/{begun['id']}").json["phase"] == "done")
    assert queue.counts()["inactive"] == 0 and queue.counts()["active"] == 1 and queue.counts()["failed"] == 1


def test_a_bulk_action_can_be_undone_before_it_begins(http: Any, queue: Any) -> None:
    queue.create("a").save()
    begun = http.post("/monitor/bulk", json={"act": "remove", "state": "inactive"}).json
    http.delete(f"/monitor/bulk/{begun['id']}")
    wait_until(lambda: http.get(f"/monitor/bulk/{begun['id']}").json["phase"] == "undone")
    assert queue.counts()["inactive"] == 1


def test_another_web_process_tells_how_far_a_bulk_action_is_and_stops_it(
    http: Any, queue: Any, make_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "POLL_S", 0.05)
    queue.create("a").save()
    other = make_site().http()
    begun = http.post("/monitor/bulk", json={"act": "remove", "state": "inactive"}).json
    path = f"/monitor/bulk/{begun['id']}"
    wait_until(lambda: other.get(path).status_code == 200)
    assert other.get(path).json["total"] == 1 and other.delete(path).json["phase"] == "waiting"
    wait_until(lambda: other.get(path).json["phase"] == "undone")
    assert http.get(path).json["phase"] == "undone" and queue.counts()["inactive"] == 1


def test_a_bulk_action_whose_process_ended_has_failed(http: Any, queue: Any, redis_client: Any) -> None:
    view = {"id": "ab", "act": "retry", "total": 9, "done": 3, "skipped": 0, "phase": "running", "starts_in_ms": 0}
    redis_client.set("q:bulk:ab", json.dumps({**view, "error": None, "at": time.time()}))
    assert http.get("/monitor/bulk/ab").json["phase"] == "running"
    redis_client.set("q:bulk:ab", json.dumps({**view, "error": None, "at": time.time() - 60}))
    ended = http.get("/monitor/bulk/ab").json
    assert (ended["phase"], ended["done"], ended["error"]) == ("failed", 3, "the web process that ran it has exited")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"act": "remove", "state": "active"},
        {"act": ["x"], "state": {}},
        {"act": "eat", "state": "failed"},
        {"act": "eat", "q": "x"},
        {"act": "retry", "q": "x", "state": "active"},
        {"act": "retry", "q": " "},
    ],
)
def test_a_bulk_action_that_makes_no_sense_is_refused(http: Any, body: Any) -> None:
    assert http.post("/monitor/bulk", json=body).status_code == 400
    assert http.get("/monitor/bulk/nothing").status_code == http.delete("/monitor/bulk/nothing").status_code == 404


@pytest.fixture
def folder(site: Any) -> Path:
    path: Path = site.settings.download_dir
    path.mkdir(parents=True)
    return path


def test_files_are_handed_out_as_attachments_without_rights(http: Any, folder: Path) -> None:
    name = "20260101-1-tệp <b>.html"
    (folder / name).write_bytes(b"<script>alert(1)</script>")
    page = http.get("/files").text
    assert "tệp &lt;b&gt;.html" in page
    answer = http.get("/files/" + name.replace("<", "%3C").replace(">", "%3E"))
    assert answer.status_code == 200 and answer.data == b"<script>alert(1)</script>"
    headers = answer.headers
    assert headers["Content-Disposition"].startswith("attachment") and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    part = http.get("/files/" + name, headers={"Range": "bytes=8-12"})
    assert (part.status_code, part.data) == (206, b"alert")
    assert http.get("/files/" + name, headers={"If-None-Match": headers["ETag"]}).status_code == 304
    assert http.get("/files/" + name, headers={"Range": "bytes=900-"}).status_code == 416


def test_a_file_is_found_by_its_job_and_says_its_digest(http: Any, queue: Any, folder: Path) -> None:
    name = "20260101120000-1-x.bin"
    queue.process("startdownload", lambda job: {"file": name, "bytes": 5, "sha256": "ab" * 32})
    queue.create("startdownload", {"title": "x", "url": "http://x/y"}).save().wait(10)
    assert "the file of job 1 was deleted" in http.get("/files/1").text
    (folder / name).write_bytes(b"hello")
    other = folder / "20260101120000-7-other.bin"
    other.write_bytes(b"other")
    answer = http.get("/files/1")
    assert (answer.status_code, answer.data) == (200, b"hello") and name in answer.headers["Content-Disposition"]
    page = http.get("/files").text
    assert '<a href="/job/1">job 1</a>' in page and "ab" * 32 in page and "/job/7" not in page
    listed = {each["name"]: each for each in http.get("/files", headers={"Accept": "application/json"}).json["files"]}
    assert (listed[name]["job"], listed[name]["size"], listed[name]["sha256"]) == (1, 5, "ab" * 32)
    assert listed[other.name]["job"] is None
    assert "job 9 does not exist" in http.get("/files/9").text
    assert "No such file" in http.get("/files/never.bin", headers=HTML).text
    assert http.delete("/files/1").status_code == 200 and not (folder / name).exists() and queue.get(1)


def test_nothing_but_finished_files_of_the_folder_is_handed_out(http: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "1-x.bin.part").write_text("half")
    (folder / "2-x.bin.quarantine").write_text("wrong")
    (folder / ".1-x.json").write_text("{}")
    (folder / "sub").mkdir()
    os.symlink(tmp_path / "secret", folder / "link")
    os.mkfifo(folder / "pipe")
    for name in (
        "../secret",
        "..%2Fsecret",
        "%2e%2e/secret",
        "/etc/passwd",
        "link",
        "pipe",
        "sub",
        "1-x.bin.part",
        "2-x.bin.quarantine",
        ".1-x.json",
        ".",
        "..",
        "%00",
    ):
        assert http.get(f"/files/{name}").status_code == 404, name
        assert http.delete(f"/files/{name}").status_code in (404, 405), name
    assert "No files yet" in http.get("/files").text
    assert (tmp_path / "secret").exists()


def test_a_file_is_deleted_once(http: Any, folder: Path) -> None:
    (folder / "x.bin").write_text("x")
    assert http.delete("/files/x.bin").status_code == 200
    assert http.delete("/files/x.bin").status_code == 404
    assert list(folder.iterdir()) == []


def test_the_app_is_built_as_often_as_one_likes(make_site: Callable[..., Any]) -> None:
    sites = [make_site() for _ in range(3)]
    assert len({site.monitor.relay.epoch for site in sites}) == 3
