"""What tests of reverse proxies share: the configurations of the guide, a visitor with an address, and a crawl."""

from __future__ import annotations

import http.client
import re
import ssl
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from tests.support import ROOT, require_program

GUIDE = (ROOT / "docs/guides/deployment/reverse-proxy.md").read_text()
#: The visitor's address. The proxies connect from 127.0.0.1.
VISITOR = "127.0.0.77"
AUTH = "anna:secret"
#: Pages that a crawl opens at most.
PAGES_MAX = 200
#: What a visitor may add to pass for somebody else; the proxy appends to the first and replaces the others.
FORGED = [
    {"X_Forwarded_For": "10.0.0.1"},
    {"X_Forwarded_For": "127.0.0.1, 127.0.0.1, 10.0.0.1", "X_Real_IP": "10.0.0.1"},
    {"X_Forwarded_Host": "evil.test", "X_Forwarded_Proto": "gopher", "X_Forwarded_Prefix": "/evil"},
    {"Forwarded": "for=10.0.0.1;host=evil.test;proto=https"},
]


def configuration(name: str, port: int, upstream_port: int, certificate: Path | None = None) -> str:
    """Return a configuration of the guide with these ports, and with a certificate at this path."""
    text = re.search(rf'```\w+ title="{re.escape(name)}"\n(.*?)```', GUIDE, re.DOTALL)
    assert text is not None
    made = re.sub(r"listen \d+", f"listen 127.0.0.1:{port}", text[1])
    # Caddy gets its certificate by itself, from a server that is not there
    tls = f"\n    tls {certificate}.pem {certificate}.key" if certificate else ""
    made = re.sub(r"^example\.org \{", rf"https://127.0.0.1:{port} {{{tls}", made, flags=re.MULTILINE)
    made = re.sub(r"<VirtualHost \*:\d+>", f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>", made)
    made = made.replace("127.0.0.1:3000", f"127.0.0.1:{upstream_port}")
    return made.replace("/etc/ssl/example.org", str(certificate)) if certificate else made


def make_certificate(folder: Path) -> Path:
    """Make ``example.org.pem`` and ``.key``; return their path without the ending."""
    path = folder / "example.org"
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{path}.key"]
    names = ["-subj", "/CN=example.org", "-addext", "subjectAltName=DNS:example.org,IP:127.0.0.1"]
    command = [require_program("openssl"), "req", "-x509", *names, "-out", f"{path}.pem", "-newkey", *key]
    subprocess.run(command, check=True, capture_output=True)
    return path


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


class _Links(HTMLParser):
    """Every address that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        for name, value in attrs:
            if name in ("href", "src", "action", "formaction", "poster", "data") and value is not None:
                self.found.add(value)


def _links_of(kind: str, text: str) -> set[str]:
    if "html" in kind or "svg" in kind:
        page = _Links()
        page.feed(text)
        return page.found
    if "javascript" in kind:
        return set(re.findall(r'^import .*?from "([^"]+)";', text, re.MULTILINE))
    if "css" in kind:
        return set(re.findall(r'url\("?([^")]+)"?\)', text))
    return set()


def crawl(visitor: Visitor, *first: str, lost: str) -> set[str]:
    """Open every page and asset from ``first`` on; fail if a link leaves /kue/ or leads nowhere. ``lost`` is a 404."""
    root = f"{visitor.base.scheme}://{visitor.base.netloc}"
    waiting, seen = [*first, lost], set[str]()
    while waiting and len(seen) < PAGES_MAX:
        path = waiting.pop()
        seen.add(path)
        status, headers, text = visitor.ask("GET", path, Accept="text/html")
        assert status == (404 if path == lost else 200), path
        for each in _links_of(headers["Content-Type"] or "", text):
            target = urlsplit(urljoin(root + path, each))
            assert f"{target.scheme}://{target.netloc}" == root, (path, each)
            assert target.path.startswith("/kue/"), (path, each)
            address = target.path + (f"?{target.query}" if target.query else "")
            if address not in seen and address not in waiting and target.path not in ("/kue/logout",):
                waiting.append(address)
    assert not waiting
    return seen
