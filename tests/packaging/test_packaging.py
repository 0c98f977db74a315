"""What gets installed, what stays in step, and what must not be in the repository."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import NODE_DIR, ROOT, free_port, missing, wait_until
from tests.support.programs import environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and line[0] not in "#-"]
    return {requirement.name.lower(): str(requirement.specifier) for requirement in wanted}


def test_every_requirement_is_pinned() -> None:
    for name, version in (pinned("requirements.txt") | pinned("requirements-dev.txt")).items():
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the project, built as ``pip install .`` builds it."""
    if not (ROOT / "templates").is_dir() or not (ROOT / "static").is_dir() or not (ROOT / "README.md").is_file():
        pytest.skip("the page is not there yet")
    source, target = tmp_path_factory.mktemp("source") / "kue", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", ".venv*", "node_modules", ".kue", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(target), str(source)], capture_output=True, text=True, timeout=300
    )
    if built.returncode != 0 and "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        missing("hatchling cannot be fetched, so no wheel can be built")
    assert built.returncode == 0, built.stderr
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_holds_the_library_its_scripts_and_the_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("kue", "kue"), ("templates", "kue/web/templates"), ("static", "kue/web/static")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert any(name.startswith("kue/storage/lua/") and name.endswith(".lua") for name in names)
    roots = {name.split("/")[0] for name in names}
    assert roots == {"kue", f"kue-{PROJECT['version']}.dist-info"}


@pytest.mark.slow
def test_the_installed_package_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import kue, sys; from kue.embedded.server import EmbeddedServer\n"
        "assert kue.__file__.startswith(sys.argv[1]), kue.__file__\n"
        "with EmbeddedServer(sys.argv[1] + '/data') as server:\n"
        "    queue = kue.create_queue(server.url)\n"
        "    print(queue.create('email', {}).save().id)\n"
        "    queue.shutdown(1)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("1\n", "")


@pytest.mark.slow
def test_the_installed_package_serves_the_page_and_downloads(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    port = free_port()
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PORT": str(port), "REDIS_URL": "embedded://"}
    process = subprocess.Popen([sys.executable, "-m", "kue", "serve"], cwd=tmp_path, env=environ)
    try:

        def page() -> bytes:
            with contextlib.suppress(OSError):
                return bytes(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read())
            return b""

        wait_until(lambda: b"button_start" in page(), 30)
        body = {"type": "startdownload", "data": {"url": f"http://localhost:{port}/static/css/monitor.css"}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/job", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        wait_until(lambda: list((tmp_path / "downloads").glob("*-monitor.css")), 30)
    finally:
        process.terminate()
        assert process.wait(20) == 0


USERS_PROGRAM = '''
from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

import kue
from kue.testing import collected, kue_queue

queue = kue.create_queue(redis.Redis(), "shop", lease_ms=10_000, search=True)


@queue.process("email", concurrency=20)
def send(job: kue.Job) -> dict[str, bool]:
    job.log("sending to %s", job.data["to"])
    job.progress(1, 2, {"step": "half"})
    if job.attempts_made > 2:
        raise kue.UnrecoverableError("no use")
    return {"sent": True}


def with_done(job: kue.Job, ctx: Any, done: Any) -> None:
    ctx.pause()
    done(None, job.id)


queue.process("other", with_done)
queue.process("third", 5, with_done)
queue.backoff("slow", lambda attempts, delay_ms: attempts * 1000.0)


def order(number: int) -> kue.Job:
    job = queue.create("email", {"to": "tj"}).priority("high").attempts(3).backoff("exponential").ttl(5000)
    job.delay(datetime.now() + timedelta(minutes=1)).search_keys(["to"]).on("complete", print).save()
    many: list[kue.Job] = queue.create_many([{"type": "email", "data": {"n": number}}])
    found: list[int | str] = queue.search("tj", limit=5)
    counts: dict[str, int] = queue.counts("email")
    name: str | None = queue.setting("name")
    print(job.wait(timeout_s=10), many[0].id, found, counts["failed"], name)
    return job


def watch(event: kue.Event) -> None:
    print(event.id, event.event, event.args)


def stop() -> None:
    end = queue.on("job complete", print).on("error", print).subscribe(watch)
    try:
        queue.get(7).remove()
    except kue.JobNotFound as exc:
        print(exc.job_id)
    end()
    queue.shutdown(5, "email")


def test_an_order(kue_queue: kue.Queue) -> None:
    with collected(queue) as jobs:
        assert jobs == kue_queue.test_mode.jobs


@pytest.fixture
def mine() -> Iterator[kue.Queue]:
    yield queue


def wrong() -> None:
    queue.create(7)  # type: ignore[arg-type]
'''


@pytest.mark.slow
def test_a_users_typed_program_passes_the_strict_type_checker(wheel: Path, tmp_path: Path) -> None:
    # Given an environment in which the package is installed as anybody has it
    site = sysconfig.get_paths(vars={"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")})["purelib"]
    venv.create(tmp_path / "venv", symlinks=True)
    zipfile.ZipFile(wheel).extractall(site)
    (Path(site) / "others.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    (tmp_path / "program.py").write_text(USERS_PROGRAM, encoding="utf-8")
    # When its program is checked
    python = tmp_path / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "program.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    # Then there is nothing to say; the wrong use is an error, or the mark that lets it pass would be one
    assert result.stdout.startswith("Success"), result.stdout + result.stderr
