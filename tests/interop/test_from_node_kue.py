"""The table for Node users names only what the library has."""

from __future__ import annotations

import re
from typing import Any

import pytest

import kue
import kue.settings
import kue.testing
import kue.web
from tests.support import ROOT

GUIDE = (ROOT / "docs" / "guides" / "migration" / "from-node-kue.md").read_text("utf-8")

#: Rows of tables with three cells: Node, Python, difference.
ROWS = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) ?\|$", GUIDE, re.MULTILINE)


def named(holder: str) -> set[str]:
    """The attributes of ``holder`` in the Python column and in the remarks, where they stand as code."""
    code = [text for _, ours, remark in ROWS for cell in (ours, remark) for text in re.findall(r"`([^`]*)`", cell)]
    return {name for text in code for name in re.findall(rf"\b{holder}\.(\w+)", text)}


@pytest.mark.parametrize("holder", ["kue", "queue", "job"])
def test_every_name_in_the_table_exists(holder: str) -> None:
    queue = kue.create_queue("redis://127.0.0.1:1/0")  # never connected to
    holders: dict[str, Any] = {"kue": kue, "queue": queue, "job": queue.create("email", {})}
    missing = {name for name in named(holder) if not hasattr(holders[holder], name)}
    assert missing == set()
    assert len(named(holder)) > 5
