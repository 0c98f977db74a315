"""Behind a real nginx, with the configuration of the guide: at a path, over TLS, behind two proxies."""

from __future__ import annotations

import http.client
import json
import logging
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support import ROOT, free_port, require_program
from tests.support.nginx import Nginx

GUIDE = (ROOT / "docs/guides/reverse-proxy.md").read_text()
#: The visitor's address. The proxies connect from 127.0.0.1.
VISITOR = "127.0.0.77"
AUTH = "anna:secret"
#: Pages that a crawl opens at most.
PAGES_MAX = 200


def configuration(name: str, port: int, upstream_port: int, certificate: Path | None = None) -> str:
    """Return a configuration of the guide with these ports."""
    text = re.search(rf'```nginx title="{name}"\n(.*?)```', GUIDE, re.DOTALL)
    assert text is not None
    made = re.sub(r"listen \d+", f"listen 127.0.0.1:{port}", text[1])
    made = made.replace("127.0.0.1:3000", f"127.0.0.1:{upstream_port}")
    return made.replace("/etc/ssl/example.org", str(certificate)) if certificate else made


class Visitor:
    """A browser without scripts, at an address of its own."""

    def __init__(self, url: str, address: str = VISITOR) -> None:
        self.base = urlsplit(url)
        self.address, self.cookie = address, ""

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any, str]:
        """Return status, headers and body; ``path`` is that of the proxy."""
        source = (self.address, 0)
        if self.base.scheme == "https":
            trusting = ssl._create_unverified_context()
            line: Any = http.client.HTTPSConnection(
                self.base.netloc, timeout=30, source_address=source, context=trusting
            )
        else:
            line = http.client.HTTPConnection(self.base.netloc, timeout=30, source_address=source)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        try:
            line.request(method, path, body, sent)
            answer = line.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            line.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            if cookie.startswith("kue_session="):
                self.cookie = cookie.partition(";")[0]
        return answer.status, answer.headers, text

    def log_in(self, base_path: str, password: str = "secret") -> tuple[int, Any, str]:
        origin = f"{self.base.scheme}://{self.base.netloc}"
        form = f"user=anna&password={password}&next=%2Ffailed"
        kind = "application/x-www-form-urlencoded"
        return self.ask("POST", f"{base_path}/login", form, Origin=origin, Content_Type=kind)


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


def make_certificate(folder: Path) -> Path:
    """Make ``example.org.pem`` and ``.key``; return their path without the ending."""
    path = folder / "example.org"
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{path}.key"]
    command = [require_program("openssl"), "req", "-x509", "-subj", "/CN=example.org", "-out", f"{path}.pem", "-newkey"]
    subprocess.run([*command, *key], check=True, capture_output=True)
    return path


class Links(HTMLParser):
    """Every address that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        for name, value in attrs:
            if name in ("href", "src", "action", "formaction", "poster", "data") and value is not None:
                self.found.add(value)


def links_of(kind: str, text: str) -> set[str]:
    if "html" in kind:
        page = Links()
        page.feed(text)
        return page.found
    if "javascript" in kind:
        return set(re.findall(r'^import .*?from "([^"]+)";', text, re.MULTILINE))
    if "css" in kind:
        return set(re.findall(r'url\("?([^")]+)"?\)', text))
    return set()


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
    waiting, seen = ["/kue/", "/kue/search?q=waiting", "/kue/nothing-here"], set[str]()
    while waiting and len(seen) < PAGES_MAX:
        path = waiting.pop()
        seen.add(path)
        status, headers, text = visitor.ask("GET", path, Accept="text/html")
        assert status == (404 if path == "/kue/nothing-here" else 200), path
        for each in links_of(headers["Content-Type"] or "", text):
            target = urlsplit(urljoin(proxied + path, each))
            assert f"{target.scheme}://{target.netloc}" == proxied, (path, each)
            assert target.path.startswith("/kue/"), (path, each)
            address = target.path + (f"?{target.query}" if target.query else "")
            if address not in seen and address not in waiting and target.path not in ("/kue/logout",):
                waiting.append(address)
    assert not waiting
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


#: What a visitor may add to pass for somebody else; the proxy appends to the first and replaces the others.
FORGED = [
    {"X_Forwarded_For": "10.0.0.1"},
    {"X_Forwarded_For": "127.0.0.1, 127.0.0.1, 10.0.0.1", "X_Real_IP": "10.0.0.1"},
    {"X_Forwarded_Host": "evil.test", "X_Forwarded_Proto": "gopher", "X_Forwarded_Prefix": "/evil"},
    {"Forwarded": "for=10.0.0.1;host=evil.test;proto=https"},
]


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
