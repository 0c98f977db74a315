"""Connections that notice when they are dead although nobody closed them.

A NAT or a load balancer forgets a connection that was idle for long, and says so to neither side: what is sent on it is
lost, and no answer ever comes. A new connection works at once. Three measures, for every kind of connection:

- TCP keepalive, so that the operating system finds a dead connection within a minute, and idle ones are kept known.
- A connection that was idle is asked by PING, with a short timeout, before a command is sent on it.
- While an answer is late, a second connection asks the server. If the server answers there but not here, this
  connection is dead. So a server that is slow or unreachable still has all of the connection's timeout.
"""

from __future__ import annotations

import inspect
import socket
import struct
import sys
import time
from functools import cache
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

#: Seconds without use after which a connection is asked before the next command.
IDLE_S = 5.0
#: Seconds that the answer to that may take.
PING_S = 0.5
#: Seconds after which an answer is late, and that the second connection may take.
LATE_S = 1.0
#: Seconds that the first connection has for its answer after the second one had two.
GRACE_S = 0.1

#: Seconds until the first keepalive probe and between two, and the number of unanswered ones that are enough.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 15, 5, 3
#: Seconds that sent data may stay without an acknowledgement.
UNACKNOWLEDGED_S = 30

#: Whether redis-py's ``read_response`` takes a timeout, as it does from version 8 on.
_TAKES_TIMEOUT = "timeout" in inspect.signature(redis.Connection.read_response).parameters


class ConnectionForgotten(redis.ConnectionError):
    """The server is reachable, but not on this connection: something in between has forgotten it."""


def keepalive_options() -> dict[int, int]:
    """Return the TCP options of a connection, as far as this system has them."""
    wanted = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": UNACKNOWLEDGED_S * 1000,
    }
    if not hasattr(socket, "TCP_KEEPIDLE"):
        wanted["TCP_KEEPALIVE"] = KEEPALIVE_IDLE_S  # its name on macOS
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


class LiveConnection:
    """Mixed into a connection class of redis-py by ``live``."""

    #: Seconds after which an answer is late; None: never.
    late_s: float | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._made_with = {name: value for name, value in options.items() if not name.startswith("maint_")}
        self._used_at = time.monotonic()
        super().__init__(*args, **options)

    def is_forgotten(self) -> bool:
        """Return whether it was idle and does not answer any more. No other answer may be on its way."""
        now = time.monotonic()
        idle_s, self._used_at = now - self._used_at, now
        return idle_s > IDLE_S and self._me()._sock is not None and not self._answers_ping()

    def check_health(self) -> None:
        """Called by redis-py before each command that no other answer is awaited before."""
        if self.is_forgotten():
            self._me().disconnect()
            self._me().connect()
        super().check_health()  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return self._read_watched(*args, **options)
        finally:
            self._used_at = time.monotonic()

    def read_arrived(self) -> Any:
        """Read an answer that is there already: nothing has to be watched."""
        try:
            return super().read_response()  # type: ignore[misc]
        finally:
            self._used_at = time.monotonic()

    def _read_watched(self, *args: Any, **options: Any) -> Any:
        read: Any = super().read_response  # type: ignore[misc]
        if self.late_s is None or options.get("push_request"):  # a subscription waits for messages, not for an answer
            return read(*args, **options)
        try:
            if _TAKES_TIMEOUT:
                return read(*args, **{**options, "timeout": self.late_s, "disconnect_on_error": False})
            if self._me().can_read(self.late_s):
                return read(*args, **options)
        except redis.TimeoutError:
            pass
        except ResponseError:
            raise
        except BaseException:
            self._me().disconnect()
            raise
        self._wait_late(self.late_s)
        return read(*args, **options)

    def _wait_late(self, waited_s: float) -> None:
        """Wait for an answer that is late: until it comes, the timeout is over, or the connection is found dead."""
        me = self._me()
        give_up = time.monotonic() + (me.socket_timeout or float("inf")) - waited_s
        try:
            while True:
                unsent = unsent_bytes(me._sock)
                if self._server_answers_elsewhere():
                    if me.can_read(GRACE_S):
                        return
                    if not unsent_bytes(me._sock) < unsent:  # else a long command is still on its way
                        raise ConnectionForgotten("no answer on this connection, but on a new one")
                left = give_up - time.monotonic()
                if left <= 0:
                    raise redis.TimeoutError("Timeout reading from socket")
                if me.can_read(min(LATE_S, left)):
                    return
        except BaseException:
            me.disconnect()
            raise

    def _server_answers_elsewhere(self) -> bool:
        probe: Any = type(self).__mro__[2](**self._made_with)  # the plain class that this one was made of
        probe.socket_timeout = probe.socket_connect_timeout = LATE_S
        try:
            if hasattr(probe, "connect_to"):  # no need to ask the sentinels
                probe.connect_to((self._me().host, self._me().port))
            else:
                probe.connect()
            for _ in range(2):  # by the second one the server has read what came in before the first
                probe.send_command("PING", check_health=False)
                try:
                    probe.read_response()
                except ResponseError:
                    pass  # not allowed, but an answer
            return True
        except (RedisError, OSError):
            return False
        finally:
            probe.disconnect()

    def _answers_ping(self) -> bool:
        me = self._me()
        try:
            me.send_command("PING", check_health=False)
            return me.can_read(PING_S) and me.read_response() in ("PONG", b"PONG")
        except ResponseError:
            return True  # not allowed, but an answer
        except (RedisError, OSError):
            return False

    def _me(self) -> Any:
        return self


@cache
def live(connection_class: Any, late_s: float | None) -> Any:
    """Return a connection class of redis-py with LiveConnection mixed in."""
    return type(connection_class.__name__, (LiveConnection, connection_class), {"late_s": late_s})


def make_live(pool: Any, late_s: float | None) -> None:
    """Let a connection pool make such connections from now on."""
    if not issubclass(pool.connection_class, LiveConnection):
        pool.connection_class = live(pool.connection_class, late_s)
        pool.disconnect()
        pool.reset()  # or it would give out the connections that it has


def unsent_bytes(sock: Any) -> int:
    """Return how many bytes the other side has not acknowledged yet; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return 0
