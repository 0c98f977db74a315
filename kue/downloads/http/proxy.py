"""Proxies: http, https (TLS to the proxy), socks5 (names resolved here) and socks5h (names resolved by the proxy)."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import struct
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import DownloadError, DownloadFailed
from .host_names import ascii_host
from .urls import Url

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_SOCKS_ERRORS = {
    2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable", 5: "connection refused",
    6: "TTL expired",
}  # fmt: skip
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
        raise ValueError("a proxy must look like http://host:3128 or socks5h://host:1080") from None
    if scheme not in PORTS or parts.path not in ("", "/") or port == 0:
        raise ValueError("a proxy must look like http://host:3128, https://host:3128 or socks5h://host:1080")
    credentials = None
    if parts.username is not None:
        credentials = unquote(parts.username), unquote(parts.password or "")
    return Proxy(scheme, host, port or PORTS[scheme], credentials, is_trusted)


def environment_proxy(url: Url) -> Proxy | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a URL."""
    found = getproxies()
    text = found.get(url.scheme) or found.get("all")
    return None if not text or proxy_bypass(url.host) else parse_proxy(text, is_trusted=True)


def http_tunnel(sock: socket.socket, proxy: Proxy, target: Url) -> None:
    """Ask an HTTP proxy for a tunnel (CONNECT). Raises DownloadError."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        byte = sock.recv(1)  # never a byte of what follows, which is TLS
        head += byte
        if not byte or len(head) > MAX_CONNECT_HEAD:
            raise DownloadError(f"The {proxy.label} closed the connection")
    match = re.match(rb"HTTP/1\.[0-9] +([0-9]{3})", head)
    status = int(match[1]) if match else 0
    if not 200 <= status < 300:
        raise _refusal(proxy, status)


def _refusal(proxy: Proxy, status: int) -> DownloadError:
    if status == 407:
        return DownloadFailed(f"The {proxy.label} requires a valid user and password (407)")
    kind = DownloadError if status >= 500 or status == 0 else DownloadFailed
    return kind(f"The {proxy.label} refused the connection ({status or 'no HTTP response'})")


def socks_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask a SOCKS5 proxy (RFC 1928, 1929) to connect. Raises DownloadError."""
    methods = b"\x00\x02" if proxy.credentials else b"\x00"
    sock.sendall(bytes((5, len(methods))) + methods)
    version, method = _exactly(sock, 2, proxy)
    if version != 5:
        raise DownloadFailed(f"The {proxy.label} does not speak SOCKS5")
    if method == 2 and proxy.credentials:
        user, password = (text.encode()[:255] for text in proxy.credentials)
        sock.sendall(b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        if _exactly(sock, 2, proxy)[1] != 0:
            raise DownloadFailed(f"The {proxy.label} rejected the user or the password")
    elif method != 0:
        raise DownloadFailed(f"The {proxy.label} requires a user and a password")
    sock.sendall(b"\x05\x01\x00" + _socks_address(host) + struct.pack("!H", port))
    _version, code, _reserved, kind = _exactly(sock, 4, proxy)
    if code != 0:
        raise DownloadError(f"The {proxy.label} could not connect: {_SOCKS_ERRORS.get(code, f'error {code}')}")
    size = {1: 4, 4: 16}.get(kind) or _exactly(sock, 1, proxy)[0]
    _exactly(sock, size + 2, proxy)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return b"\x03" + bytes((len(name),)) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def _exactly(sock: socket.socket, size: int, proxy: Proxy) -> bytes:
    found = b""
    while len(found) < size:
        piece = sock.recv(size - len(found))
        if not piece:
            raise DownloadError(f"The {proxy.label} closed the connection")
        found += piece
    return found


