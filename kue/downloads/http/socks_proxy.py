"""Connections through a SOCKS5 proxy, by PySocks.

PySocks never looks up a name here: it gets the proxy's checked address, and the server's checked address (``socks5``)
or its name, for the proxy to resolve (``socks5h``).
"""

from __future__ import annotations

import re
import socket
from typing import Any

from ..errors import DownloadError, DownloadFailed
from .deadline import Deadline

try:
    import socks
except ImportError:  # a bare installation
    socks = None

#: PySocks writes the length of a name, a user or a password as one byte only up to here; the protocol allows 255.
MAX_TEXT_BYTES = 127
_REFUSALS = {
    2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable", 5: "connection refused",
    6: "TTL expired",
}  # fmt: skip


def check_credentials(credentials: tuple[str, str] | None) -> None:
    """Raise ValueError if PySocks is missing, or cannot send this user and password."""
    if socks is None:
        raise ValueError("a SOCKS proxy needs the package PySocks; run pip install PySocks")
    if credentials is not None and not all(0 < len(text.encode()) <= MAX_TEXT_BYTES for text in credentials):
        raise ValueError(f"a SOCKS proxy needs both a user and a password, of at most {MAX_TEXT_BYTES} bytes each")


def connect(
    family: int,
    proxy_address: tuple[Any, ...],
    credentials: tuple[str, str] | None,
    label: str,
    host: str,
    port: int,
    timeout_s: float,
) -> socket.socket:
    """Connect to ``host``, a name or an address, through the proxy at ``proxy_address``.

    Raises OSError if the proxy cannot be reached, DownloadError with ``label`` in it if it does not connect.
    """
    if len(host) > MAX_TEXT_BYTES:
        raise DownloadFailed(
            f"The host name is too long for a socks5h proxy ({MAX_TEXT_BYTES} characters). Use socks5:// instead"
        )
    sock = socks.socksocket(family, socket.SOCK_STREAM)
    sock.set_proxy(socks.SOCKS5, *proxy_address[:2], True, *(credentials or ()))
    sock.settimeout(timeout_s)
    with Deadline(sock.fileno(), timeout_s) as deadline:
        try:
            sock.connect((host, port))
        except socks.ProxyConnectionError as exc:
            raise exc.socket_err from None
        except socks.ProxyError as exc:
            cause = exc.socket_err or exc
            if deadline.passed or isinstance(cause, TimeoutError):
                raise DownloadError(f"{label} did not respond in time") from None
            raise _refusal(label, cause) from None
        except BaseException:
            sock.close()
            raise
    plain: socket.socket = sock
    return plain


def _refusal(label: str, cause: OSError) -> DownloadError:
    """Return the error for what PySocks says; its words for what the proxy answered are its only interface."""
    words = str(cause)
    if isinstance(cause, socks.SOCKS5Error):
        match = re.match(r"0x([0-9a-f]+)", words)
        code = int(match[1], 16) if match else 0
        return DownloadError(f"{label} could not connect: {_REFUSALS.get(code, f'error {code}')}")
    if isinstance(cause, socks.SOCKS5AuthError):
        if "failed" in words:
            return DownloadFailed(f"{label} rejected the user or the password")
        return DownloadFailed(f"{label} requires a valid user and password")
    if "invalid data" in words:
        return DownloadFailed(f"{label} does not speak SOCKS5")
    return DownloadError(f"{label} closed the connection")
