"""Authentication, authorization, and security headers."""

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
    "path", ["/", "/failed", "/job/1", "/stats", "/files", "/nope", "/metrics", "/static/js/pages/home.js"]
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


@pytest.mark.parametrize(
    ("headers", "remedy"),
    [
        ({"Origin": "https://other.example:8443"}, "add it to KUE_CORS_ORIGINS"),
        ({"Origin": "null"}, None),
        ({"Origin": "https://x.example/<b>"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
    ],
)
def test_the_error_for_another_origin_names_the_remedy(site: Any, headers: dict[str, str], remedy: str | None) -> None:
    error = site.http().delete("/job/1", headers=headers).json["error"]
    said = "requests from other sites may not change anything"
    assert error == (f"{said}; to allow pages of {headers['Origin']}, {remedy}" if remedy else said)


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
    for _ in range(5):
        assert log_in(http, "wrong").status_code == 401
    answer = log_in(http)
    assert answer.status_code == 429 and "Too many failed logins" in answer.text
    answer = http.get("/stats", headers=basic(AUTH))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_a_session_and_a_token_pass_whatever_others_guess(roles: Any) -> None:
    before = roles.http()
    assert log_in(before).status_code == 303
    http = roles.http()
    for _ in range(10):
        log_in(http, "wrong")
        http.get("/stats", headers={"Authorization": "Bearer wrong-token-0123456789"})
    assert log_in(http).status_code == 429
    assert http.get("/stats", headers={"Authorization": "Bearer s3cret:with colon"}).status_code == 429
    assert before.get("/stats").status_code == 200
    assert http.get("/stats", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert http.get("/stats", headers=basic("eva:look")).status_code == 200  # another user at the same address
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.9"}}
    assert http.get("/stats", headers=basic(AUTH), **elsewhere).status_code == 200


def test_guesses_from_the_same_address_do_not_delay_a_browser_that_is_known(roles: Any) -> None:
    anna, guesser = roles.http(), roles.http()
    answer = log_in(anna)
    known = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("kue_known="))
    assert "HttpOnly" in known and "SameSite=Lax" in known
    assert anna.post("/logout").status_code == 303 and anna.get("/stats").status_code == 401
    for _ in range(6):
        log_in(guesser, "wrong")
    assert log_in(guesser).status_code == 429
    assert log_in(anna).status_code == 303
    anna.post("/logout")
    for _ in range(5):  # it is no way to guess more often, nor another user's password
        assert log_in(anna, "wrong").status_code == 401
    assert log_in(anna, "wrong").status_code == 429
    assert anna.post("/login", data={"user": "eva", "password": "wrong"}).status_code == 401


@pytest.mark.parametrize("cookie", ["x", "x.y", ".", "é.é", "x." + "0" * 64])
def test_a_made_up_browser_counts_as_its_address(locked: Any, cookie: str) -> None:
    http = locked.http()
    for number in range(5):
        http.set_cookie("kue_known", f"{number}{cookie}", domain="127.0.0.1")
        assert log_in(http, "wrong").status_code == 401
    assert log_in(http, "wrong").status_code == 429


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


def cookie_of(http: Any) -> str:
    return str(http.get_cookie("kue_session", domain="127.0.0.1").value)


def status_with(site: Any, cookie: str) -> int:
    http = site.http()
    http.set_cookie("kue_session", cookie, domain="127.0.0.1")
    return int(http.get("/stats").status_code)


def test_a_copied_cookie_ends_with_the_logout_in_every_web_process(make_site: Callable[..., Any]) -> None:
    one, two = make_site(KUE_AUTH=AUTH), make_site(KUE_AUTH=AUTH)
    http, elsewhere = one.http(), one.http()
    log_in(http)
    log_in(elsewhere)
    copy = cookie_of(http)
    assert (status_with(one, copy), status_with(two, copy)) == (200, 200)
    assert http.post("/logout").status_code == 303
    assert (status_with(one, copy), status_with(two, copy)) == (401, 401)
    assert elsewhere.get("/stats").status_code == 200  # another login of the same user


def test_the_sockets_of_a_session_are_closed_by_the_logout(make_site: Callable[..., Any], queue: Any) -> None:
    one, two = (make_site(KUE_AUTH=AUTH, DOWNLOAD_ALLOW="127.0.0.1") for _ in range(2))
    http = one.http()
    log_in(http)
    copy = cookie_of(http)

    def socket(site: Any) -> Any:
        headers = {"Host": site.url.removeprefix("http://"), "Cookie": f"kue_session={copy}"}
        return site.socketio.test_client(site.app, headers=headers)

    here, there = socket(one), socket(two)
    assert here.is_connected() and there.is_connected()
    http.post("/logout")
    assert not here.is_connected()
    answer = there.emit("start", {"type": "download", "url": f"{one.url}/x"}, callback=True)
    assert "session has ended" in answer["error"] and queue.counts()["inactive"] == 0
    assert not socket(two).is_connected()
    headers = {"Host": two.url.removeprefix("http://"), "Cookie": f"kue_session={copy}", **basic(AUTH)}
    by_password = two.socketio.test_client(two.app, headers=headers)  # an old cookie beside it does no harm
    assert "id" in by_password.emit("start", {"type": "download", "url": f"{one.url}/x"}, callback=True)


def test_a_session_expires(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    http, sessions = locked.http(), locked.app.extensions["kue_security"].sessions
    monkeypatch.setattr(sessions, "_lifetime_s", 0)
    log_in(http)
    assert http.get("/stats").status_code == 401
    monkeypatch.setattr(sessions, "_lifetime_s", 60)
    log_in(http)
    assert http.get("/stats").status_code == 200


TOKEN, TOKEN_READ = "write-token-0123456789", "read-token-0123456789"
READ_ROLES = [basic("eva:look"), {"Authorization": f"Bearer {TOKEN_READ}"}]


@pytest.fixture
def roles(make_site: Callable[..., Any]) -> Any:
    return make_site(KUE_AUTH=AUTH, KUE_AUTH_READONLY="eva:look", KUE_TOKEN=TOKEN, KUE_TOKEN_READONLY=TOKEN_READ)


@pytest.mark.parametrize("headers", READ_ROLES)
def test_who_may_only_read_reads_everything_and_changes_nothing(
    roles: Any, queue: Any, headers: dict[str, str]
) -> None:
    queue.create("a").save()
    http = roles.http()
    for path in ("/", "/job/1", "/stats", "/files", "/system", "/metrics", "/inactive", "/search?q=a"):
        assert http.get(path, headers=headers).status_code == 200, path
    for rule in roles.app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            path = rule.rule
            for converter in rule._converters:
                path = path.replace(f"<{converter}>", "1").replace(f"<path:{converter}>", "1")
            if path in ("/login", "/logout"):
                continue
            assert http.open(path, method=method, json={}, headers=headers).status_code == 403, (method, path)
    assert queue.counts()["inactive"] == 1


def test_a_token_may_do_all_and_is_named_in_the_audit_log(
    roles: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with caplog.at_level("INFO", "kue.web.audit"):
        assert roles.http().post("/job", json={"type": "a"}, headers=headers).status_code == 200
        assert roles.http().post("/monitor/job/1/remove", json={}, headers=headers).status_code == 200
        assert roles.http().delete("/job/1", headers=READ_ROLES[1]).status_code == 403
    assert [record.message for record in caplog.records if record.name == "kue.web.audit"] == [
        "POST '/job' by token from 127.0.0.1",
        "remove job 1 by token from 127.0.0.1",
        "Rejected DELETE '/job/1' from 127.0.0.1: 403",
    ]
    assert TOKEN not in caplog.text
    removed = next(record for record in caplog.records if record.message.startswith("remove"))
    assert {"user": "token", "action": "remove", "target": "job 1"}.items() <= removed.__dict__.items()


@pytest.mark.parametrize("secret", [TOKEN_READ, "look"])
def test_on_the_socket_too_who_may_only_read_starts_nothing(roles: Any, queue: Any, secret: str) -> None:
    headers = {"Host": roles.url.removeprefix("http://")}
    reader = roles.socketio.test_client(roles.app, headers=headers, auth={"token": secret})
    answer = reader.emit("start", {"type": "download", "url": "http://example.com/x"}, callback=True)
    assert answer == {"error": "read-only access: you cannot change anything", "code": "refused"}
    assert "epoch" in reader.emit("watch", {}, callback=True)
    assert sum(queue.counts().values()) == 0
    writer = roles.socketio.test_client(roles.app, headers=headers, auth={"token": TOKEN})
    assert writer.emit("start", {"type": "download", "url": "http://example.com/x"}, callback=True) == {"id": 1}


def test_a_reader_logs_in_sees_no_buttons_and_logs_out(roles: Any, queue: Any) -> None:
    queue.create("a").save()
    http = roles.http()
    assert http.post("/login", data={"user": "eva", "password": "look"}).status_code == 303
    for path in ("/", "/inactive", "/job/1", "/system"):
        page = http.get(path).text
        assert "data-action=" not in page and "data-bulk=" not in page and "button_start" not in page, path
    assert http.post("/monitor/job/1/remove", json={}).status_code == 403
    assert http.post("/logout").status_code == 303 and http.get("/stats").status_code == 401


def test_over_tls_the_cookie_is_for_tls_only(make_site: Callable[..., Any]) -> None:
    form = {"user": "anna", "password": "s3cret:with colon"}
    for trusted, secure in (("0", False), ("1", True)):
        site = make_site(KUE_AUTH=AUTH, KUE_TRUSTED_PROXIES=trusted)
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        assert ("Secure" in site.http().post("/login", data=form, headers=headers).headers["Set-Cookie"]) == secure
        assert "Secure" not in log_in(site.http()).headers["Set-Cookie"]


SPELLINGS = [
    "//stats", "/static/../stats", "/static/%2e%2e/stats", "/static/..%2fstats", "/static//etc/passwd", "/STATS",
    "/login/../stats", "/healthz/../stats", "/stats/", "/stats?x=/static/", "/stats;/static/", "/monitor/home/",
    "/socket.io/socket.io.js/../stats", "/job/1%2flog", "/jobs/0..9/desc", "/static/%00",
    "/files/..%2f..%2fetc%2fpasswd",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "ODD"])
def test_no_other_spelling_of_a_path_gets_past_the_login(locked: Any, queue: Any, method: str) -> None:
    queue.create("a", {"title": "secret title"}).save()
    headers = {"X-Original-URL": "/login", "X-Rewrite-URL": "/login", "X-HTTP-Method-Override": "GET",
               "X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "anna", "Cookie": "kue_session=anna"}  # fmt: skip
    for path in SPELLINGS:
        answer = locked.http().open(path, method=method, headers=headers)
        # OPTIONS on what is open to all tells which methods there are, and nothing else.
        assert answer.status_code in (400, 401, 404, 405) or (method == "OPTIONS" and answer.data == b""), path
        assert "secret" not in answer.text and "inactiveCount" not in answer.text, path
    assert queue.counts()["inactive"] == 1


ODD_SECRETS = [None, "", [], {}, 0, "x" * 100_000, "\ud800", "s3cret:with colon\0", "S3CRET:WITH COLON"]


def test_what_is_no_password_is_refused_whatever_it_is(locked: Any) -> None:
    headers = {"Host": locked.url.removeprefix("http://")}
    for secret in ODD_SECRETS:
        locked.app.extensions["kue_security"].accounts._throttle._failures.clear()
        for auth in ({"token": secret}, {"user": "anna", "password": secret}, {"user": secret}, [secret]):
            assert not locked.socketio.test_client(locked.app, headers=headers, auth=auth).is_connected(), secret
        for user in ("anna", "", "anna\0"):
            form = {"user": user, "password": secret if isinstance(secret, str) and secret.isascii() else ""}
            assert locked.http().post("/login", data=form).status_code == 401, secret


def test_a_socket_is_refused_under_a_name_that_is_not_ours_or_from_another_site(site: Any) -> None:
    def connected(**headers: str) -> bool:
        return bool(site.socketio.test_client(site.app, headers=headers).is_connected())

    own = site.url.removeprefix("http://")
    assert connected(Host=own) and not connected(Host="attacker.example", Origin="http://attacker.example")
    from_elsewhere = site.http().get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://attacker.example"})
    assert from_elsewhere.status_code == 400


def test_a_cookie_does_not_verify_a_guess_of_another_password(make_site: Any, redis_client: Any) -> None:
    # Given the cookie of somebody who knows the read-only password, and all that is known beside it
    site = make_site(KUE_AUTH=AUTH, KUE_AUTH_READONLY="eva:known")
    http = site.http()
    http.post("/login", data={"user": "eva", "password": "known"})
    cookie = http.get_cookie("kue_session", domain="127.0.0.1").value
    # Then with another secret in Redis the same passwords make another key: nothing follows from them
    kept = redis_client.get("q:secret:session")
    assert len(kept) == 64
    redis_client.delete("q:secret:session")
    other = make_site(KUE_AUTH=AUTH, KUE_AUTH_READONLY="eva:known").http()
    other.set_cookie("kue_session", cookie, domain="127.0.0.1")
    assert other.get("/stats").status_code == 401
    # And the processes that share it share the login, also after a restart
    redis_client.set("q:secret:session", kept)
    third = make_site(KUE_AUTH=AUTH, KUE_AUTH_READONLY="eva:known").http()
    third.set_cookie("kue_session", cookie, domain="127.0.0.1")
    assert third.get("/stats").status_code == 200
    # A new password ends the sessions of its user
    fourth = make_site(KUE_AUTH=AUTH, KUE_AUTH_READONLY="eva:changed").http()
    fourth.set_cookie("kue_session", cookie, domain="127.0.0.1")
    assert fourth.get("/stats").status_code == 401


def test_deleting_the_session_key_ends_the_sessions(
    make_site: Any, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.web.access.session_key.READ_AGAIN_S", 0)
    http = make_site(KUE_AUTH=AUTH).http()
    user, _, password = AUTH.partition(":")
    http.post("/login", data={"user": user, "password": password})
    assert http.get("/stats").status_code == 200
    redis_client.delete("q:secret:session")
    assert http.get("/stats").status_code == 401


def test_a_redis_that_refuses_the_session_key_does_not_stop_the_page(make_site: Any, redis_client: Any) -> None:
    redis_client.lpush("q:secret:session", "another kind of value")
    http = make_site(KUE_AUTH=AUTH).http()
    user, _, password = AUTH.partition(":")
    assert http.post("/login", data={"user": user, "password": password}).status_code == 303
    assert http.get("/stats").status_code == 200


@pytest.mark.parametrize(
    ("host", "query", "status"),
    [(None, "", 200), ("evil.test", "", 400), ("evil.test:3000", "", 400), (None, "&j=0", 400), (None, "&j=", 400)],
)
def test_a_handshake_for_a_foreign_host_or_by_jsonp_is_refused(
    make_site: Any, host: str | None, query: str, status: int
) -> None:
    import urllib.error
    import urllib.request

    site = make_site(listen=True)
    headers = {"Host": host} if host else {}
    request = urllib.request.Request(f"{site.url}/socket.io/?EIO=4&transport=polling{query}", headers=headers)
    try:
        assert urllib.request.urlopen(request, timeout=10).status == status
    except urllib.error.HTTPError as exc:
        assert exc.code == status
        exc.close()
