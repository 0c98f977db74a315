"""Redis URLs: their meaning, and errors that say what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

import kue
from kue.connection.url import Address, parse, without_password


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address("redis", (("localhost", 6379),))),
        ("redis://", Address("redis", (("localhost", 6379),))),
        ("redis://[::1]:7000/3", Address("redis", (("::1", 7000),), options={"db": 3})),
        ("redis://h?db=4", Address("redis", (("h", 6379),), options={"db": 4})),
        (
            "redis://us%40er:p%40ss%23@h:1/0?socket_timeout=2.5&client_name=web",
            Address("redis", (("h", 1),), options={
                "username": "us@er", "password": "p@ss#", "db": 0, "socket_timeout": 2.5, "client_name": "web",
            }),
        ),
        ("redis://:secret@h", Address("redis", (("h", 6379),), options={"password": "secret"})),
        (
            "rediss://h:6380/1?ssl_ca_certs=/ca.pem&ssl_check_hostname=no",
            Address("rediss", (("h", 6380),), options={
                "ssl": True, "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False, "db": 1,
            }),
        ),
        ("unix:///run/my%20redis.sock?db=2", Address("unix", path="/run/my redis.sock", options={"db": 2})),
        ("unix://:pw@/run/redis.sock", Address("unix", path="/run/redis.sock", options={"password": "pw"})),
        (
            "redis+sentinel://:pw@a:1,b,[::1]:3/main/2?sentinel_password=x&ssl=1",
            Address("redis+sentinel", (("a", 1), ("b", 26379), ("::1", 3)), service="main",
                    options={"password": "pw", "db": 2, "ssl": True}, sentinel_options={"password": "x"}),
        ),
        ("redis+sentinel://a", Address("redis+sentinel", (("a", 26379),), service="mymaster")),
        ("redis+cluster://a:7000,b:7001/0", Address("redis+cluster", (("a", 7000), ("b", 7001)))),
    ],
)  # fmt: skip
def test_a_url_names_a_redis(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("", "write redis://"),
        ("localhost:6379", "write redis://"),
        ("http://h", "write redis://"),
        ("redis:/h", "write redis://"),
        ("redis://h/zero", "must be a number"),
        ("redis://h/-1", "must be a number"),
        ("redis://h/1/2", "must be a number"),
        ("redis://h/1?db=2", "given twice"),
        ("redis://h?db=", "must be a number"),
        ("redis://h:0", "port from 1 to 65535"),
        ("redis://h:99999", "port from 1 to 65535"),
        ("redis://h:port", "port from 1 to 65535"),
        ("redis://a,b", "several hosts need"),
        ("redis://h?timeout=3", "unknown option 'timeout'"),
        ("redis://h?decode_responses=1", "unknown option 'decode_responses'"),
        ("redis://h?socket_timeout=soon", "socket_timeout must be a number of seconds"),
        ("redis://h?socket_timeout=0", "socket_timeout must be a number of seconds"),
        ("redis://h?ssl_ca_certs=/ca", "for connections with TLS"),
        ("redis://h?ssl=1", "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://h?sentinel_password=x", "for redis+sentinel:// only"),
        ("redis://h?username=", "username is empty"),
        ("redis://u:pass#word@h", "as %23"),
        ("unix://run/redis.sock", "whole path"),
        ("unix://", "whole path"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis+sentinel://a/main/x", "must be a number"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: str, hint: str) -> None:
    with pytest.raises(kue.InvalidAddress) as caught:
        kue.create_queue(url)
    assert hint in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("url", ["redis://user:geheim@h/x", "redis://h/x?password=geheim&x=1", "geheim@h", "redis://:ge@geheim@h/x"])
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(kue.InvalidAddress) as caught:
        parse(url)
    assert "geheim" not in str(caught.value)
    assert "geheim" not in without_password(url)


@pytest.mark.parametrize("source", [7, object(), lambda: None, lambda: "redis://h"])
def test_what_is_no_redis_is_refused(source: Any) -> None:
    with pytest.raises(kue.InvalidAddress, match="a URL, a redis.Redis"):
        kue.create_queue(source)
