"""The examples for several processes and machines: what they say is understood by those who read it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kue.cli.root import cli
from kue.settings import OPTIONS, Settings
from tests.support import ROOT, missing

EXAMPLES = ROOT / "examples"
UNITS = sorted((EXAMPLES / "systemd").glob("*.service"))


def compose() -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        missing("PyYAML is not installed: make test installs it")
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    return loaded


def check_command(words: list[str]) -> None:
    """A command line of ours is one of the two programs, with options that they have."""
    assert words[0].endswith("python")
    if words[1:] == ["app.py"]:
        return
    assert words[1:3] == ["-m", "kue"]
    said = CliRunner().invoke(cli, [*words[3:], "--help"])
    assert said.exit_code == 0, said.output
    options = [word for word in words[3:] if word.startswith("-")]
    assert all(re.search(rf"(^|[\s,]){re.escape(option)}\b", said.output) for option in options)


def test_compose_starts_a_page_without_workers_and_workers_without_a_page() -> None:
    services = compose()["services"]
    assert set(services) == {"valkey", "web", "worker"}
    known = {option.variable for option in OPTIONS}
    for name in ("web", "worker"):
        service = services[name]
        assert set(service["environment"]) <= known
        assert service["environment"]["REDIS_URL"] == "redis://valkey:6379/0"
        assert (EXAMPLES / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        check_command(service["command"])
        told = {key: re.sub(r"\$\{.*\}", "user:password", value) for key, value in service["environment"].items()}
        settings = Settings.load(told)
        assert (settings.workers, settings.auth is not None) == ((0, True) if name == "web" else (1, False))
    assert services["web"]["environment"]["KUE_WORKERS"] == "0"
    # The worker, in a container of its own, may fetch the sample file of the page
    at_page = {services[name]["environment"]["KUE_INTERNAL_URL"] for name in ("web", "worker")}
    assert at_page == {f"http://web:{Settings.load({}).port}"}
    assert set(compose()["volumes"]) == {"jobs", "downloads"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_units(unit: Path, tmp_path: Path) -> None:
    # Given the unit with a Python and a folder that are there
    text = unit.read_text()
    command = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert command is not None
    check_command(shlex.split(command[1]))
    assert set(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)) <= {option.variable for option in OPTIONS}
    verify = shutil.which("systemd-analyze")
    if verify is None:
        missing("systemd-analyze is not installed")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/kue/.venv/bin/python", sys.executable).replace("/opt/kue", str(ROOT)))

    # When systemd reads it, then it has nothing to say about it
    said = subprocess.run([verify, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    about = [line for line in (said.stderr + said.stdout).splitlines() if unit.name in line or str(copy) in line]
    assert (said.returncode, about) == (0, [])

    # And by its own measure, from 0 to 10, hardly anything is exposed
    words = [verify, "security", "--offline=true", "--threshold=20", "--no-pager", str(copy)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stdout


def test_both_units_are_hardened_alike_and_may_write_where_the_settings_say() -> None:
    web, worker = (set(unit.read_text().partition("TimeoutStopSec")[2].splitlines()) for unit in UNITS)
    assert web == worker
    for unit in UNITS:
        text = unit.read_text()
        assert "ProtectSystem=strict" in text and "StateDirectory=kue\n" in text
        environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
        settings = Settings.load(environ)
        assert all(folder.is_relative_to("/var/lib/kue") for folder in (settings.download_dir, settings.data_dir))


def test_there_are_units_for_the_page_and_the_workers() -> None:
    assert [unit.name for unit in UNITS] == ["kue-web.service", "kue-worker.service"]
