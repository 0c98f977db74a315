"""Which addresses a download may connect to: public addresses, and those the operator allows.

The check applies to the address that a socket connects to, not to the name in the URL: names are resolved here, each
address is checked, and the connection uses the checked address, so a second lookup (DNS rebinding) cannot change it.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from ..errors import DownloadError, DownloadFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[..., Iterable[tuple[Any, ...]]]

#: IPv4 networks that are not public: IANA's special-purpose registry, and Azure's metadata service.
_FORBIDDEN_V4 = [
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "an unspecified address (this host)"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "in shared address space (RFC 6598)"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "a cloud metadata service"),
        ("169.254.0.0/16", "a link-local address (used by cloud metadata services)"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
]

#: The part of IPv6 that is assigned for public use, and the networks in it that are not public.
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = [
    (IPv6Network(network), reason)
    for network, reason in (
        ("2001::/23", "a reserved address (Teredo and others)"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "reserved for documentation"),
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
#: Prefixes whose last 32 bits are an IPv4 address: compatible, translated (SIIT), NAT64.
_LOW_V4 = [IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"), _NAT64, IPv6Network("64:ff9b:1::/48")]
_ISATAP = (0x00005EFE, 0x02005EFE)


def embedded_v4(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses embedded in an IPv6 address: mapped, NAT64, 6to4, Teredo, ISATAP and the like."""
    number = int(address)
    low = IPv4Address(number & 0xFFFFFFFF)
    found = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if any(address in network for network in _LOW_V4) or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(low)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return found


def why_forbidden(address: Address) -> str | None:
    """Return what ``address`` is if it is not public ("a loopback address"), or None."""
    if isinstance(address, IPv4Address):
        for network, reason in _FORBIDDEN_V4:
            if address in network:
                return reason
        return None
    for inner in embedded_v4(address):
        inner_reason = why_forbidden(inner)
        if inner_reason:
            return f"{inner_reason} (as {inner})" if int(address) > 1 else inner_reason
    if address.ipv4_mapped is not None or address in _NAT64:
        return None  # an ordinary public IPv4 host, seen from an IPv6 network
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address not in _GLOBAL_V6:
        return "a private address" if address.is_private else "a reserved address"
    for network6, reason in _FORBIDDEN_V6:
        if address in network6:
            return reason
    return None


def literal_address(host: str) -> Address | None:
    """Return the address that ``host`` is a literal of, or None if it is a name.

    Includes what the system's resolver accepts: ``2130706433``, ``0x7f.1``, ``0177.0.0.1``, full-width digits.
    """
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").strip("[]").split("%", 1)[0].rstrip(".")
    try:
        return ip_address(host)
    except ValueError:
        pass
    if re.fullmatch(r"(?i)(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", host):
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            pass
    return None


def refusal_text(host: str, address: Address, reason: str) -> str:
    """Return the sentence for a refused address."""
    what = f"{host} is" if str(address) == host else f"{host} resolves to {address},"
    return f"Refused: {what} {reason}. An operator can allow it with DOWNLOAD_ALLOW"


class _Rule(NamedTuple):
    """One entry of the allow list: a network or a host pattern, and a port (None: any)."""

    network: Network | None
    host: str
    port: int | None


class AllowList:
    """What the operator allows: ``example.com``, ``*.lan``, ``host:8080``, ``10.0.0.0/8``, ``127.0.0.1:80``, ``[::1]``.

    A host entry allows whatever address the name resolves to; a network or address entry applies to any name.
    ``*`` allows everything. Raises ValueError for an invalid entry.
    """

    def __init__(self, entries: Sequence[str] = ()) -> None:
        if isinstance(entries, str):
            raise ValueError("the allow list is a list of entries, not one string")
        self._rules = [_read_rule(entry) for entry in entries if entry.strip()]

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Return whether a connection for ``host`` to ``address`` and ``port`` is allowed."""
        host = host.lower().strip("[]").rstrip(".")
        forms: list[Address] = [address]
        if isinstance(address, IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
            forms.append(IPv4Address(int(address) & 0xFFFFFFFF))
        for rule in self._rules:
            if rule.port not in (None, port):
                continue
            if rule.network is not None:
                if any(form in rule.network for form in forms):
                    return True
            elif rule.host in ("*", host) or (rule.host[:2] == "*." and host.endswith(rule.host[1:])):
                return True
        return False


def _read_rule(entry: str) -> _Rule:
    text = entry.strip()
    try:
        return _Rule(ip_network(text.strip("[]"), strict=False), "", None)
    except ValueError:
        pass
    host, colon, digits = text.rpartition(":")
    port = None
    if colon:
        if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
            raise ValueError(f"{entry!r} is not a host, host:port, address or network such as 10.0.0.0/8")
        port, text = int(digits), host
    try:
        return _Rule(ip_network(text.strip("[]"), strict=False), "", port)
    except ValueError:
        pass
    pattern = text.lower().rstrip(".")
    if not pattern.isascii():
        try:
            pattern = pattern.encode("idna").decode("ascii")
        except UnicodeError:
            pattern = ""
    if pattern != "*" and not re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", pattern):
        raise ValueError(f"{entry!r} is not a host, host:port, address or network such as 10.0.0.0/8")
    return _Rule(None, pattern, port)


class Guard:
    """Resolve names to the addresses that a download may connect to."""

    def __init__(self, allow: Sequence[str] | AllowList = (), resolve: Resolver | None = None) -> None:
        self.allow = allow if isinstance(allow, AllowList) else AllowList(allow)
        self._resolve = resolve

    def addresses(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        """Return (family, socket address) for each permitted address of ``host``.

        Raises DownloadFailed if there are addresses but none is permitted, DownloadError if the lookup fails.
        """
        host = host.strip("[]")
        resolve = self._resolve or socket.getaddrinfo
        try:
            answers = list(resolve(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM))
        except socket.gaierror as exc:
            if exc.errno not in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise DownloadError(f"Looking up {host} failed temporarily") from None
            raise DownloadError(f"Unknown host: {host} has no address") from None
        except UnicodeError:
            raise DownloadFailed(f"{host} is not a valid host name") from None
        permitted: list[tuple[int, tuple[Any, ...]]] = []
        refusal = ""
        for family, _type, _proto, _name, target in answers:
            address = ip_address(str(target[0]).split("%", 1)[0])
            reason = why_forbidden(address)
            if reason is None or self.allow.allows(host, port, address):
                permitted.append((family, target))
            else:
                refusal = refusal_text(host, address, reason)
        if not permitted:
            if refusal:
                raise DownloadFailed(refusal)
            raise DownloadError(f"Unknown host: {host} has no address")
        return permitted
