"""What pages show of a flow."""

from __future__ import annotations

import re
from typing import Any

import kue
from kue.management.flow_tree import read_tree
from kue.web.present.flow_view import flow_view
from kue.web.present.why_waiting import why_waiting


def make(queue: kue.Queue, count: int = 3, on_failure: str = "fail") -> tuple[kue.Job, list[kue.Job]]:
    children = [queue.create("part", {"title": f"<part> {n}"}) for n in range(count)]
    parent = queue.create("whole", {"title": "all"}).after(children, on_failure=on_failure).save()
    queue.set_state(children[0].id or 0, "complete")
    return parent.refresh(), children


def test_a_jobs_page_shows_its_flow(site: Any, queue: kue.Queue) -> None:
    parent, children = make(queue)
    html = site.http().get(f"/job/{parent.id}", headers={"Accept": "text/html"}).text
    assert "1 of 3 children" in html and "1 of its 3 children have ended" in html
    assert f"job {children[1].id} (queued), job {children[2].id} (queued)" in html
    for child in children:
        assert f'href="/job/{child.id}"' in html
    assert "&lt;part&gt; 1" in html and "<part>" not in html and len(re.findall("<rect", html)) == 4
    below = site.http().get(f"/job/{children[1].id}", headers={"Accept": "text/html"}).text
    assert "Required by" in below and f'href="/job/{parent.id}"' in below
    assert "1 of 3 children" in site.http().get("/delayed").text


def test_of_many_children_some_are_shown(queue: kue.Queue) -> None:
    parent, children = make(queue, 200, "ignore")
    for number in (160, 150):
        queue.set_state(children[number].id or 0, "failed")
    parent = parent.refresh()
    node = read_tree(parent)
    assert len(node.children) == 12 and node.more == 188
    ids = [child.id for child in children]
    assert [child.job.id for child in node.children] == [ids[150], ids[160], *ids[1:11]]  # failed, then pending
    view = flow_view(node)
    assert view["boxes"][-1]["text"] == "188 more" and len(view["lines"]) == 13
    middle = (view["boxes"][1]["y"] + view["boxes"][-1]["y"]) // 2
    assert view["boxes"][0]["y"] == middle and view["height"] > view["boxes"][-1]["y"]
    assert "and 194 more." in str(why_waiting(queue, parent))


def test_a_flow_is_cancelled_and_removed_with_its_children(site: Any, queue: kue.Queue) -> None:
    parent, children = make(queue)
    shared = queue.create("part").save()
    queue.create("other").after(shared).save()
    deep = queue.create("deep").after([queue.create("whole").after([shared, queue.create("part")])]).save()
    html = site.http().get(f"/job/{parent.id}", headers={"Accept": "text/html"}).text
    assert "Cancel with children" in html and "Remove with children" in html
    http = site.http()
    assert http.post(f"/monitor/job/{parent.id}/cancel", json={"children": True}).status_code == 200
    assert [child.refresh().state for child in children] == ["complete", "failed", "failed"]
    html = http.get(f"/job/{parent.id}", headers={"Accept": "text/html"}).text
    assert "Cancel with children" not in html and "Remove with children" in html
    assert http.post(f"/monitor/job/{parent.id}/remove", json={"children": True}).status_code == 200
    assert queue.get_many([child.id or 0 for child in children]) == []
    assert http.delete(f"/job/{deep.id}?children=1").status_code == 200
    assert queue.counts() == {"inactive": 1, "active": 0, "complete": 0, "failed": 0, "delayed": 1}
    assert shared.refresh().state == "inactive"


def test_open_parents_are_a_metric(site: Any, queue: kue.Queue) -> None:
    parent, _ = make(queue)
    assert "kue_flow_parents_waiting 1.0" in site.http().get("/metrics").text
    queue.promote(parent.id or 0)
    queue.create("later").delay(10**6).save()
    assert "kue_flow_parents_waiting 0.0" in site.http().get("/metrics").text
