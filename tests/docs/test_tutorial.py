"""The tutorial, followed literally in an empty virtual environment, with its own embedded Valkey."""

from __future__ import annotations

import os
import re
import site
import venv
from pathlib import Path

import pytest

from tests.docs.samples import Page, wrappers
from tests.support import ROOT, free_port, require_program


@pytest.mark.long
def test_the_tutorial_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an empty environment into which this checkout and what it depends on are installed
    require_program("curl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "kue.pth").write_text("\n".join([str(ROOT), *site.getsitepackages()]) + "\n")
    programs = wrappers(tmp_path / "bin", str(home / "bin" / "python"))

    # And the page with a port that is free here
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    page = tmp_path / "tutorial.md"
    page.write_text(text.replace("3050", str(free_port())), "utf-8")
    folder = tmp_path / "shop"
    folder.mkdir()
    environ = {name: value for name, value in os.environ.items() if not re.match("KUE_|REDIS_URL|PYTHON", name)}

    # When all its commands are run, then each prints what the tutorial shows
    runner = Page(page, folder, environ, programs)
    runner.run()
    assert runner.ran >= 14
