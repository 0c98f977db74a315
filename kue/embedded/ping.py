"""Check whether a Redis replies, without a client library."""

from __future__ import annotations

from kue.concurrency import green


def ping(address: tuple[str, int] | str, timeout_s: float = 1.0) -> str | None:
    """Send PING to a host and port, or a Unix socket's path; return the first line of the reply.

    "" if something listens but does not reply; None if nothing listens. Safe in an OS thread beside green ones.
    """
    socket = green.original("socket")
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(address)
        except OSError:
            return None
        try:
            sock.sendall(b"PING\r\n")
            answer: bytes = sock.recv(512)
        except OSError:
            return ""
    return answer.split(b"\r\n")[0].decode("utf-8", "replace")
