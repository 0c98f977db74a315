"""Forwarded headers are accepted only from trusted proxies."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from typing import Any

import pytest

from kue.web.server.proxies import IGNORED, VIA_TRUSTED, behind_proxies

PEER = "198.51.100.7"
#: Every way of saying that a request comes from elsewhere, or came to another name.
FORGED = [
    {"X-Forwarded-Host": "evil.test"},
    {"X-Forwarded-Host": "evil.test", "X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "evil.test, evil.test", "X-Forwarded-For": "127.0.0.1, 127.0.0.1, 10.0.0.1"},
    {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"},
    {"X-Forwarded-Server": "evil.test", "X-Forwarded-Host": "evil.test:80"},
    {"Forwarded": "for=127.0.0.1;host=evil.test;proto=http"},
    {"X-Real-IP": "127.0.0.1", "X-Forwarded-Host": "evil.test"},
    {"X-Forwarded-Prefix": "//evil.test", "X-Forwarded-Host": "evil.test"},
    {"X-Forwarded-Prefix": "/kue", "X-Forwarded-Ssl": "on", "X-Forwarded-Scheme": "https"},
]


def call(
    trusted: Any, headers: dict[str, str], *, peer: str = PEER, path: str = "/stats", base_path: str = ""
) -> dict[str, Any]:
    """Return the environ that the app behind would see."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return []

    environ = {"REMOTE_ADDR": peer, "HTTP_HOST": "localhost:3000", "wsgi.url_scheme": "http", "PATH_INFO": path}
    environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    networks = trusted if isinstance(trusted, int) else tuple(ipaddress.ip_network(each) for each in trusted)
    behind_proxies(app, networks, base_path)(environ, None)
    return seen


@pytest.mark.parametrize("headers", FORGED)
@pytest.mark.parametrize("trusted", [0, ["10.0.0.0/8", "2001:db8::/32"]])
def test_nothing_is_believed_from_an_untrusted_peer(trusted: Any, headers: dict[str, str]) -> None:
    seen = call(trusted, headers)
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["wsgi.url_scheme"]) == (PEER, "localhost:3000", "http")
    assert seen["SCRIPT_NAME"] == "" and VIA_TRUSTED not in seen and seen[IGNORED]
    assert not [name for name in seen if "FORWARDED" in name or name == "HTTP_X_REAL_IP"]


@pytest.mark.parametrize("headers", FORGED)
def test_a_forged_origin_passes_nowhere(make_site: Callable[..., Any], queue: Any, headers: dict[str, str]) -> None:
    queue.create("a").save()
    for trusted in ("0", "10.0.0.1,192.0.2.0/24"):
        site = make_site(KUE_TRUSTED_PROXIES=trusted)
        for scheme in ("http", "https"):
            forged = {**headers, "Origin": f"{scheme}://evil.test"}
            refused = site.http().delete("/job/1", headers=forged)
            assert refused.status_code == 403 and "KUE_TRUSTED_PROXIES" in refused.json["error"]
            shake = site.http().get("/socket.io/?EIO=4&transport=polling", headers=forged)
            assert shake.status_code == 400
    assert queue.counts()["inactive"] == 1


