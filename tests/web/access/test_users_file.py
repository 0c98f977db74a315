"""The users of a file: they log in, changes count at once, and nobody learns which users there are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.security import generate_password_hash

from kue.config.users_file import FileUser, UsersFile, UsersFileError, editing, read
from kue.settings import Settings
from kue.web.access import passwords
from tests.support import wait_until
from tests.web.access.test_security import basic

#: Cheap to compute, as no hash of `kue user` is.
METHOD = "pbkdf2:sha256:1"


def put(path: Path, *users: tuple[str, str, str]) -> None:
    with editing(path) as kept:
        kept.clear()
        kept.update({name: FileUser(name, role, generate_password_hash(word, METHOD)) for name, role, word in users})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    put(path, ("anna", "write", "annas word"), ("eva", "read", "evas word"))
    return path


@pytest.fixture
def site(make_site: Callable[..., Any], path: Path) -> Any:
    return make_site(KUE_USERS_FILE=str(path))


def status(site: Any, user: str, word: str) -> int:
    return int(site.http().get("/stats", headers=basic(f"{user}:{word}")).status_code)


def log_in(site: Any, user: str, word: str) -> Any:
    http = site.http()
    assert http.post("/login", data={"user": user, "password": word}).status_code == 303
    return http


def test_users_of_the_file_have_their_roles(site: Any, queue: Any) -> None:
    queue.create("a").save()
    assert site.http().get("/stats").status_code == 401
    assert (status(site, "anna", "annas word"), status(site, "eva", "evas word")) == (200, 200)
    assert (status(site, "anna", "evas word"), status(site, "bob", "annas word")) == (401, 401)
    assert site.http().delete("/job/1", headers=basic("eva:evas word")).status_code == 403
    assert site.http().delete("/job/1", headers=basic("anna:annas word")).status_code == 200
    # a password of the file is no token: each guess would be compared with every user's
    assert site.http().get("/stats", headers={"Authorization": "Bearer annas word"}).status_code == 401


def test_a_change_applies_at_once_and_ends_the_affected_sessions(site: Any, path: Path, queue: Any) -> None:
    anna, eva = log_in(site, "anna", "annas word"), log_in(site, "eva", "evas word")
    socket = site.socketio.test_client(
        site.app, headers={"Host": site.url.removeprefix("http://"), **basic("anna:annas word")}
    )
    by_session = site.socketio.test_client(
        site.app, headers={"Host": site.url.removeprefix("http://")}, flask_test_client=eva
    )
    assert socket.is_connected() and by_session.is_connected()
    # When one gets another password and the other another role
    put(path, ("anna", "write", "new word!"), ("eva", "write", "evas word"))
    with editing(path) as users:  # a new hash of the same word ends her session too; this keeps the old one
        users["eva"] = users["eva"]._replace(role="write")
    assert anna.get("/stats").status_code == 401
    assert (status(site, "anna", "annas word"), status(site, "anna", "new word!")) == (401, 200)
    answer = socket.emit("start", {"type": "download", "url": "http://example.com/x"}, callback=True)
    assert "session has ended" in answer["error"] and queue.counts()["inactive"] == 0
    site.monitor.sockets.close_ended()
    assert not socket.is_connected() and not by_session.is_connected()
    # When one is removed
    anna = log_in(site, "anna", "new word!")
    assert anna.get("/stats").status_code == 200
    put(path, ("eva", "write", "evas word"))
    assert anna.get("/stats").status_code == 401 and status(site, "anna", "new word!") == 401


def test_a_role_counts_in_a_session_that_continues(site: Any, path: Path, queue: Any) -> None:
    queue.create("a").save()
    eva = log_in(site, "eva", "evas word")
    assert eva.delete("/job/1").status_code == 403
    with editing(path) as users:
        users["eva"] = users["eva"]._replace(role="write")
    assert eva.delete("/job/1").status_code == 200


def test_without_the_file_or_with_a_broken_one_nobody_gets_in(
    site: Any, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anna, kept = log_in(site, "anna", "annas word"), path.read_text()
    path.write_text("anna:write:plain text\nx\n" + kept.splitlines()[-1] + "\n")
    assert (anna.get("/stats").status_code, status(site, "anna", "plain text")) == (401, 401)
    assert status(site, "eva", "evas word") == 200
    assert "line 1: user anna: no password hash" in caplog.text and "plain text" not in caplog.text
    path.unlink()
    assert (anna.get("/stats").status_code, status(site, "eva", "evas word")) == (401, 401)
    path.write_text(kept)
    assert anna.get("/stats").status_code == 200


def test_a_user_who_does_not_exist_takes_as_long_as_a_wrong_password(
    make_site: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, checked = make_site(KUE_USERS_FILE=str(path), KUE_AUTH="ada:of the settings"), []
    check = passwords.check_password_hash
    monkeypatch.setattr(passwords, "check_password_hash", lambda *args: checked.append(args[0]) or check(*args))

    def hashes(user: str, word: str) -> list[str]:
        checked.clear()
        assert site.http().post("/login", data={"user": user, "password": word}).status_code == 401
        return [each.partition("$")[0] for each in checked]

    for user in ("anna", "bob", "ada", "", "anna\0"):  # of the file, of nobody, of the settings
        assert hashes(user, "wrong") == [METHOD], user
    # and one that is right is hashed once, however many requests bear it
    checked.clear()
    assert [status(site, "anna", "annas word") for _ in range(5)] == [200] * 5 and len(checked) == 1
    # a user of the settings is not replaced by one of the file
    put(path, ("ada", "read", "of the file"))
    assert status(site, "ada", "of the file") == 401 and status(site, "ada", "of the settings") == 200


def test_a_slow_check_holds_up_neither_others_nor_lets_guesses_pass_the_delay(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, begun, go_on = site.app.extensions["kue_security"].accounts, threading.Event(), threading.Event()
    check = passwords.check_password_hash

    def slow(stored: str, word: str) -> bool:
        if word == "slow guess":
            begun.set()
            assert go_on.wait(20)
        return check(stored, word)

    monkeypatch.setattr(passwords, "check_password_hash", slow)
    outcomes: list[str] = []

    def guess() -> None:
        try:
            outcomes.append(str(accounts.check("anna", "slow guess", "192.0.2.1")))
        except Exception as exc:
            outcomes.append(type(exc).__name__)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    assert accounts.check("eva", "evas word", "192.0.2.1").name == "eva"
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["LoginDelayed"] * 7 + ["None"] * 5
    assert accounts._throttle._turns == {}


def test_the_sessions_of_a_user_can_be_ended_by_an_operator(site: Any, queue: Any) -> None:
    anna, eva = log_in(site, "anna", "annas word"), log_in(site, "eva", "evas word")
    queue.end_sessions_of("anna")
    assert (anna.get("/stats").status_code, eva.get("/stats").status_code) == (401, 200)
    wait_until(lambda: log_in(site, "anna", "annas word").get("/stats").status_code == 200)
    queue.end_sessions_of()
    assert eva.get("/stats").status_code == 401
    assert 0 < queue.session.call(lambda client: client.ttl("q:sessions:revoked")) <= 366 * 86_400


def test_a_session_lasts_as_long_as_the_setting_says(make_site: Callable[..., Any], path: Path) -> None:
    site = make_site(KUE_USERS_FILE=str(path), KUE_SESSION_LIFETIME="12h")
    http = log_in(site, "anna", "annas word")
    with http.session_transaction(base_url=site.url) as cookie:
        assert abs(cookie["until"] - time.time() - 12 * 3600) < 60
        cookie["since"] -= 13 * 3600 * 1000
    assert http.get("/stats").status_code == 401  # shortened after the login, it counts too


def test_the_file_is_replaced_in_one_step_and_kept_from_others(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "real"
    path.write_text("# ours\n\neva:read:" + generate_password_hash("evas word", METHOD) + "\n# last\n")
    path.chmod(0o644)
    link.symlink_to(path)
    before = path.stat().st_ino
    seen = UsersFile(link)
    assert list(seen.users()) == ["eva"]
    with editing(link) as users:
        users["anna"] = FileUser("anna", "write", users["eva"].hash)
    assert link.is_symlink() and path.stat().st_ino != before and path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("# ours\n\neva:read:") and "# last\nanna:write:" in path.read_text()
    assert list(seen.users()) == ["eva", "anna"]
    # An error changes nothing, and leaves nothing behind
    text = path.read_text()
    with pytest.raises(ZeroDivisionError), editing(path) as users:
        users.clear()
        raise ZeroDivisionError
    assert path.read_text() == text and sorted(os.listdir(tmp_path)) == ["link", "real"]
    path.write_text("nonsense\n")
    with pytest.raises(UsersFileError, match="nonsense"), editing(path):
        pytest.fail("a file that is not understood would be overwritten")


def test_many_who_change_the_file_at_once_lose_nothing(path: Path) -> None:
    def add(number: int) -> None:
        with editing(path) as users:
            users[f"user{number}"] = users["eva"]._replace(name=f"user{number}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(read(path)[0]) == 22 and read(path)[1] == []


def test_with_a_file_the_server_may_listen_beyond_loopback(path: Path) -> None:
    assert Settings.load({"KUE_USERS_FILE": str(path), "HOST": "0.0.0.0"}).users_file == path
