"""``kue check``: what it prints, and its exit codes. What it finds is in tests/preflight/test_preflight.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import free_port


def test_exit_codes_and_json(kue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("KUE_", "DOWNLOAD_"))]:
        monkeypatch.delenv(name)
    for name, value in {"DOWNLOAD_DIR": str(tmp_path), "DOWNLOAD_MAX_BYTES": "1M", "PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    said = kue("check")
    assert said.code == 0 and said.out.splitlines()[-1].startswith("0 errors, ")
    assert kue("check", "--strict").code == 1  # the tests' Valkey keeps nothing on disk
    (tmp_path / "kue.env").write_text("# shared\nPORT=0\n")
    said = kue("check", "--env-file", tmp_path / "kue.env", "--quiet")
    assert said.code == 1 and not any(line.startswith("ok") for line in said.out.splitlines())
    assert said.out.startswith("error    settings: PORT=0 is invalid. Write a whole number from 1 to 65535.\n")
    found = json.loads(kue("check", "--json").out)
    assert {each["level"] for each in found} == {"ok", "warning"}
    assert set(found[0]) == {"level", "about", "what", "remedy"}
    (tmp_path / "bad.env").write_text("PORT\n")
    assert kue("check", "--env-file", tmp_path / "bad.env").code == 2
    nowhere = kue("check", "-r", f"redis://127.0.0.1:{free_port()}/0")
    assert nowhere.code == 3 and "error    redis: it is unreachable" in nowhere.out
    assert "download folder" in nowhere.out  # the rest is checked all the same
