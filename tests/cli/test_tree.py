"""``kue tree``."""

from __future__ import annotations

import json
from typing import Any


def test_a_flow_is_printed_as_a_tree(kue: Any, queue: Any) -> None:
    children = [queue.create("part") for _ in range(3)]
    parent = queue.create("whole").after(children).save()
    queue.set_state(children[0].id, "complete")
    shown = kue("tree", parent.id).out
    assert shown.splitlines()[0] == f"{parent.id}  whole  delayed  1 of 3 children"
    assert f"├─ {children[0].id}  part  complete" in shown and f"└─ {children[2].id}  part  inactive" in shown
    form = json.loads(kue("tree", parent.id, "--json").out)
    assert [child["id"] for child in form["children"]] == [child.id for child in children]
    assert f"awaited by job {parent.id}" in kue("tree", children[0].id).out
    assert kue("tree", 99).code == 1
