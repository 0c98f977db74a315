"""Proxies: http, https (TLS to the proxy), socks5 (names resolved here) and socks5h (names resolved by the proxy)."""

from __future__ import annotations

import base64
import re
import socket
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..addresses.host_names import ascii_host
from ..addresses.urls import Url
from ..errors import DownloadError, DownloadFailed
from . import socks_proxy
from .deadline import Deadline

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
#: Longest response head of a CONNECT request, bytes.
MAX_CONNECT_HEAD = 64 * 1024


class Proxy(NamedTuple):
    """A proxy. ``is_trusted``: set by the operator, so its address is not checked by the guard."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None
    is_trusted: bool = False

    @property
    def label(self) -> str:
        """Host and port for display."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"proxy {host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it is a SOCKS proxy."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy looks up the names of the servers."""
        return self.scheme != "socks5"

    @property
    def authorization(self) -> str | None:
        """Return the Proxy-Authorization header's value, or None."""
        if self.credentials is None:
            return None
        return "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode("ascii")


def parse_proxy(text: str, is_trusted: bool = False) -> Proxy:
    """Read a proxy URL such as ``http://user:pw@proxy:3128`` or ``socks5h://127.0.0.1:1080``. Raises ValueError."""
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        scheme, port = parts.scheme.lower(), parts.port
        host = parts.hostname or ""
        host = host if ":" in host else ascii_host(host)
    except ValueError:
        raise ValueError("a proxy must look like http://host:3128, https://host:3128 or socks5h://host:1080") from None
    if scheme not in PORTS or parts.path not in ("", "/") or port == 0:
        raise ValueError("a proxy must look like http://host:3128, https://host:3128 or socks5h://host:1080")
    credentials = None
    if parts.username is not None:
        credentials = unquote(parts.username), unquote(parts.password or "")
    proxy = Proxy(scheme, host, port or PORTS[scheme], credentials, is_trusted)
    if proxy.is_socks:
        socks_proxy.check_credentials(credentials)
    return proxy


def environment_proxy(url: Url) -> Proxy | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a URL."""
    found = getproxies()
    text = found.get(url.scheme) or found.get("all")
    return None if not text or proxy_bypass(url.host) else parse_proxy(text, is_trusted=True)


def http_tunnel(sock: socket.socket, proxy: Proxy, target: Url, timeout_s: float) -> None:
    """Ask an HTTP proxy for a tunnel (CONNECT), within ``timeout_s`` in all. Raises DownloadError, OSError."""
    with Deadline(sock.fileno(), timeout_s) as deadline:
        status = _connect(sock, proxy, target, deadline)
    if not 200 <= status < 300:
        raise refusal(proxy, status)


def _connect(sock: socket.socket, proxy: Proxy, target: Url, deadline: Deadline) -> int:
    """Send a CONNECT request, and return the status of the response; 0 if it is not HTTP."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        byte = sock.recv(1)  # never a byte of what follows, which is TLS
        head += byte
        if deadline.passed:
            raise TimeoutError
        if not byte or len(head) > MAX_CONNECT_HEAD:
            raise DownloadError(f"The {proxy.label} closed the connection")
    match = re.match(rb"HTTP/1\.[0-9] +([0-9]{3})", head)
    return int(match[1]) if match else 0


def refusal(proxy: Proxy, status: int) -> DownloadError:
    """Return the error for a proxy's own response; status 0: it was not HTTP."""
    if status == 407:
        return DownloadFailed(f"The {proxy.label} requires a valid user and password (407)")
    kind = DownloadError if status >= 500 or status == 0 else DownloadFailed
    return kind(f"The {proxy.label} refused the connection ({status or 'no HTTP response'})")
