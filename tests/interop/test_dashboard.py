"""Node Kue's own dashboard and JSON API over a queue that Python has filled, and ours over one that Node has filled."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from werkzeug.serving import make_server

import kue
from kue import web
from kue.settings import Settings
from tests.interop.harness.behavior import Script
from tests.interop.harness.node import Node, NodeError
from tests.interop.harness.sides import NodeSide, PythonSide
from tests.interop.harness.tap import Tap
from tests.support import free_port, wait_until
from tests.support.consistency import inconsistencies
from tests.support.redis_dump import PASSING_KEYS, raw_dump

WORK: Script = [[["log", "đang gửi %s", "a@b.c"], ["progress", 1, 2, {"step": "half"}], ["return", {"sent": True}]]]


@pytest.fixture
def python(redis_url: str) -> Iterator[PythonSide]:
    """A queue with a job in every state."""
    side = PythonSide(redis_url, search=True)
    with Tap(redis_url) as tap:
        side.create("waiting", {"title": "Xin chào, welcome"}, priority="high")
        side.create("later", {"title": "welcomes tomorrow", "secret": "unfindable"}, delay=60_000, ttl=5000,
                    search_keys=["title"])  # fmt: skip
        for job_type, script, event in [
            ("done", WORK, "complete"), ("broken", [[["fail", "hỏng"]]], "failed"), ("busy", [[["hang"]]], "start"),
        ]:  # fmt: skip
            side.work(job_type, script)
            tap.wait(side.create(job_type, {"title": job_type}), event)
    yield side
    side.close()


Ask = Callable[..., Any]


def asker(url: str) -> Ask:
    """``ask(path, method)`` gives the answer of a server, parsed if it is JSON."""

    def ask(path: str, method: str = "GET", accept: str = "*/*") -> Any:
        request = urllib.request.Request(url + path, method=method, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    return ask


@pytest.fixture
def ask(redis_url: str) -> Iterator[Ask]:
    """Ask Node Kue's server."""
    with Node() as node:
        yield asker(f"http://127.0.0.1:{node.open(redis_url).call('serve', 0)}")


@pytest.fixture
def ask_ours(redis_url: str, tmp_path: Path) -> Iterator[Ask]:
    """Ask our monitor, which has a queue of its own on the same Redis and no workers."""
    queue, port = kue.create_queue(redis_url), free_port()
    settings = Settings.load({"PORT": str(port), "DOWNLOAD_DIR": str(tmp_path)})
    app, _ = web.create_app(settings, queue, async_mode="threading")
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield asker(f"http://127.0.0.1:{port}")
    server.shutdown()
    thread.join(timeout=10)
    web.close(app)
    queue.close()


def test_it_shows_every_list_and_every_job_as_we_do(python: PythonSide, ask: Ask) -> None:
    shown = [job.to_dict() for job in python.queue.range(0, -1)]
    assert len(shown) == 5
    assert ask("/jobs/0..99/asc") == shown
    assert ask("/jobs/0..99/desc") == shown[::-1]
    for job in shown:
        assert ask(f"/job/{job['id']}") == {**job, "id": str(job["id"])}
        assert ask(f"/job/{job['id']}/log") == python.queue.log(job["id"])
        assert ask(f"/jobs/{job['state']}/0..99/asc") == [job]
        assert ask(f"/jobs/{job['type']}/{job['state']}/0..99/asc") == [job]
    assert sorted(ask("/job/types")) == python.queue.types()


def test_it_counts_what_we_count(python: PythonSide, ask: Ask) -> None:
    stats = ask("/stats")
    counts = {state: stats[f"{state}Count"] for state in ("inactive", "active", "complete", "failed", "delayed")}
    assert counts == python.queue.counts() == dict.fromkeys(counts, 1)
    assert stats["workTime"] == python.queue.work_time()


def test_its_pages_open(python: PythonSide, ask: Ask) -> None:
    for page in ("/", "/active", "/inactive", "/complete", "/failed", "/delayed"):
        assert "<html" in ask(page)
    for asset in re.findall(r'(?:src|href)="?(/[^" >]+\.(?:js|css))', ask("/active")):
        assert len(ask(asset)) > 100


def test_its_search_finds_our_jobs(python: PythonSide, ask: Ask) -> None:
    found = {words: ask(f"/job/search?q={quote(words)}") for words in (
        "welcome", "Welcomes", "welcome tomorrow", "title", "unfindable", "busy", "nothing"
    )}  # fmt: skip
    ids = {job.type: str(job.id) for job in python.queue.range(0, -1)}
    both = sorted([ids["waiting"], ids["later"]])
    assert sorted(found["welcome"]) == sorted(found["Welcomes"]) == both
    assert found["welcome tomorrow"] == [ids["later"]] and found["busy"] == [ids["busy"]]
    assert sorted(found["title"]) == sorted(set(ids.values()) - {ids["later"]})
    assert found["unfindable"] == found["nothing"] == []


