"""Who is let in, and what a browser is told to refuse."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

AUTH = "anna:s3cret:with colon"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.fixture
def locked(make_site: Callable[..., Any]) -> Any:
    return make_site(KUE_AUTH=AUTH)


def log_in(http: Any, password: str = "s3cret:with colon", **more: str) -> Any:
    return http.post("/login", data={"user": "anna", "password": password, **more})


@pytest.mark.parametrize(
    "path", ["/", "/failed", "/job/1", "/stats", "/files", "/nope", "/metrics", "/static/js/main.js"]
)
def test_every_answer_forbids_script_from_elsewhere(site: Any, path: str) -> None:
    headers = site.http().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["attacker.example", "localhost.attacker.example", "", "a@b", "[::1", "127.0.0.1.nip.io"]
)
def test_a_host_name_that_is_not_ours_is_refused(site: Any, host: str) -> None:
    assert site.app.test_client().get("/stats", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:80", "[::1]:3000", "192.168.1.5", "kue.localhost"])
def test_addresses_and_own_names_are_served(site: Any, host: str) -> None:
    assert site.app.test_client().get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing(site: Any, queue: Any, headers: dict[str, str]) -> None:
    queue.create("a").save()
    http = site.http()
    for call in (
        lambda: http.delete("/job/1", headers=headers),
        lambda: http.put("/job/1/state/failed", headers=headers),
        lambda: http.post("/job", json={"type": "b"}, headers=headers),
        lambda: http.post("/monitor/job/1/remove", json={}, headers=headers),
        lambda: http.post("/monitor/bulk", json={"act": "remove", "state": "inactive"}, headers=headers),
        lambda: http.post("/login", data={}, headers=headers),
    ):
        assert call().status_code == 403
    assert queue.counts()["inactive"] == 1


def test_the_pages_own_origin_and_allowed_ones_may(make_site: Callable[..., Any], queue: Any) -> None:
    queue.create("a").save()
    site = make_site(KUE_CORS_ORIGINS="https://jobs.example")
    for origin in (site.url, "https://jobs.example"):
        headers = {"Origin": origin}
        assert site.http().put("/job/1/state/failed", headers=headers).status_code == 200
    assert site.app.test_client().get("/stats", headers={"Host": "jobs.example"}).status_code == 200


def test_without_a_login_nothing_but_the_login_answers(locked: Any, queue: Any) -> None:
    queue.create("a", {"title": "secret title"}).save()
    http = locked.http()
    for path in (
        "/stats",
        "/job/1",
        "/jobs/0..1",
        "/monitor/home",
        "/metrics",
        "/files",
        "/files/x",
        "/monitor/list/failed",
    ):
        answer = http.get(path)
        assert answer.status_code == 401 and "secret" not in answer.text, path
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    page = http.get("/failed?type=a", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["Location"]) == (302, "/login?next=%2Ffailed%3Ftype%3Da")
    assert http.delete("/job/1").status_code == 401
    for path in ("/login", "/healthz", "/static/css/monitor.css", "/socket.io/socket.io.js"):
        assert http.get(path).status_code == 200


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(locked: Any) -> None:
    http = locked.http()
    answer = log_in(http, next="/failed")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/failed")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert http.get("/stats").status_code == 200
    assert http.post("/logout").status_code == 303
    assert http.get("/stats").status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "x", "/ok\r\nA: b"]
)
def test_after_the_login_one_stays_on_this_server(locked: Any, target: str) -> None:
    assert log_in(locked.http(), next=target).headers["Location"] == "/"


def test_programs_log_in_by_password_or_token(locked: Any) -> None:
    http = locked.http()
    assert http.get("/stats", headers=basic(AUTH)).status_code == 200
    assert http.get("/stats", headers={"Authorization": "Bearer s3cret:with colon"}).status_code == 200
    for headers in (basic("anna:wrong"), basic("eva:s3cret:with colon"), {"Authorization": "Bearer anna"}):
        assert http.get("/stats", headers=headers).status_code == 401


def test_a_cookie_that_somebody_made_up_is_worth_nothing(locked: Any) -> None:
    from flask.sessions import SecureCookieSessionInterface

    forged = SecureCookieSessionInterface()
    other = type("App", (), {"secret_key": b"guess", "config": {"SECRET_KEY_FALLBACKS": None}})()
    signer = forged.get_signing_serializer(other)  # type: ignore[arg-type]
    assert signer is not None
    http = locked.http()
    http.set_cookie("kue_session", signer.dumps({"user": "anna"}), domain="127.0.0.1")
    assert http.get("/stats").status_code == 401


def test_too_many_wrong_passwords_are_not_listened_to(locked: Any) -> None:
    http = locked.http()
    for _ in range(10):
        assert log_in(http, "wrong").status_code == 401
    assert log_in(http).status_code == 429
    assert http.get("/stats", headers=basic(AUTH)).status_code == 429


def test_the_socket_asks_for_the_same_login(locked: Any) -> None:
    def connect(**options: Any) -> bool:
        headers = {"Host": locked.url.removeprefix("http://"), **options.pop("headers", {})}
        return bool(locked.socketio.test_client(locked.app, headers=headers, **options).is_connected())

    assert not connect() and not connect(auth={"token": "x"}) and not connect(auth={"user": ["anna"]})
    assert connect(auth={"token": "s3cret:with colon"})
    assert connect(auth={"user": "anna", "password": "s3cret:with colon"})
    assert connect(headers=basic(AUTH))
    http = locked.http()
    log_in(http)
    assert connect(flask_test_client=http)
