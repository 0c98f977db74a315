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
    assert f"required by job {parent.id}" in kue("tree", children[0].id).out
    assert kue("tree", 99).code == 1


def test_a_flow_is_cancelled_and_removed_with_its_children(kue: Any, queue: Any) -> None:
    children = [queue.create("part") for _ in range(3)]
    parent = queue.create("whole").after(children).save()
    assert kue("cancel", parent.id, "--children").code == 0
    assert [child.refresh().state for child in children] == ["failed"] * 3
    assert kue("rm", parent.id, "--children").code == 0
    assert queue.get_many([parent.id, *(child.id for child in children)]) == []
