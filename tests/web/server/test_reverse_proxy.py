"""Behind a real nginx, with the configuration of the guide: at a path, over TLS, behind two proxies."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import free_port
from tests.support.servers.web_servers import Nginx
from tests.web.server.proxied import AUTH, FORGED, GUIDE, VISITOR, Visitor, configuration, crawl, make_certificate


@pytest.fixture(params=["path kept", "path removed, TLS", "two proxies"])
def proxied(request: Any, make_site: Callable[..., Any], tmp_path: Path) -> Iterator[str]:
    """The URL of a monitor behind nginx."""
    port = free_port()
    with ExitStack() as stack:
        if request.param == "path kept":
            site = make_site(listen=True, KUE_AUTH=AUTH, KUE_TRUSTED_PROXIES="127.0.0.1", KUE_BASE_PATH="/kue")
            servers = configuration("path-kept.conf", port, urlsplit(site.url).port or 0)
            stack.enter_context(Nginx(tmp_path / "nginx", servers, port))
            yield f"http://127.0.0.1:{port}"
            return
        trusted = "2" if request.param == "two proxies" else "127.0.0.1/32"
        site = make_site(listen=True, KUE_AUTH=AUTH, KUE_TRUSTED_PROXIES=trusted)
        upstream = urlsplit(site.url).port or 0
        if request.param == "two proxies":
            inner = free_port()
            stack.enter_context(Nginx(tmp_path / "inner", configuration("second-proxy.conf", inner, upstream), inner))
            upstream = inner
        certificate = make_certificate(tmp_path)
        servers = configuration("path-removed.conf", port, upstream, certificate)
        stack.enter_context(Nginx(tmp_path / "nginx", servers, port))
        yield f"https://127.0.0.1:{port}"


def test_no_link_leaves_the_path(proxied: str, queue: Any) -> None:
    queue.create("a", {"title": "waiting"}).save()
    queue.create("a", {"title": "delayed"}).delay(3_600_000).save()
    queue.create("b").after([queue.create("a").save()]).save()
    queue.schedule("nightly", "a", every=3_600_000)
    queue.webhook(["failed"], "https://h.invalid/", name="w")
    visitor = Visitor(proxied)
    status, headers, _ = visitor.log_in("/kue")
    assert (status, headers["Location"]) == (303, "/kue/failed")
    assert "Path=/kue" in headers["Set-Cookie"]
    assert ("Secure" in headers["Set-Cookie"]) == proxied.startswith("https")
    seen = crawl(visitor, "/kue/", "/kue/search?q=waiting", lost="/kue/nothing-here")
    assert {"/kue/job/1", "/kue/job/4", "/kue/failed", "/kue/schedules", "/kue/system", "/kue/files"} <= seen
    assert "/kue/alerts" in seen
    assert {"/kue/static/js/lib/links.js", "/kue/static/js/live/polling.js", "/kue/static/icon.svg"} <= seen


def test_a_visitor_is_sent_to_the_login_below_the_path_and_back(proxied: str) -> None:
    visitor = Visitor(proxied)
    status, headers, _ = visitor.ask("GET", "/kue/failed", Accept="text/html")
    assert (status, headers["Location"]) == (302, "/kue/login?next=%2Ffailed")
    assert visitor.log_in("/kue")[0] == 303
    assert visitor.ask("GET", "/kue/stats")[0] == 200
    origin = proxied.lower()
    status, headers, _ = visitor.ask("POST", "/kue/logout", "", Origin=origin)
    assert (status, headers["Location"]) == (303, "/kue/login")
    assert "Path=/kue" in headers["Set-Cookie"]
    assert visitor.ask("GET", "/kue/stats")[0] == 401


def test_programs_find_the_api_and_the_socket_below_the_path(proxied: str, queue: Any) -> None:
    visitor = Visitor(proxied)
    visitor.log_in("/kue")
    kind = {"Content_Type": "application/json"}
    assert visitor.ask("POST", "/kue/job", '{"type": "a b"}', **kind)[0] == 200
    assert queue.get(1).type == "a b"
    assert json.loads(visitor.ask("GET", "/kue/jobs/a%20b/inactive/0..9/asc")[2])[0]["id"] == 1
    assert json.loads(visitor.ask("GET", "/kue/openapi.json")[2])["servers"] == [{"url": "/kue"}]
    status, _, script = visitor.ask("GET", "/kue/socket.io/socket.io.js")
    assert status == 200 and "globalThis.io" in script
    shake = visitor.ask("GET", "/kue/socket.io/?EIO=4&transport=polling", Origin=proxied)
    assert shake[0] == 200 and shake[2].startswith("0{")


def test_what_a_visitor_forges_is_not_believed_through_the_proxy(
    proxied: str, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = Visitor(proxied)
    with caplog.at_level(logging.INFO, "kue.web.audit"):
        visitor.log_in("/kue")
        for forged in FORGED:
            job = f"/kue/job/{queue.create('a').save().id}"
            for origin in ("http://evil.test", "https://evil.test"):
                assert visitor.ask("DELETE", job, Origin=origin, **forged)[0] == 403
            status, headers, _ = visitor.ask("GET", "/kue/nowhere", Accept="text/html", **forged)
            assert status == 404 and "evil" not in str(headers)
            assert visitor.ask("DELETE", job, Origin=proxied, **forged)[0] == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "kue.web.audit"]
    assert len(lines) == 1 + 3 * len(FORGED) and all(f"from {VISITOR}" in line for line in lines)


def test_wrong_passwords_of_one_visitor_do_not_lock_out_another(proxied: str) -> None:
    guesser, other = Visitor(proxied, "127.0.0.66"), Visitor(proxied)
    for _ in range(5):
        guesser.log_in("/kue", "wrong")
    assert guesser.log_in("/kue", "wrong")[0] == 429
    assert other.log_in("/kue")[0] == 303


#: What oauth2-proxy answers to nginx: who the visitor is, by a cookie here.
SIGN_ON = """
server {
    listen 127.0.0.1:%d;
    location / {
        add_header X-Auth-Request-User $cookie_who;
        add_header X-Auth-Request-Groups $cookie_groups;
        return 204;
    }
}
"""


def test_single_sign_on_through_nginx(make_site: Callable[..., Any], queue: Any, tmp_path: Path) -> None:
    # Given the location of the guide, in front of a proxy that signs visitors on
    port, sign_on = free_port(), free_port()
    settings = re.search(r'```sh title="kue-groups.env"\n(.*?)```', GUIDE, re.DOTALL)
    lines = re.search(r'title="single-sign-on.conf"\nlocation /kue/ \{\n(.*?) *# and the lines above', GUIDE, re.DOTALL)
    assert settings is not None and lines is not None
    environ = dict(line.split("=", 1) for line in settings[1].splitlines())
    site = make_site(listen=True, KUE_BASE_PATH="/kue", KUE_AUTH_HEADER_USERS="anna", **environ)
    servers = configuration("path-kept.conf", port, urlsplit(site.url).port or 0)
    servers = servers.replace("location /kue/ {", "location /kue/ {\n" + lines[1])
    asking = f"location = /oauth2/auth {{ internal; proxy_pass http://127.0.0.1:{sign_on}; }}"
    servers = servers.replace("    location /kue/", f"    {asking}\n    location /kue/") + SIGN_ON % sign_on
    forged = {"X_Forwarded_User": "anna", "X-Forwarded-Groups": "ops"}
    with Nginx(tmp_path / "nginx", servers, port):

        def ask(cookie: str) -> tuple[int, int]:
            visitor = Visitor(f"http://127.0.0.1:{port}")
            visitor.cookie = cookie
            read = visitor.ask("GET", "/kue/stats", **forged)[0]
            kind = {"Content_Type": "application/json"}
            return read, visitor.ask("POST", "/kue/job", '{"type": "a"}', **kind, **forged)[0]

        assert ask("who=anna") == ask("who=zoe; groups=x,ops") == (200, 200)
        assert ask("who=eva; groups=help desk") == (200, 403)
        assert ask("who=bob") == (403, 403)
        # Whom it does not know is nobody, whatever they say
        assert ask("") == ask("groups=ops") == (401, 401)
