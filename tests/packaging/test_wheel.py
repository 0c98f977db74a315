"""The wheel alone: what it holds, and the main job from an empty virtual environment, without the checkout."""

from __future__ import annotations

import ast
import contextlib
import email
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from kue.web.pages.sample_file import PATH as SAMPLE_PATH
from kue.web.pages.sample_file import SIZE_BYTES, sample_bytes
from tests.docs.samples import samples_of
from tests.packaging.conftest import clean
from tests.support import ROOT, free_port, wait_until

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIMIT_S = 60


@pytest.mark.long
def test_the_wheel_holds_the_library_its_scripts_and_the_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("kue", "kue"), ("templates", "kue/web/templates"), ("static", "kue/web/static")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert any(name.startswith("kue/storage/lua/") and name.endswith(".lua") for name in names)
    roots = {name.split("/")[0] for name in names}
    assert roots == {"kue", f"kue-{PROJECT['version']}.dist-info"}


@pytest.mark.long
def test_the_metadata_says_what_it_is_and_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = f"kue-{PROJECT['version']}.dist-info"
        said = email.message_from_bytes(archive.read(f"{inside}/METADATA"))
        assert f"{inside}/licenses/LICENSE" in archive.namelist()
        scripts = archive.read(f"{inside}/entry_points.txt").decode()
    assert (said["Name"], said["Version"], said["Requires-Python"]) == ("kue", PROJECT["version"], ">=3.11")
    assert said["License-Expression"] == "MIT" and said["Author"] and said["Summary"] == PROJECT["description"]
    assert said["Description-Content-Type"] == "text/markdown"
    text = said.get_payload(decode=True)
    assert isinstance(text, bytes) and text == (ROOT / "README.md").read_bytes()
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(said.get_all("Classifier", []))
    assert set(said.get_all("Provides-Extra", [])) == {"web", "server", "otel", "all"}
    assert "kue = kue.cli:main" in scripts
    # Without an extra it needs neither a web framework nor a server
    plain = [each for each in said.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert {re.split("[<>;= ]", each)[0] for each in plain} == {
        "redis", "msgspec", "hiredis", "click", "cronsim", "tzdata", "setproctitle", "greenlet",
    }  # fmt: skip


@pytest.mark.long
def test_the_source_distribution_has_what_its_readers_need_and_no_more(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.split("/")[0] for name in names if name}
    wanted = {"kue", "templates", "static", "app.py", "README.md", "CHANGELOG.md", "LICENSE", "docs", "examples"}
    assert wanted | {"pyproject.toml", "PKG-INFO", "requirements.txt"} <= tops
    assert not {"tests", "bench", ".ci", "downloads", ".git", ".venv"} & tops
    assert not [name for name in names if name.endswith((".pyc", ".so")) or "__pycache__" in name]
    # The links of the readme lead to files that are there
    links = re.findall(r"\]\(([\w./-]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10 and set(links) <= names | {"CONTRIBUTING.md"}


@pytest.mark.long
def test_the_command_says_its_version(empty_environment: Path, tmp_path: Path) -> None:
    words = [str(empty_environment / "bin" / "kue"), "--version"]
    said = subprocess.run(words, cwd=tmp_path, env=clean(), capture_output=True, text=True, timeout=LIMIT_S)
    assert (said.returncode, said.stdout, said.stderr) == (0, f"kue {PROJECT['version']}\n", "")


@pytest.mark.long
def test_everything_is_imported_from_the_environment_and_nothing_from_elsewhere(
    empty_environment: Path, tmp_path: Path
) -> None:
    program = "import sys, kue.web, kue.downloads, flask; print([*sys.path[1:], kue.__file__, flask.__file__])"
    python = str(empty_environment / "bin" / "python")
    said = subprocess.run([python, "-W", "ignore", "-c", program], cwd=tmp_path, env=clean(), capture_output=True,
                          text=True, timeout=LIMIT_S)  # fmt: skip
    assert said.stderr == ""
    *places, kue_file, flask_file = ast.literal_eval(said.stdout)
    assert kue_file.startswith(str(empty_environment)) and flask_file.startswith(str(empty_environment))
    assert not any(Path(place).resolve().is_relative_to(ROOT.resolve()) for place in places)
    assert not any("site-packages" in place and not place.startswith(str(empty_environment)) for place in places)


@pytest.fixture
def serve(empty_environment: Path, tmp_path: Path) -> Iterator[str]:
    """``kue serve`` on a free port, with a Valkey of its own; yields its URL."""
    port = free_port()
    process = subprocess.Popen(
        [str(empty_environment / "bin" / "kue"), "serve", "--port", str(port)],
        cwd=tmp_path,
        env=clean(REDIS_URL="embedded://"),
    )
    url = f"http://127.0.0.1:{port}"

    def page() -> bytes:
        assert process.poll() is None, "it ended"
        with contextlib.suppress(OSError):
            return bytes(urllib.request.urlopen(url, timeout=5).read())
        return b""

    try:
        wait_until(lambda: b"button_start" in page(), LIMIT_S)
        yield url
    finally:
        process.terminate()
        code = process.wait(20)
    assert code == 0


@pytest.mark.long
def test_the_main_job_runs_to_its_end(serve: str, tmp_path: Path) -> None:
    # Given two Socket.IO clients
    heard: list[Any] = []
    with socketio.SimpleClient() as client, socketio.SimpleClient() as other:
        client.connect(serve)
        other.connect(serve)
        # When one starts the download of the built-in file
        answer = client.call("start", {"type": "download", "url": f"{serve}{SAMPLE_PATH}"}, timeout=LIMIT_S)
        job_id = answer["id"]
        # Then the other hears that it begins and is complete
        while ["complete", {"id": job_id}] not in heard:
            heard.append(other.receive(timeout=LIMIT_S))
    assert heard.index(["start", {"id": job_id}]) < heard.index(["complete", {"id": job_id}])
    # And the job names a file that holds each byte
    with urllib.request.urlopen(f"{serve}/job/{job_id}", timeout=10) as found:
        job = json.load(found)
    assert job["state"] == "complete"
    data = (tmp_path / "downloads" / job["result"]["file"]).read_bytes()
    assert hashlib.sha256(data).digest() == hashlib.sha256(b"".join(sample_bytes(0, SIZE_BYTES))).digest()


@pytest.mark.long
@pytest.mark.parametrize("interactive", [False, True], ids=["as a file", "at the prompt"])
def test_the_lines_of_the_readme_run_when_pasted(empty_environment: Path, tmp_path: Path, interactive: bool) -> None:
    # Given the Python block of the README, and an environment in which there is nothing but the package
    (lines,) = (each.body for each in samples_of(ROOT / "README.md") if each.language == "python")
    (tmp_path / "pasted.py").write_text(lines)
    command = [str(empty_environment / "bin" / "python"), *(["-i"] if interactive else ["pasted.py"])]
    # When it is run, with no Redis named and in an empty folder
    said = subprocess.run(
        command, cwd=tmp_path, env=clean(), input=lines if interactive else "", capture_output=True, text=True,
        timeout=LIMIT_S,
    )  # fmt: skip
    # Then it prints the result and ends
    assert (said.returncode, said.stdout) == (0, "{'sent': True}\n"), said.stderr
    assert interactive or said.stderr == ""
    assert (tmp_path / ".kue").is_dir()


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


@pytest.mark.long
def test_a_users_typed_program_passes_the_strict_type_checker(wheel: Path, tmp_path: Path) -> None:
    # Given an environment in which the package is installed as anybody has it
    site = sysconfig.get_paths(vars={"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")})["purelib"]
    venv.create(tmp_path / "venv", symlinks=True)
    zipfile.ZipFile(wheel).extractall(site)
    (Path(site) / "others.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    (tmp_path / "program.py").write_text(USERS_PROGRAM, encoding="utf-8")
    # When its program is checked
    python = tmp_path / "venv" / "bin" / "python"
    cache = ROOT / ".mypy_cache" / "users-program"  # what it knows of other packages serves the next run
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--cache-dir", str(cache)]
    result = subprocess.run([*command, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    # Then there is nothing to say; the wrong use is an error, or the mark that lets it pass would be one
    assert result.stdout.startswith("Success"), result.stdout + result.stderr
