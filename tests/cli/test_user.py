"""``kue user``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kue.cli.root import cli
from kue.config.users_file import read
from kue.web.access.passwords import Passwords


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KUE_USERS_FILE", str(tmp_path / "users"))

    def call(*words: str, typed: str = "") -> Any:
        return CliRunner().invoke(cli, ["user", *words], input=typed)

    return call


def test_the_life_of_a_user(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "users"
    added = run("add", "anna", typed="a good password\n")
    assert added.stdout == "anna added, write\n" and ("; chown it to" in added.stderr) is (os.geteuid() == 0)
    assert path.stat().st_mode & 0o777 == 0o600 and "a good password" not in path.read_text()
    stored = read(path)[0]["anna"].hash
    assert stored.startswith("scrypt:32768:8:1$") and Passwords().is_right(stored, "a good password")
    added = run("add", "eva", "--role", "read", typed="another password\n")
    assert (added.exit_code, added.stderr) == (0, "")
    again = run("add", "anna", typed="x\n")
    assert again.exit_code == 1 and "kue user passwd anna" in again.output
    assert run("passwd", "anna", typed="a new password\r\n").exit_code == 0
    assert read(path)[0]["anna"].hash != stored
    assert run("role", "eva", "write").output == "eva: write\n"
    assert json.loads(run("ls", "--json").output) == [
        {"name": "anna", "role": "write"}, {"name": "eva", "role": "write"},
    ]  # fmt: skip
    assert run("rm", "anna", "bob").exit_code == 1 and len(read(path)[0]) == 2
    assert run("rm", "anna").output == "anna removed\n" and list(read(path)[0]) == ["eva"]


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (("add", "anna"), "short\n", "at least 8 characters"),
        (("add", "anna"), "", "at least 8 characters"),
        (("add", "a:b"), "long enough\n", "is not a valid user name"),
        (("passwd", "bob"), "long enough\n", "user bob does not exist"),
        (("role", "bob", "read"), "", "user bob does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(
    run: Any, tmp_path: Path, words: tuple[str, ...], typed: str, said: str
) -> None:
    (tmp_path / "users").write_text("# nobody\n")
    result = run(*words, typed=typed)
    assert result.exit_code == 1 and said in str(result.exception or "") + result.output
    assert (tmp_path / "users").read_text() == "# nobody\n"


def test_a_password_is_no_argument_and_the_file_must_be_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("add", "anna", "a good password").exit_code == 2
    monkeypatch.delenv("KUE_USERS_FILE")
    result = run("ls")
    assert result.exit_code == 2 and "KUE_USERS_FILE" in result.output


def test_sessions_are_ended_by_name_or_all(run: Any, redis_url: str, redis_client: Any) -> None:
    assert run("logout", "anna", "-r", redis_url).exit_code == 0
    assert list(redis_client.hgetall("q:sessions:revoked")) == ["anna"]
    assert run("logout", "--all", "-r", redis_url).exit_code == 0
    assert set(redis_client.hgetall("q:sessions:revoked")) == {"anna", "*"}
    assert run("logout", "-r", redis_url).exit_code == 2
