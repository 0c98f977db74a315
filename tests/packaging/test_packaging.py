"""What gets installed, what stays in step, and what must not be in the repository."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.support import NODE_DIR, ROOT
from tests.support.programs import environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and line[0] not in "#-"]
    return {requirement.name.lower(): str(requirement.specifier) for requirement in wanted}


def test_every_requirement_is_pinned() -> None:
    files = ("requirements.txt", "requirements-dev.txt", "requirements-otel.txt")
    for name, version in [each for file in files for each in pinned(file).items()]:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", version), name


def test_the_tests_run_with_the_pinned_versions() -> None:
    for name, version in pinned("requirements.txt").items():
        assert version == "==" + metadata.version(name), name


def test_the_package_asks_for_what_is_pinned_and_for_nothing_else() -> None:
    extras = [line for name in ("web", "server") for line in PROJECT["optional-dependencies"][name]]
    asked = {(wanted := Requirement(line)).name.lower(): wanted.specifier for line in PROJECT["dependencies"] + extras}
    installed = pinned("requirements.txt")
    assert asked.keys() == installed.keys()
    for name, versions in asked.items():
        assert installed[name].removeprefix("==") in versions, name


def test_importing_the_library_needs_neither_flask_nor_eventlet() -> None:
    heavy = ("flask", "eventlet", "requests")
    program = f"import sys, kue, kue.embedded.server, kue.settings; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout.strip() == "[]"


def test_only_green_py_and_the_web_server_import_eventlet() -> None:
    importing = set()
    for path in (ROOT / "kue").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "eventlet" for name in names):
                importing.add(path.name)
    assert importing <= {"green.py", "wsgi_server.py"}


def test_the_lock_file_names_no_registry_and_checks_every_package() -> None:
    packages = json.loads((NODE_DIR / "package-lock.json").read_text())["packages"]
    wanted = json.loads((NODE_DIR / "package.json").read_text())["devDependencies"]
    assert packages[""]["devDependencies"] == wanted
    assert all(re.fullmatch(r"[0-9.]+", version) for version in wanted.values())
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert not path or package["integrity"].startswith("sha512-"), path
    assert "omit-lockfile-registry-resolved=true" in (NODE_DIR / ".npmrc").read_text()


def test_no_file_is_executable_by_accident() -> None:
    tracked = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    executable = {line.split("\t")[1] for line in tracked.stdout.splitlines() if line.startswith("100755")}
    assert executable <= {".ci/run"}
