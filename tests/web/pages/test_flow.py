"""What pages show of a flow."""

from __future__ import annotations

import re
from typing import Any

import kue
from kue.management.flow_tree import read_tree
from kue.web.present.flow_view import flow_view
from kue.web.present.why_waiting import why_waiting


def make(queue: kue.Queue, count: int = 3) -> tuple[kue.Job, list[kue.Job]]:
    children = [queue.create("part", {"title": f"<part> {n}"}) for n in range(count)]
    parent = queue.create("whole", {"title": "all"}).after(children).save()
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
    assert "Awaited by" in below and f'href="/job/{parent.id}"' in below
    assert "1 of 3 children" in site.http().get("/delayed").text


def test_of_many_children_some_are_shown(queue: kue.Queue) -> None:
    parent, _ = make(queue, 200)
    node = read_tree(parent)
    assert len(node.children) == 12 and node.more == 188
    view = flow_view(node)
    assert view["boxes"][-1]["text"] == "188 more" and len(view["lines"]) == 13
    middle = (view["boxes"][1]["y"] + view["boxes"][-1]["y"]) // 2
    assert view["boxes"][0]["y"] == middle and view["height"] > view["boxes"][-1]["y"]
    assert "and 196 more." in str(why_waiting(queue, parent))
