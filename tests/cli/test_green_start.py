"""KUE_GREEN: which words it takes, in a command and in app.py, which decides before it can import anything."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from kue.cli.green_start import wants_green
from tests.support import ROOT


@pytest.mark.parametrize(("word", "green"), [("1", True), (" Yes ", True), ("0", False), ("FALSE", False)])
def test_a_word_for_yes_or_no_decides(monkeypatch: pytest.MonkeyPatch, word: str, green: bool) -> None:
    monkeypatch.setenv("KUE_GREEN", word)
    assert wants_green() is green


def test_any_other_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUE_GREEN", "maybe")
    with pytest.raises(click.UsageError, match="^KUE_GREEN=maybe: write 1 or 0$"):
        wants_green()
    environ = {**os.environ, "KUE_GREEN": "maybe"}
    ended = subprocess.run([sys.executable, ROOT / "app.py"], env=environ, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, "kue: KUE_GREEN=maybe: write 1 or 0.\n")
