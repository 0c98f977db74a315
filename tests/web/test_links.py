"""Every address in a page is made by one function, so that it stays below the path of the proxy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import ROOT

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static/js").rglob("*.js"))
#: These take complete addresses: the line to the server, and what makes a path an address.
EXEMPT = {"engine.js", "polling.js", "socket.js"}


#: The last one is the application's in which the monitor is.
OURS = ("#", "{{ link(", "{{ url_for(", "{{ config.KUE_BACK[1] }}")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_make_addresses_by_link(path: Path) -> None:
    found = re.findall(r'(?<![\w-])(?:href|src|action|formaction)="([^"]*)', path.read_text("utf-8"))
    assert [each for each in found if not each.startswith(OURS)] == []


@pytest.mark.parametrize("path", [each for each in SCRIPTS if each.name not in EXEMPT], ids=lambda path: path.name)
def test_scripts_make_addresses_by_link(path: Path) -> None:
    text = path.read_text("utf-8")
    used = re.findall(r"(?:(?<![\w#.])fetch\(|location\.assign\(|\.href = |\.action = |\.src = )(.{0,5})", text)
    assert [each for each in used if each != "link("] == []
    assert re.findall(r"\bio\((?!\{ path: link\()", text.replace("import { io }", "")) == []