@pytest.mark.parametrize("headers", FORGED)
def test_the_audit_log_names_the_peer_and_not_what_it_says(
    site: Any, queue: Any, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    queue.create("a").save()
    with caplog.at_level(logging.INFO, "kue.web.audit"):
        answer = site.http().delete("/job/1", headers=headers, environ_base={"REMOTE_ADDR": PEER})
    assert answer.status_code == 200 and f"from {PEER}" in caplog.text


@pytest.mark.parametrize(
    ("trusted", "senders", "client"),
    [
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "127.0.0.1, 192.0.2.1", "192.0.2.1"),
        (2, "127.0.0.1, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        (2, "192.0.2.1", "10.0.0.1"),  # it did not come through both
        (1, "nonsense", "10.0.0.1"),
        (["10.0.0.0/8"], "192.0.2.1", "192.0.2.1"),
        (["10.0.0.0/8"], "127.0.0.1, 192.0.2.1, 10.0.0.2, 10.9.9.9", "192.0.2.1"),
        (["10.0.0.1"], "192.0.2.1, 10.0.0.2", "10.0.0.2"),
        (["10.0.0.0/8"], "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (["10.0.0.0/8"], "192.0.2.1, nonsense, 10.0.0.2", "10.0.0.2"),
        (["10.0.0.0/8"], "192.0.2.1:4711", "192.0.2.1"),
        (["10.0.0.0/8"], "[2001:db8::5]:4711", "2001:db8::5"),
        (["10.0.0.0/8"], "2001:db8::5", "2001:db8::5"),
        (["10.0.0.0/8"], "::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_client_is_the_last_one_whom_a_trusted_proxy_names(trusted: Any, senders: str, client: str) -> None:
    assert call(trusted, {"X-Forwarded-For": senders}, peer="10.0.0.1")["REMOTE_ADDR"] == client


def test_a_mapped_address_is_the_address() -> None:
    assert call(["10.0.0.0/8"], {"X-Forwarded-For": "192.0.2.1"}, peer="::ffff:10.0.0.1")["REMOTE_ADDR"] == "192.0.2.1"


def test_scheme_host_and_prefix_come_from_a_trusted_proxy() -> None:
    headers = {
        "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "jobs.example:8443",
        "X-Forwarded-Prefix": "/kue/",
    }  # fmt: skip
    for trusted in (1, ["10.0.0.1"]):
        seen = call(trusted, headers, peer="10.0.0.1")
        assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("https", "jobs.example:8443")
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/kue", "/stats") and seen[VIA_TRUSTED]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Prefix", "//evil.test"), ("X-Forwarded-Prefix", "/a/../b"), ("X-Forwarded-Prefix", "/a\"b"),
        ("X-Forwarded-Prefix", "https://evil.test/"), ("X-Forwarded-Prefix", "/%2e%2e"),
        ("X-Forwarded-Prefix", "/a\\b"),
        ("X-Forwarded-Host", "evil.test/path"), ("X-Forwarded-Host", "a b"), ("X-Forwarded-Host", "u@evil.test"),
        ("X-Forwarded-Proto", "javascript"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_ignored_from_a_trusted_proxy_too(name: str, value: str) -> None:
    seen = call(1, {"X-Forwarded-For": "192.0.2.1", name: value})
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"], seen["SCRIPT_NAME"]) == ("http", "localhost:3000", "")


def test_a_health_check_of_a_trusted_proxy_needs_no_host() -> None:
    seen: dict[str, Any] = {}
    behind_proxies(lambda environ, start: seen.update(environ) or [], (ipaddress.ip_network("10.0.0.1"),))(
        {"REMOTE_ADDR": "10.0.0.1", "wsgi.url_scheme": "http", "PATH_INFO": "/healthz"}, None
    )
    assert "HTTP_HOST" not in seen and seen[VIA_TRUSTED]


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/kue", "/"), ("/kue/", "/"), ("/kue/job/1", "/job/1"), ("/kuex", "/kuex"), ("/healthz", "/healthz")],
)
def test_a_base_path_is_taken_off(path: str, inside: str) -> None:
    seen = call(0, {}, path=path, base_path="/kue")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/kue", inside)


def test_a_forwarded_host_must_be_one_of_ours(make_site: Callable[..., Any], queue: Any) -> None:
    queue.create("a").save()
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "jobs.example", "Origin": "http://jobs.example"}
    refused = make_site(KUE_TRUSTED_PROXIES="1").http().put("/job/1/state/failed", headers=headers)
    assert refused.status_code == 400 and "'jobs.example'" in refused.json["error"]
    assert "KUE_ALLOWED_HOSTS" in refused.json["error"]
    for allowed in ("jobs.example", "*.example"):
        site = make_site(KUE_TRUSTED_PROXIES="1", KUE_ALLOWED_HOSTS=allowed)
        assert site.http().put("/job/1/state/failed", headers=headers).status_code == 200
        assert site.http().get("/stats", headers={"Host": "example"}).status_code == 400


def test_behind_a_proxy_that_ends_tls_the_page_may_act(make_site: Callable[..., Any], queue: Any) -> None:
    queue.create("a").save()
    site = make_site(KUE_TRUSTED_PROXIES="127.0.0.1")
    name = site.url.removeprefix("http://")
    headers = {"Origin": f"https://{name}", "X-Forwarded-Proto": "https"}
    assert site.http().put("/job/1/state/failed", headers=headers).status_code == 200
    assert site.http().put("/job/1/state/failed", headers={"Origin": f"https://{name}"}).status_code == 403
