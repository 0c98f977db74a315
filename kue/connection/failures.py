"""Classify failures of Redis calls, retry transient ones, and build the error that callers see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)

from ..concurrency import bridge
from ..errors import QueueUnavailable
from .liveness import ConnectionForgotten

#: Pause before a retry, seconds: first and longest.
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0

T = TypeVar("T")

#: Errors that pass once Redis is reachable (or writable) again. A script with an unknown outcome is safe to repeat.
TRANSIENT = (
    redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, ClusterDownError,
    TryAgainError, OSError,
)  # fmt: skip

_TRANSIENT_WORDS = (
    "LOADING", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "UNBLOCKED",
)  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Return whether a failed call may succeed later, unchanged."""
    if isinstance(error, (*TRANSIENT, RedisClusterException)):
        return not isinstance(error, redis.AuthenticationError)
    # An error inside a script is a plain ResponseError that contains the original error's name somewhere.
    return isinstance(error, ResponseError) and any(word in str(error) for word in _TRANSIENT_WORDS)


#: What callers learn about a call with an unknown outcome.
CALL_IN_DOUBT = "The call may or may not have taken effect; try again later."
CREATE_IN_DOUBT = "The job may or may not have been created; saving the same object again is safe."


def unavailable(error: BaseException, in_doubt: str = CALL_IN_DOUBT) -> QueueUnavailable:
    """Return the error that a user's call raises when Redis could not be reached."""
    fault = "refused the command" if isinstance(error, ResponseError) else "is unreachable"
    return QueueUnavailable(f"Redis {fault} ({str(error).rstrip('.')}). {in_doubt}", error)


def with_retries(
    call: Callable[[], T],
    patience_s: float,
    after_failure: Callable[[], object] = lambda: None,
    in_doubt: str = CALL_IN_DOUBT,
) -> T:
    """Return ``call()``, retried for up to ``patience_s`` on transient errors; then raise QueueUnavailable.

    ``in_doubt`` is the error's last sentence, about the call's possible effect.
    """
    give_up, pause, renewed = time.monotonic() + patience_s, RETRY_FIRST_S, False
    while True:
        try:
            return call()
        except Exception as exc:
            after_failure()
            if isinstance(exc, ConnectionForgotten) and not renewed:
                renewed = True
                continue  # however late it was detected: a new connection works
            if not is_transient(exc):
                raise
            if time.monotonic() + pause > give_up:
                raise unavailable(exc, in_doubt) from None
        bridge.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)
