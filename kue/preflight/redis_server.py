"""Checks of Redis: reachability, writes, persistence, eviction, and permissions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis
from redis.exceptions import NoPermissionError, RedisError

from ..connection.locate import embedded_dir, is_embedded
from ..embedded.server import USUAL_HOST, USUAL_PORT, ServerError, find_binary, probe
from ..errors import InvalidJob, KueError, QueueUnavailable
from ..settings import Settings
from ..storage.keys import check_prefix
from ..storage.session import Session
from ..text.humanize import size_text
from .finding import Finding, error, ok, warning
from .machine import folder_problem
from .permissions import check as check_permissions

ABOUT = "redis"
#: The oldest version with all commands that are used.
VERSION_MIN = (6, 2)
#: Share of maxmemory beyond which little memory is left.
MEMORY_FULL = 0.8
#: Free memory below which little is left, too, bytes: enough for some ten thousand jobs.
MEMORY_FREE_MIN = 32 * 2**20
#: Slower round trips than this, ms, make every job slow.
SLOW_MS = 20.0
ROUND_TRIPS = 5


class Unreachable(Exception):
    """Redis is unreachable; ``finding`` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def check(settings: Settings) -> Iterator[Finding]:
    """Yield findings about Redis. Raises Unreachable."""
    url = settings.redis_url
    if url is None:
        usable, problem = probe(USUAL_HOST, USUAL_PORT, loading_s=0)
        if usable:
            url = f"redis://{USUAL_HOST}:{USUAL_PORT}/0"
            yield warning(
                ABOUT, f"REDIS_URL is not set; there is a Redis on {USUAL_HOST}:{USUAL_PORT}", f"Set REDIS_URL={url}."
            )
        elif problem:
            raise Unreachable(error(ABOUT, problem, "Set REDIS_URL."))
        else:
            yield warning(
                ABOUT, "REDIS_URL is not set, so an embedded Valkey stores the jobs, for programs on this machine only",
                "Set REDIS_URL to use a Redis server.",
            )  # fmt: skip
    if url is None or is_embedded(url):
        yield from _embedded(settings, url)
        return
    try:
        session = Session(url, settings.prefix)
        check_prefix(session.keys.prefix)
    except (InvalidJob, KueError) as exc:
        yield error(ABOUT, str(exc), "Correct REDIS_URL or KUE_PREFIX.")
        return
    try:
        yield from _server(session)
    finally:
        session.connector.close()


def _embedded(settings: Settings, url: str | None) -> Iterator[Finding]:
    folder = embedded_dir(url, settings.data_dir) if url else settings.data_dir
    try:
        find_binary()
    except ServerError as exc:
        what, _, remedy = str(exc).partition(". ")
        yield error("embedded Valkey", what, remedy or "Set REDIS_URL.")
    if problem := folder_problem(folder):
        yield error("embedded Valkey", problem, "Make the folder writable for this user, or set KUE_DATA_DIR.")
    else:
        yield ok("embedded Valkey", f"keeps its data in {folder}")


def _server(session: Session) -> Iterator[Finding]:
    took_ms = _reach(session)
    info = _info(session)
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    if version:
        yield ok(ABOUT, f"{name} {version} responds in {max(0.1, took_ms):.1f} ms")
    else:
        yield warning(
            ABOUT, "it does not permit INFO: version, memory and persistence are unknown",
            "Permit it: ACL SETUSER NAME +info.",
        )  # fmt: skip
    if took_ms > SLOW_MS:
        slow = f"a round trip takes {took_ms:.0f} ms, and each job needs several"
        yield warning(ABOUT, slow, "Run the programs closer to Redis.")
    yield from _of_info(info, session)
    yield from check_permissions(session)


def _reach(session: Session) -> float:
    """Return the shortest of several round trips, ms. Raises Unreachable."""
    try:
        times = []
        for _ in range(ROUND_TRIPS):
            began = time.monotonic()
            session.call(lambda client: client.ping(), 0)
            times.append((time.monotonic() - began) * 1000)
        return min(times)
    except QueueUnavailable as exc:
        what, remedy = f"it is unreachable ({_text(exc.reason or exc)})", "Start it, or correct REDIS_URL."
    except redis.AuthenticationError as exc:
        what, remedy = f"it rejects the credentials ({_text(exc)})", "Correct the user and the password in REDIS_URL."
    except NoPermissionError as exc:
        what, remedy = f"it refuses PING ({_text(exc)})", "ACL SETUSER NAME +@all"
    except RedisError as exc:
        what, remedy = f"it refuses the connection ({_text(exc)})", "Correct REDIS_URL."
    raise Unreachable(error(ABOUT, what, remedy))


def _text(exc: object) -> str:
    return str(exc).rstrip(".")


def _info(session: Session) -> dict[str, Any]:
    try:
        found = session.call(lambda client: client.info(), 0)
        if isinstance(found, dict) and all(isinstance(each, dict) for each in found.values()):
            found = next(iter(found.values()), {})  # of one node of a Cluster
        return dict(found)
    except (KueError, RedisError):
        return {}


def _of_info(info: dict[str, Any], session: Session) -> Iterator[Finding]:
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < VERSION_MIN:
        yield error(ABOUT, f"version {version} is too old", "Use Redis 6.2 or newer, or any Valkey.")
    if info.get("role") in ("slave", "replica"):
        yield error(ABOUT, "it is a replica, which refuses writes", "Set REDIS_URL to the primary, or to Sentinel.")
    if info.get("cluster_enabled") == 1 and not session.connector.is_cluster:
        yield error(
            ABOUT, "it is part of a Cluster, but REDIS_URL names a single server",
            "Write redis+cluster://host:port,host:port.",
        )  # fmt: skip
    yield from _memory(info)
    yield from _persistence(info)


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    policy, limit, used = info.get("maxmemory_policy"), info.get("maxmemory") or 0, info.get("used_memory") or 0
    if policy not in (None, "noeviction"):
        what = f"maxmemory-policy is {policy}: it may evict jobs when its memory is full"
        remedy = "Run CONFIG SET maxmemory-policy noeviction, and set it in its configuration file."
        yield error(ABOUT, what, remedy) if limit else warning(ABOUT, what, remedy)
    if limit and (used > MEMORY_FULL * limit or limit - used < MEMORY_FREE_MIN):
        yield warning(
            ABOUT, f"it uses {size_text(used)} of {size_text(limit)} memory; new jobs will be rejected when it is full",
            "Raise maxmemory, or keep fewer finished jobs (KUE_KEEP_COMPLETE).",
        )  # fmt: skip


def _persistence(info: dict[str, Any]) -> Iterator[Finding]:
    if "aof_enabled" not in info:
        return
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield error(ABOUT, "its last snapshot failed", "Check its log and its disk.")
    if not info["aof_enabled"]:
        yield warning(
            ABOUT, "appendonly is off: a crash loses all jobs since the last snapshot",
            "Run CONFIG SET appendonly yes, and set it in its configuration file.",
        )  # fmt: skip