def test_its_buttons_work_on_our_jobs(python: PythonSide, ask: Ask, redis_client: redis.Redis) -> None:
    ids = {job.type: job.id for job in python.queue.range(0, -1)}
    # When somebody removes, retries and reorders our jobs there
    assert ask(f"/job/{ids['done']}", "DELETE") == {"message": f"job {ids['done']} removed"}
    assert ask(f"/job/{ids['later']}/priority/-5", "PUT") == {"message": "updated priority"}
    assert ask(f"/job/{ids['later']}/state/failed", "PUT") == {"message": "updated state"}
    assert ask(f"/inactive/{ids['broken']}") == {"message": f"job {ids['broken']} inactive"}

    # Then that is how it is
    with pytest.raises(kue.JobNotFound):
        python.queue.get(ids["done"])
    later = python.queue.get(ids["later"])
    assert (later.state, later.options.priority) == ("failed", -5)
    wait_until(lambda: len(python.queue.log(ids["broken"])) == 2, message="the worker has failed it once more")
    wait_until(lambda: not inconsistencies(redis_client))


def test_ours_shows_what_node_has_filled(redis_url: str, ask_ours: Ask, redis_client: redis.Redis) -> None:
    # Given a queue that Node alone has filled, with a job in every state, and the search index
    side = NodeSide(redis_url, disableSearch=False)
    try:
        with Tap(redis_url) as tap:
            side.create("waiting", {"title": "Xin chào, welcome <b>"}, priority="high")
            side.create("later", {"title": "mai"}, delay=60_000, ttl=5000, backoff={"type": "exponential"}, attempts=3)
            for job_type, script, event in [
                ("done", WORK, "complete"), ("broken", [[["fail", "hỏng"]]], "failed"), ("busy", [[["hang"]]], "start"),
            ]:  # fmt: skip
                side.work(job_type, script)
                tap.wait(side.create(job_type, {"title": job_type}), event)
            wait_until(lambda: not inconsistencies(redis_client))
        before = raw_dump(redis_client)

        # Then every list, job, log and count is there as Node has it
        states = ("inactive", "active", "complete", "failed", "delayed")
        nodes = {job_id: side.node.call("get", job_id) for job_id in range(1, 6)}
        assert [job["state"] for job in nodes.values()] == ["inactive", "delayed", "complete", "failed", "active"]
        for job_id, job in nodes.items():
            assert ask_ours(f"/job/{job_id}") == {**job, "id": str(job_id)}
            assert ask_ours(f"/job/{job_id}/log") == side.node.call("log", job_id)
            assert ask_ours(f"/jobs/{job['state']}/0..9") == [{**job, "id": job_id}]
            assert ask_ours(f"/jobs/{job['type']}/{job['state']}/0..9/desc") == [{**job, "id": job_id}]
            page = ask_ours(f"/job/{job_id}", accept="text/html")
            assert job["type"] in page and "welcome <b>" not in page
        assert {state: ask_ours("/stats")[f"{state}Count"] for state in states} == dict.fromkeys(states, 1)
        assert ask_ours("/stats")["workTime"] == side.node.call("workTime")
        assert sorted(ask_ours("/job/types")) == sorted(side.node.call("types"))
        for words in ("welcome", "busy", "title", "zebra"):
            assert ask_ours(f"/job/search?q={words}") == side.node.call("search", words)
        for page in ("/", *(f"/{state}" for state in states)):
            assert "<html" in ask_ours(page, accept="text/html")
        assert "Xin chào, welcome &lt;b&gt;" in ask_ours("/inactive", accept="text/html")

        # and looking has changed nothing
        after = raw_dump(redis_client)
        assert {key for key in after if after[key] != before.get(key) and ":history" not in key} <= set(PASSING_KEYS)

        # When a job is retried, hurried or removed there, Node sees it
        ask_ours("/job/4/state/inactive", "PUT")
        ask_ours("/job/1/priority/-15", "PUT")
        ask_ours("/job/3", "DELETE")
        assert side.node.call("get", 1)["priority"] == -15
        assert side.node.call("range", 0, -1, "asc")[-1]["id"] == 5
        wait_until(lambda: side.node.call("get", 4)["attempts"]["made"] == 1 and not inconsistencies(redis_client))
        with pytest.raises(NodeError):
            side.node.call("get", 3)
    finally:
        side.close()
