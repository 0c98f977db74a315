"""`kue check`: what is wrong is found, in one line with a remedy, and all that is well is said to be."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kue.preflight import examine
from kue.preflight.environment import read_file
from tests.support import ROOT, free_port


@pytest.fixture
def check(tmp_path: Path, redis_url: str) -> Callable[..., list[str]]:
    """Examine settings; return ``level about: what`` of each finding that has ``about``, all without it."""

    def call(about: str = "", **environ: str) -> list[str]:
        values = {"REDIS_URL": redis_url, "PORT": str(free_port()), "DOWNLOAD_DIR": str(tmp_path / "new"), **environ}
        found = [each for each, _ in examine({"DOWNLOAD_MAX_BYTES": "1M", "DOWNLOAD_MIN_FREE": "1M", **values})]
        assert all(each.what and (each.remedy.strip().endswith((".", "?")) or "ACL" in each.remedy)
                   for each in found if each.level != "ok")  # fmt: skip
        return [f"{each.level} {each.about}: {each.what}" for each in found if about in ("", each.about)]

    return call


def test_a_sound_place_has_nothing_but_known_warnings(check: Any, redis_client: Any, tmp_path: Path) -> None:
    # Given the tests' Valkey, which keeps nothing on disk
    found = check(KUE_AUTH="anna:a good password")
    assert [each for each in found if not each.startswith("ok")] == [
        "warning redis: appendonly is off: a crash loses all jobs since the last snapshot",
        *(["warning system user: running as root, which may write everywhere"] if os.geteuid() == 0 else []),
    ]
    assert any(each.startswith("ok redis: Valkey 9") for each in found)
    assert "ok redis: permits everything needed on the keys q:*" in found
    # And nothing was left behind
    assert redis_client.keys("*") == [] and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PORT": "http"}, "error settings: PORT=http is invalid"),
        ({"KUE_AUTH": "secret"}, "error settings: KUE_AUTH is invalid"),  # which may be a password
        ({"KUE_GREEN": "maybe"}, "error settings: KUE_GREEN=maybe is invalid"),
        ({"KUE_TRUSTED_PROXY": "1"}, "warning settings: KUE_TRUSTED_PROXY is not a setting and has no effect"),
        ({"HOST": "0.0.0.0"}, "error settings: HOST=0.0.0.0 accepts connections"),
        ({"KUE_AUTH_HEADER": "X-User"}, "error settings: KUE_AUTH_HEADER conflicts with other settings"),
        ({"HOST": "0.0.0.0", "KUE_AUTH": "a:short"}, "warning login: the password in KUE_AUTH is short"),
        ({"HOST": "0.0.0.0", "KUE_ALLOW_ANONYMOUS": "1"}, "warning login: anyone who can connect"),
        ({"HOST": "0.0.0.0", "KUE_AUTH": "a:long enough"}, "warning proxies: passwords are sent to 0.0.0.0"),
        ({"HOST": "0.0.0.0", "KUE_AUTH": "a:long enough", "KUE_TRUSTED_PROXIES": "1"},
         "warning proxies: KUE_TRUSTED_PROXIES=1 trusts every client of 0.0.0.0"),
        ({"KUE_TRUSTED_PROXIES": "10.0.0.1"}, "warning proxies: a proxy is trusted, but no public host name"),
        ({"KUE_BASE_PATH": "/kue"}, "warning proxies: KUE_BASE_PATH is set, but no proxy"),
        ({"KUE_CORS_ORIGINS": "*"}, "warning login: pages of any website may connect"),
        ({"KUE_USERS_FILE": "/nonexistent"}, "error users file: /nonexistent cannot be read"),
        ({"DOWNLOAD_DIR": "/proc/kue"}, "error download folder: /proc, in which /proc/kue would be created,"),
        ({"DOWNLOAD_MIN_FREE": "900T"}, "error download folder: "),
        ({"DOWNLOAD_MAX_BYTES": "900T"}, "warning download folder: "),
        ({"DOWNLOAD_CA_BUNDLE": str(ROOT / "README.md")}, "error certificates: DOWNLOAD_CA_BUNDLE"),
        ({"DOWNLOAD_CLIENT_CERT": str(ROOT / "README.md")}, "error certificates: DOWNLOAD_CLIENT_CERT"),
        ({"DOWNLOAD_PROXY": "http://127.0.0.1:1"}, "error download proxy: cannot connect to 127.0.0.1:1"),
        ({"KUE_WEBHOOK_PROXY": "http://127.0.0.1:1"}, "error webhook proxy: cannot connect to 127.0.0.1:1"),
        ({"HOST": "192.0.2.1", "KUE_AUTH": "a:long enough"}, "error port: cannot listen on 192.0.2.1"),
        ({"REDIS_URL": "embedded://", "KUE_DATA_DIR": "/proc/kue"}, "error embedded Valkey: /proc, in which"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(check: Any, environ: dict[str, str], said: str) -> None:
    found = check(**environ)
    assert any(each.startswith(said) for each in found), found
    assert "secret" not in "".join(found)
    assert any("redis" in each or "embedded" in each for each in found)  # one mistake does not hide the rest


def test_a_port_in_use_is_a_warning(check: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert check("port", PORT=str(port)) == [f"warning port: 127.0.0.1:{port} is in use"]
    assert check("port", PORT=str(port)) == [f"ok port: 127.0.0.1:{port} is free"]


def test_the_users_file_is_looked_into(check: Any, tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# nobody\n")
    path.chmod(0o600)
    assert check("users file", KUE_USERS_FILE=str(path)) == [
        f"warning users file: no user in {path} has read-write access"
    ]
    path.write_text(f"anna:write:pbkdf2:sha256:1$a${'0' * 64}\neva:boss:x\n")
    path.chmod(0o644)
    assert check("users file", KUE_USERS_FILE=str(path)) == [
        f"error users file: {path}, line 2: user eva: the role must be write or read",
        f"warning users file: {path}: other users of this machine may read or change it (mode 0644)",
        "ok users file: 1 users, 1 with read-write access",
    ]


@pytest.fixture
def restored(redis_client: Any) -> Iterator[Any]:
    yield redis_client
    redis_client.config_set("maxmemory", 0)
    redis_client.config_set("maxmemory-policy", "noeviction")
    redis_client.acl_deluser("limited")


def test_what_redis_would_do_to_jobs_is_found(check: Any, restored: Any) -> None:
    restored.config_set("maxmemory-policy", "allkeys-lru")
    assert "warning redis: maxmemory-policy is allkeys-lru: it may evict jobs when its memory is full" in check()
    restored.config_set("maxmemory", restored.info("memory")["used_memory"] * 11 // 10)
    found = check("redis")
    assert "error redis: maxmemory-policy is allkeys-lru: it may evict jobs when its memory is full" in found
    assert any("new jobs will be rejected when it is full" in each for each in found)
    for free, is_warned in ((16 << 20, True), (1 << 30, False)):
        restored.config_set("maxmemory", restored.info("memory")["used_memory"] + free)
        assert any("new jobs will be rejected when it is full" in each for each in check("redis")) == is_warned


def test_what_an_acl_denies_is_named(check: Any, restored: Any, redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis://limited:word@")
    rules = ("reset", "on", ">word", "~q:*", "&q:*", "+@all")
    restored.execute_command("ACL", "SETUSER", "limited", *rules, "-blpop", "-info")
    assert [each for each in check("redis", REDIS_URL=url) if not each.startswith("ok")] == [
        "warning redis: it does not permit INFO: version, memory and persistence are unknown",
        "error redis: its ACL denies BLPOP, the key promotion:lock",
    ]
    restored.execute_command("ACL", "SETUSER", "limited", "resetkeys", "~other:*", "resetchannels")
    (denied,) = (each for each in check("redis", REDIS_URL=url) if "ACL" in each)
    assert "HSET on the queue's keys" in denied and "SUBSCRIBE on the queue's channels" in denied
    restored.execute_command("ACL", "SETUSER", "limited", *rules, "~promotion:lock")  # what the guide recommends
    assert not any("ACL" in each for each in check("redis", REDIS_URL=url))


def test_a_replica_and_a_node_of_a_cluster_are_told_apart(check: Any, second_redis_server: Any) -> None:
    import redis

    cluster = second_redis_server("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    assert any("is part of a Cluster" in each for each in check("redis", REDIS_URL=cluster))
    replica = second_redis_server()
    with redis.Redis.from_url(replica) as client:
        client.replicaof("127.0.0.1", "1")
    found = check("redis", REDIS_URL=replica)
    assert any("it is a replica" in each for each in found) and any("refuses writes" in each for each in found)


def test_an_environment_file_is_read_as_systemd_does(tmp_path: Path) -> None:
    path = tmp_path / "kue.env"
    path.write_text("# a comment\n; another\n\nA=1\nexport B=two words \nC='#x'\nD=\"\"\nE=a=b\n")
    assert read_file(path) == {"A": "1", "B": "two words", "C": "#x", "D": "", "E": "a=b"}
