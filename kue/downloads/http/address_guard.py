"""Where a download may connect: public addresses, and what the operator opened.

What counts is the address that a socket is about to connect to, not the name in the URL: names are looked up here, each
answer is checked, and the connection is made to the checked number, so that a second lookup cannot change it.
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

#: IPv4 networks that are not for the public, and how to call them. IANA's special-purpose registry, and Azure's
#: metadata service, which has an address that looks public.
_FORBIDDEN_V4 = [
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "it means this machine"),
        ("10.0.0.0/8", "it is in a private network"),
        ("100.64.0.0/10", "it is in a provider's own network"),
        ("127.0.0.0/8", "it means this machine"),
        ("168.63.129.16/32", "it is a cloud's metadata service"),
        ("169.254.0.0/16", "it is a link-local address, as of metadata services"),
        ("172.16.0.0/12", "it is in a private network"),
        ("192.0.0.0/24", "it is reserved"),
        ("192.0.2.0/24", "it is reserved for documentation"),
        ("192.88.99.0/24", "it is reserved"),
        ("192.168.0.0/16", "it is in a private network"),
        ("198.18.0.0/15", "it is reserved for benchmarks"),
        ("198.51.100.0/24", "it is reserved for documentation"),
        ("203.0.113.0/24", "it is reserved for documentation"),
        ("224.0.0.0/4", "it is a multicast address"),
        ("240.0.0.0/4", "it is reserved"),
    )
]

#: The only part of IPv6 that is given out for public use, and what within it is not.
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = [
    (IPv6Network(network), reason)
    for network, reason in (
        ("2001::/23", "it is reserved (Teredo and others)"),
        ("2001:db8::/32", "it is reserved for documentation"),
        ("2002::/16", "it is a 6to4 address"),
        ("3fff::/20", "it is reserved for documentation"),
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
#: Prefixes whose last 32 bits are an IPv4 address: compatible, translated (SIIT), NAT64.
_LOW_V4 = [IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"), _NAT64, IPv6Network("64:ff9b:1::/48")]
_ISATAP = (0x00005EFE, 0x02005EFE)


def embedded_v4(address: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address may lead to: mapped, NAT64, 6to4, Teredo, ISATAP and the like."""
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
    """Return why ``address`` is not a public one, or None if it is."""
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
        return "it means this machine"
    if address.is_link_local:
        return "it is a link-local address"
    if address not in _GLOBAL_V6:
        return "it is in a private network" if address.is_private else "it is reserved"
    for network6, reason in _FORBIDDEN_V6:
        if address in network6:
            return reason
    return None


def literal_address(host: str) -> Address | None:
    """Return the address that ``host`` spells out, or None if it is a name.

    Knows what the system's resolver takes as well: ``2130706433``, ``0x7f.1``, ``0177.0.0.1``, full-width digits.
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


class _Opening(NamedTuple):
    """One entry of the allow list: a network or a host pattern, and a port or None for any."""

    network: Network | None
    host: str
    port: int | None


class AllowList:
    """What the operator opened: ``example.com``, ``*.lan``, ``host:8080``, ``10.0.0.0/8``, ``127.0.0.1:80``, ``[::1]``.

    A host entry opens whatever address that name leads to; a network or address entry opens it under any name.
    ``*`` opens everything. Raises ValueError for an entry that cannot be read.
    """

    def __init__(self, entries: Sequence[str] = ()) -> None:
        if isinstance(entries, str):
            raise ValueError("the allow list is a list of entries, not one string")
        self._openings = [_read_opening(entry) for entry in entries if entry.strip()]

    def admits(self, host: str, port: int, address: Address) -> bool:
        """Tell whether a connection made for ``host`` to ``address`` and ``port`` is opened."""
        host = host.lower().strip("[]").rstrip(".")
        forms: list[Address] = [address]
        if isinstance(address, IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
            forms.append(IPv4Address(int(address) & 0xFFFFFFFF))
        for opening in self._openings:
            if opening.port not in (None, port):
                continue
            if opening.network is not None:
                if any(form in opening.network for form in forms):
                    return True
            elif opening.host in ("*", host) or (opening.host[:2] == "*." and host.endswith(opening.host[1:])):
                return True
        return False


def _read_opening(entry: str) -> _Opening:
    text = entry.strip()
    try:
        return _Opening(ip_network(text.strip("[]"), strict=False), "", None)
    except ValueError:
        pass
    host, colon, digits = text.rpartition(":")
    port = None
    if colon:
        if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
            raise ValueError(f"{entry!r} is not a host, host:port, address or network such as 10.0.0.0/8")
        port, text = int(digits), host
    try:
        return _Opening(ip_network(text.strip("[]"), strict=False), "", port)
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
    return _Opening(None, pattern, port)


class Guard:
    """Looks names up and lets through only the addresses that a download may connect to."""

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
                raise DownloadError(f"The name {host} could not be looked up just now") from None
            raise DownloadError(f"There is no host named {host}") from None
        except UnicodeError:
            raise DownloadFailed(f"{host} is not a valid host name") from None
        permitted: list[tuple[int, tuple[Any, ...]]] = []
        refusal = ""
        for family, _type, _proto, _name, target in answers:
            address = ip_address(str(target[0]).split("%", 1)[0])
            reason = why_forbidden(address)
            if reason is None or self.allow.admits(host, port, address):
                permitted.append((family, target))
            else:
                shown = str(address) if str(address) == host else f"{host} leads to {address}, which"
                refusal = f"{shown} may not be connected to: {reason}"
        if not permitted:
            if refusal:
                raise DownloadFailed(refusal)
            raise DownloadError(f"There is no host named {host}")
        return permitted
