"""Which addresses may be connected to, in all notations."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from kue.downloads import AllowList, DownloadError, DownloadFailed, Guard
from kue.downloads.addresses.address_guard import embedded_v4, literal_address, why_forbidden

FORBIDDEN = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1
198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::1 2002:808:808::1 2001:0:7f00:1::
2001:0:808:808::1 2001:10::1 2001:db8::1 3fff::1 fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 5f00::1
2600::5efe:7f00:1 2600::200:5efe:a00:1 4000::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 198.17.1.1 223.255.255.255
2606:4700:4700::1111 2a00:1450:4001:80b::200e ::ffff:8.8.8.8 64:ff9b::808:808
""".split()


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_not_public_is_refused_with_a_reason(address: str) -> None:
    assert why_forbidden(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert why_forbidden(ip_address(address)) is None


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("::ffff:1.2.3.4", ["1.2.3.4"]),
        ("64:ff9b::102:304", ["1.2.3.4"]),
        ("2002:102:304::", ["1.2.3.4"]),
        ("2001:0:102:304::fefd:fcfb", ["1.2.3.4", "1.2.3.4"]),
        ("2600::5efe:102:304", ["1.2.3.4"]),
        ("2600::1", []),
    ],
)
def test_ipv4_hidden_in_ipv6_is_unwrapped(address: str, inner: list[str]) -> None:
    assert [str(found) for found in embedded_v4(ip_address(address))] == inner  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0x7F.0.0.1"]
    + ["127.0.0.1.", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "[::ffff:127.0.0.1]"],
)
def test_loopback_is_recognized_in_every_spelling(host: str) -> None:
    address = literal_address(host)
    assert address is not None and why_forbidden(address)


@pytest.mark.parametrize("host", ["example.com", "1.2.3.4.5", "0xzz", "a127.0.0.1", "256.1.1.1.1", "", "dead.beef"])
def test_a_name_is_not_taken_for_an_address(host: str) -> None:
    assert literal_address(host) is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "admitted"),
    [
        ("example.com", "example.com", 80, "10.0.0.1", True),
        ("example.com", "EXAMPLE.com.", 443, "10.0.0.1", True),
        ("example.com", "www.example.com", 80, "10.0.0.1", False),
        ("example.com", "badexample.com", 80, "10.0.0.1", False),
        ("*.lan", "nas.lan", 80, "10.0.0.1", True),
        ("*.lan", "a.b.lan", 80, "10.0.0.1", True),
        ("*.lan", "lan", 80, "10.0.0.1", False),
        ("*.lan", "evil-lan", 80, "10.0.0.1", False),
        ("nas.lan:8080", "nas.lan", 8080, "10.0.0.1", True),
        ("nas.lan:8080", "nas.lan", 80, "10.0.0.1", False),
        ("10.0.0.0/8", "anything", 80, "10.9.9.9", True),
        ("10.0.0.0/8", "anything", 80, "11.9.9.9", False),
        ("10.0.0.0/8", "anything", 80, "::ffff:10.9.9.9", True),
        ("10.0.0.0/8:8080", "anything", 8080, "10.9.9.9", True),
        ("10.0.0.0/8:8080", "anything", 80, "10.9.9.9", False),
        ("127.0.0.1:3000", "127.0.0.1", 3000, "127.0.0.1", True),
        ("127.0.0.1:3000", "127.0.0.1", 3001, "127.0.0.1", False),
        ("127.0.0.1:3000", "127.0.0.2", 3000, "127.0.0.2", False),
        ("[::1]:3000", "::1", 3000, "::1", True),
        ("[::1]:3000", "::1", 80, "::1", False),
        ("::1", "::1", 80, "::1", True),
        ("fd00::/8", "x", 80, "fd12::1", True),
        ("*", "x", 80, "127.0.0.1", True),
        ("bücher.lan", "xn--bcher-kva.lan", 80, "10.0.0.1", True),
        ("", "x", 80, "10.0.0.1", False),
    ],
)
def test_the_allow_list_opens_what_it_says(entry: str, host: str, port: int, address: str, admitted: bool) -> None:
    assert AllowList([entry]).allows(host, port, ip_address(address)) is admitted


@pytest.mark.parametrize(
    "entry", ["http://x", "a b", "host:0", "host:99999", "host:http", "10.0.0.0/40", "*.*", "-", "a/b"]
)
def test_an_entry_that_cannot_be_parsed_is_refused_when_it_is_given(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        AllowList([entry])


def answers(*addresses: str) -> Any:
    """Return a resolver that always gives these."""

    def resolve(host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return resolve


def test_only_permitted_addresses_of_a_name_are_ever_used() -> None:
    guard = Guard(resolve=answers("127.0.0.1", "8.8.8.8", "::1", "::ffff:10.0.0.1"))
    assert [target[0] for _, target in guard.addresses("mixed.example", 80)] == ["8.8.8.8"]


def test_a_name_that_leads_only_inside_is_refused_for_good() -> None:
    with pytest.raises(DownloadFailed, match="inside.example resolves to 10.0.0.1, a private address"):
        Guard(resolve=answers("10.0.0.1")).addresses("inside.example", 80)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (socket.EAI_AGAIN, "failed temporarily"),
        (socket.EAI_SYSTEM, "failed temporarily"),
        (socket.EAI_NONAME, "Unknown host"),
    ],
)
def test_a_lookup_that_fails_may_be_tried_again(number: int, words: str) -> None:
    def resolve(*_: object) -> Any:
        raise socket.gaierror(number, "x")

    with pytest.raises(DownloadError, match=words) as caught:
        Guard(resolve=resolve).addresses("gone.example", 80)
    assert not isinstance(caught.value, DownloadFailed)


def test_an_invalid_name_is_rejected() -> None:
    with pytest.raises(DownloadFailed, match="not a valid host name"):
        Guard().addresses("x" * 70 + ".example", 80)
