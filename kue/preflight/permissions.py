"""Checks what Redis's ACL permits, by trying each command on separate keys and a channel of the queue."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from redis.exceptions import NoPermissionError, RedisClusterException, RedisError, ResponseError

from ..errors import KueError
from ..storage.session import Session
from .finding import Finding, error, ok

ABOUT = "redis"
#: Prefixes of errors that refuse writes for another reason.
_NO_WRITES = ("READONLY", "OOM", "MISCONF", "NOREPLICAS")
#: The commands that the programs and scripts use, with their arguments after the key.
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("SET", "x", "EX", "10", "NX"), ("GET",), ("INCRBY", "1"), ("EXISTS",), ("DEL",), ("TYPE",),
    ("HSET", "a", "1"), ("HSETNX", "b", "1"), ("HGET", "a"), ("HMGET", "a", "b"), ("HGETALL",), ("HKEYS",), ("HLEN",),
    ("HEXISTS", "a"), ("HINCRBY", "a", "1"), ("HSCAN", "0"), ("HDEL", "a", "b"),
    ("ZADD", "1", "a"), ("ZSCORE", "a"), ("ZCARD",), ("ZCOUNT", "-inf", "+inf"), ("ZRANGE", "0", "-1"), ("ZRANK", "a"),
    ("ZRANGEBYSCORE", "-inf", "+inf"), ("ZREVRANGE", "0", "-1"), ("ZREVRANGEBYSCORE", "+inf", "-inf"),
    ("ZRANGEBYLEX", "-", "+"), ("ZREM", "a"), ("ZREMRANGEBYSCORE", "-inf", "+inf"), ("ZPOPMIN",),
    ("RPUSH", "a"), ("LPUSH", "a"), ("LLEN",), ("LINDEX", "0"), ("LRANGE", "0", "-1"), ("LTRIM", "0", "1"),
    ("EXPIRE", "10"), ("BLPOP", "0.01"), ("DEL",),
    ("SADD", "a"), ("SCARD",), ("SISMEMBER", "a"), ("SMEMBERS",), ("SREM", "a"), ("DEL",),
)  # fmt: skip


def check(session: Session) -> Iterator[Finding]:
    """Yield one finding: everything that is denied, or that nothing is."""
    key = f"{session.keys.prefix}:check:{secrets.token_hex(8)}"
    calls: list[tuple[str, ...]] = [(command, key, *rest) for command, *rest in _COMMANDS]
    calls += [
        ("EVAL", "return redis.call('TIME')", "1", key), ("EVALSHA", "0" * 40, "1", key), ("TIME",),
        ("PUBLISH", key, ""), ("EXISTS", "promotion:lock"), ("MEMORY", "USAGE", key), ("CLIENT", "INFO"),
        ("CLIENT", "KILL", "ID", "0"),
    ]  # fmt: skip

    def call(client: Any) -> dict[str, None]:
        denied: dict[str, None] = {}
        for command in calls:
            try:
                client.execute_command(*command)
            except NoPermissionError as exc:
                denied[_denied(command, str(exc))] = None
            except ResponseError as exc:
                if "permission" in str(exc).lower() or "NOPERM" in str(exc):
                    denied[_denied(command, str(exc))] = None
                elif any(word in str(exc) for word in _NO_WRITES):
                    denied[f"!{exc}"] = None
            except RedisClusterException:
                pass  # a command without a key, which a Cluster client cannot route
        subscription = client.pubsub(ignore_subscribe_messages=True) if hasattr(client, "pubsub") else None
        if subscription is not None:
            try:
                subscription.subscribe(session.keys.events)
                subscription.get_message(timeout=1)
            except NoPermissionError as exc:
                denied[_denied(("SUBSCRIBE", session.keys.events), str(exc))] = None
            finally:
                subscription.close()
        return denied

    try:
        found = session.call(call, 0)
    except (KueError, RedisError) as exc:
        yield error(ABOUT, f"it does not respond to all commands ({exc})", "Check its log.")
        return
    for text in [text for text in found if text.startswith("!")][:1]:
        yield error(ABOUT, f"it refuses writes ({text[1:]})", "Fix the cause: Redis's log has the details.")
    missing = [text for text in found if not text.startswith("!")]
    if missing:
        yield error(
            ABOUT, f"its ACL denies {', '.join(missing)}",
            f"ACL SETUSER NAME ~{session.keys.prefix}:* ~promotion:lock &{session.keys.prefix}:* +@all",
        )  # fmt: skip
    elif not found:
        yield ok(ABOUT, f"permits everything needed on the keys {session.keys.prefix}:*")


def _denied(command: tuple[str, ...], answer: str) -> str:
    words = answer.lower()
    name = " ".join(command[:2]) if command[0] in ("CLIENT", "MEMORY") else command[0]
    if "channel" in words:
        return f"{name} on the queue's channels"
    if "key" in words:
        return "the key promotion:lock" if "promotion:lock" in command else f"{name} on the queue's keys"
    return name
