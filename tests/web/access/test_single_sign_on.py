"""Users whom a trusted proxy names in a header."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from kue.settings import Settings, SettingsError
from kue.web.live import socket_events
from tests.support import wait_until
from tests.support.web_socket import WebSocket

SETTINGS = {
    "KUE_TRUSTED_PROXIES": "10.0.0.0/8",
    "KUE_AUTH_HEADER": "X-Forwarded-User",
    "KUE_AUTH_HEADER_USERS": "anna,eva:read",
}
PROXY, STRANGER = "10.0.0.1", "192.0.2.66"


@pytest.fixture
def ask(make_site: Callable[..., Any]) -> Callable[..., Any]:
    """Call a site: ``ask("GET", "/stats", "anna", peer=PROXY)``."""
    site = make_site(**SETTINGS, KUE_TOKEN="write-token-0123456789")

    def call(
        method: str, path: str, user: str | None, peer: str = PROXY, body: str | None = None, **headers: str
    ) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"X-Forwarded-User": user} if user is not None else {}
        return site.http().open(path, method=method, data=body, headers=sent, environ_base={"REMOTE_ADDR": peer})

    return call


def test_the_user_has_the_role_of_the_list_and_is_in_the_audit_log(
    ask: Callable[..., Any], queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue.create("a").save()
    assert ask("GET", "/stats", "eva").status_code == 200
    assert ask("DELETE", "/job/1", "eva").status_code == 403
    with caplog.at_level(logging.INFO, "kue.web.audit"):
        assert ask("DELETE", "/job/1", "anna", X_Forwarded_For="192.0.2.5").status_code == 200
    assert "by anna from 192.0.2.5" in caplog.text


@pytest.mark.parametrize("user", ["mallory", "*", "anna,eva", "anna, mallory", "Anna", "anna:read", "a" * 300])
def test_who_is_not_on_the_list_has_no_access(ask: Callable[..., Any], user: str) -> None:
    answer = ask("GET", "/stats", user)
    assert answer.status_code == 403 and "KUE_AUTH_HEADER_USERS" in answer.json["error"]


@pytest.mark.parametrize("user", ["anna", "eva", "mallory"])
@pytest.mark.parametrize("senders", ["", "10.0.0.1", "127.0.0.1, 10.0.0.1"])
def test_nobody_else_may_name_a_user(ask: Callable[..., Any], user: str, senders: str) -> None:
    more = {"X_Forwarded_For": senders} if senders else {}
    assert ask("GET", "/stats", user, STRANGER, **more).status_code == 401
    assert ask("GET", "/stats", user, "127.0.0.1", **more).status_code == 401


def test_without_the_header_other_credentials_are_needed(ask: Callable[..., Any]) -> None:
    assert ask("GET", "/stats", None).status_code == 401 and ask("GET", "/stats", "").status_code == 401
    assert ask("GET", "/stats", None, Authorization="Bearer write-token-0123456789").status_code == 200


def test_another_sites_page_changes_nothing_with_the_users_name(ask: Callable[..., Any], queue: Any) -> None:
    queue.create("a").save()
    assert ask("DELETE", "/job/1", "anna", Origin="https://evil.test").status_code == 403
    assert queue.counts()["inactive"] == 1


def test_the_page_and_the_socket_know_the_user(ask: Callable[..., Any]) -> None:
    page = ask("GET", "/", "eva", Accept="text/html").text
    assert "read only" in page and "Log out" not in page
    for user, connects in (("eva", True), ("mallory", False)):
        hello = ask("GET", "/socket.io/?EIO=4&transport=polling", user)
        address = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(hello.text[1:])['sid']}"
        assert ask("POST", address, user, body="40").status_code == 200
        assert ask("GET", address, user).text.startswith("40" if connects else "44")


def test_a_live_connection_begins_anew_so_that_the_proxy_is_asked(
    make_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_events, "SIGN_ON_AGAIN_S", 0.0)
    site = make_site(listen=True, **{**SETTINGS, "KUE_TRUSTED_PROXIES": "127.0.0.1"})
    url = site.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    client = WebSocket(url, headers={"X-Forwarded-User": "anna"})
    client.send("40")
    assert client.receive(timeout=10).startswith("0") and client.receive(timeout=10).startswith("40")
    site.monitor.sockets.close_ended()
    assert client.receive(timeout=10) == "1"  # not 41, after which a client does not connect again
    wait_until(lambda: not site.monitor.sockets._visitors)
    client.close()


GROUPS = {
    **SETTINGS,
    "KUE_AUTH_HEADER_USERS": "eva:read",
    "KUE_AUTH_GROUPS_HEADER": "X-Forwarded-Groups",
    "KUE_AUTH_HEADER_GROUPS": "ops,help desk:read",
}


@pytest.mark.parametrize(
    ("user", "groups", "reads", "changes"),
    [
        ("bob", "ops", 200, 200),
        ("bob", "staff, help desk", 200, 403),
        ("bob", "help desk,ops", 200, 200),  # the higher role
        ("eva", "ops", 200, 403),  # the list of users says what she may
        ("bob", "staff", 403, 403),
        ("bob", "", 403, 403),
        ("bob", "Ops,*,ops:write", 403, 403),
    ],
)
def test_groups_have_roles(
    make_site: Callable[..., Any], user: str, groups: str, reads: int, changes: int
) -> None:
    site, headers = make_site(**GROUPS), {"X-Forwarded-User": user, "X-Forwarded-Groups": groups}

    def call(method: str, path: str, peer: str, **body: Any) -> int:
        answer = site.http().open(path, method=method, headers=headers, environ_base={"REMOTE_ADDR": peer}, **body)
        return int(answer.status_code)

    assert call("GET", "/stats", PROXY) == reads and call("POST", "/job", PROXY, json={"type": "a"}) == changes
    assert call("GET", "/stats", STRANGER) == 401


def test_groups_alone_name_nobody(make_site: Callable[..., Any]) -> None:
    answer = make_site(**GROUPS).http().get(
        "/stats", headers={"X-Forwarded-Groups": "ops"}, environ_base={"REMOTE_ADDR": PROXY}
    )
    assert answer.status_code == 401


def test_everybody_else_may_have_a_role(make_site: Callable[..., Any]) -> None:
    site = make_site(**{**SETTINGS, "KUE_AUTH_HEADER_USERS": "anna,*:read"})
    proxy = {"environ_base": {"REMOTE_ADDR": PROXY}}
    for user, status in (("mallory", 403), ("anna", 200)):
        headers = {"X-Forwarded-User": user}
        assert site.http().get("/stats", headers=headers, **proxy).status_code == 200
        answer = site.http().post("/job", json={"type": "a"}, headers=headers, **proxy)
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"KUE_TRUSTED_PROXIES": "0"}, "KUE_TRUSTED_PROXIES"),
        ({"KUE_TRUSTED_PROXIES": "1"}, "addresses"),
        ({"KUE_AUTH_HEADER_USERS": ""}, "KUE_AUTH_HEADER_USERS"),
        ({"KUE_AUTH_HEADER": ""}, "KUE_AUTH_HEADER"),
        ({"KUE_AUTH_HEADER_GROUPS": "ops"}, "KUE_AUTH_GROUPS_HEADER"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(changed: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.load({**SETTINGS, **changed})


def test_with_a_header_the_server_may_listen_beyond_loopback() -> None:
    assert Settings.load({**SETTINGS, "HOST": "0.0.0.0"}).auth_header == "X-Forwarded-User"
