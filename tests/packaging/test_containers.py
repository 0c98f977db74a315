"""The Dockerfile and the compose file, linted: hadolint and a Docker daemon are not everywhere."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kue.settings import OPTIONS, Settings
from tests.packaging.container_files import Instruction, compose_mistakes, dockerfile
from tests.support import ROOT, free_port

EXAMPLES = ROOT / "examples"
FILE = dockerfile((EXAMPLES / "Dockerfile").read_text())
LAST = max(each.stage for each in FILE)


def final(name: str) -> list[Instruction]:
    return [each for each in FILE if each.stage == LAST and each.name == name]


def test_images_are_pinned_and_small() -> None:
    bases = [each.text.split()[0] for each in FILE if each.name == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases) and len(set(bases)) == 1
    assert re.search(r"FROM python:3\.13", (EXAMPLES / "Dockerfile").read_text())
    # What installs stays in the first stage, and pip keeps nothing
    assert not any("pip" in each.text for each in final("RUN"))
    assert any("PIP_NO_CACHE_DIR=1" in each.text for each in FILE if each.name == "ENV" and each.stage == 0)
    assert not any(re.search(r"apt-get|curl|wget|sudo|chmod 777|:latest", each.text) for each in FILE)


def test_it_runs_as_a_user_of_its_own_who_owns_the_volumes() -> None:
    (user,) = final("USER")
    (account,) = (each.text for each in final("RUN") if "useradd" in each.text)
    uid = user.text.split(":")[0]
    assert uid.isdecimal() and int(uid) >= 1000 and f"--uid {uid}" in account and "nologin" in account
    (volume,) = final("VOLUME")
    for folder in volume.words:
        assert re.search(rf"install --directory --owner=kue --group=kue --mode=\d+.* {folder}\b", account)
    # Nothing that needs root comes after the change of user
    after = FILE[FILE.index(user) + 1 :]
    assert {each.name for each in after} <= {"EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}


def test_the_environment_is_that_of_the_settings() -> None:
    (environ,) = final("ENV")
    values = dict(each.split("=", 1) for each in environ.text.split())
    ours = {name: value for name, value in values.items() if name.startswith(("KUE_", "DOWNLOAD_", "HOST", "PORT"))}
    assert set(ours) <= {option.variable for option in OPTIONS}
    (volume,) = final("VOLUME")
    assert sorted(ours.values()) == sorted(volume.words)
    # A worker, which has no login, starts with it too
    assert Settings.load(ours).data_dir == Path("/data")
    assert values["PYTHONUNBUFFERED"] == "1"


def test_it_starts_the_page_and_signals_reach_it() -> None:
    (command,) = final("CMD")
    program, script, *flags = command.words  # raises for the shell form, in which a shell would get the signals
    assert (program, script) == ("python", "app.py") and not final("ENTRYPOINT")
    settings = Settings.load({"KUE_AUTH": "user:password"}, flags)
    assert settings.host == "0.0.0.0"
    (port,) = final("EXPOSE")
    assert int(port.text) == settings.port
    (signal,) = final("STOPSIGNAL")
    assert signal.text == "SIGTERM"


def test_the_build_has_what_it_copies_and_nothing_else_is_sent() -> None:
    ignored = [line for line in (EXAMPLES / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in "#"]
    assert ignored[0] == "*"
    kept = [line[1:] for line in ignored if line.startswith("!")]
    copies = [each.text.split() for each in FILE if each.name == "COPY" and "--from" not in each.text]
    copied = [word for words in copies for word in words[:-1]]
    assert sorted(set(copied)) == sorted(kept)
    for name in kept:
        assert (ROOT / name).exists(), name
    assert any(fnmatch.fnmatch("kue/web/__pycache__", pattern) for pattern in ignored if not pattern.startswith("!"))
    # And what the wheel is made of is there: its readme, license, templates and static files
    assert {"README.md", "LICENSE", "templates", "static", "pyproject.toml", "requirements.txt"} <= set(kept)


def test_the_health_check_tells_a_page_that_answers(make_page: Callable[[], int]) -> None:
    (check,) = final("HEALTHCHECK")
    options, _, command = check.text.partition(" CMD ")
    assert set(re.findall(r"--([a-z-]+)=\d+s?", options)) == {"interval", "timeout", "start-period", "retries"}
    words = Instruction(0, "CMD", command).words
    assert words[0] == "python"

    def healthy(port: int) -> bool:
        ran = subprocess.run([sys.executable, *words[1:]], env={**os.environ, "PORT": str(port)}, capture_output=True,
                             timeout=30)  # fmt: skip
        return ran.returncode == 0

    assert healthy(make_page()) and not healthy(free_port())


@pytest.fixture
def make_page(queue: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], int]:
    """Start the page with a login; return its port."""
    import threading

    from werkzeug.serving import make_server

    from kue import web

    def make() -> int:
        settings = Settings.load({"PORT": str(free_port()), "KUE_AUTH": "a:b", "DOWNLOAD_DIR": str(tmp_path)})
        app, _ = web.create_app(settings, queue, async_mode="threading")
        server = make_server("127.0.0.1", settings.port, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        request.addfinalizer(lambda: web.close(app))
        request.addfinalizer(server.shutdown)
        return settings.port

    return make


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    return loaded


def test_compose_has_no_mistake_and_a_mistake_would_be_found() -> None:
    assert list(compose_mistakes(compose())) == []
    for where, key, value in (
        ("web", "comand", []), ("web", "restart", "sometimes"), ("web", "ports", [3000]),
        ("worker", "volumes", ["x:/y"]), ("worker", "stop_grace_period", "30"), ("web", "healthcheck", {"every": "5s"}),
        ("web", "depends_on", {"redis": {"condition": "service_healthy"}}), ("web", "environment", {"PORT": 3000}),
    ):  # fmt: skip
        wrong = compose()
        wrong["services"][where][key] = value
        assert list(compose_mistakes(wrong)) != [], key


def test_containers_have_no_privileges() -> None:
    services = compose()["services"]
    for name in ("web", "worker"):
        service = services[name]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True and "/tmp" in service["tmpfs"] and service["init"] is True
        assert not {"privileged", "network_mode", "user", "cap_add"} & service.keys()
        targets = {volume.split(":")[1] for volume in service["volumes"]}
        assert targets <= set(final("VOLUME")[0].words)
    assert all(port.startswith("127.0.0.1:") for port in services["web"]["ports"])
    # Nobody else reaches Redis, which has no password here
    assert "ports" not in services["valkey"]
    command = " ".join(services["valkey"]["command"])
    assert "--appendonly yes" in command and "--maxmemory-policy noeviction" in command
    # The image's health check asks for the page, which a worker has not
    assert services["worker"]["healthcheck"] == {"disable": True}
