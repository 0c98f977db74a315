"""Every code sample of every page runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.docs.samples import Page, commands_of, same_output, samples_of, wrappers
from tests.support import ROOT
from tests.support.otel import sdk_on_path

#: The tutorial starts servers of its own; test_tutorial.py follows it.
PAGES = sorted(page for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if page.name != "tutorial.md")


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in PAGES if samples_of(page)], ids=label)
def test_the_samples_of_a_page_run(
    page: Path, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("KUE_ALLOW_ANONYMOUS", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "page"
    folder.mkdir()
    runner = Page(page, folder, dict(os.environ), wrappers(tmp_path / "bin"))
    with sdk_on_path() if page.name == "tracing.md" else contextlib.nullcontext():
        runner.run()
    assert runner.ran or all(sample.how.startswith("skip: ") for sample in samples_of(page))


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_code_block_is_fenced_and_closed(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.count("\n```") == 2 * len(samples_of(page))
    indented = [line for line in text.splitlines() if line.startswith("    ") and line.strip().startswith(("$", ">>>"))]
    assert indented == []


def test_output_is_compared_but_for_times() -> None:
    assert same_output("done in 12 ms\n", "done in 7 ms\n")
    assert same_output("a\n...\nc\n", "a\nb\nb\nc\n")
    assert same_output("a …\n", "a b c\n")
    assert not same_output("a\n", "b\n")
    assert not same_output("a\n", "a\nb\n")


def test_commands_are_told_from_their_output() -> None:
    assert list(commands_of("$ a\n1\n2\n$ b\n")) == [("a", "1\n2\n"), ("b", "")]
