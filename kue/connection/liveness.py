"""Connections that detect silent connection loss.

A NAT or load balancer drops a long-idle connection without telling either side: data sent on it is lost, and no reply
ever arrives. A new connection works immediately. Three measures, for every kind of connection:

- TCP keepalive, so that the operating system detects a dead connection within a minute, and idle ones stay alive.
- An idle connection is checked by PING, with a short timeout, before a command is sent on it.
- While a reply is late, a second connection probes the server. If the server replies there but not here, this
  connection is dead. A server that is slow or unreachable still gets the connection's full timeout.
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

#: Seconds of idling after which a connection is checked before the next command.
IDLE_S = 5.0
#: Timeout of that check, seconds.
PING_S = 0.5
#: Seconds after which a reply counts as late; also the second connection's timeout.
LATE_S = 1.0
#: Seconds that the first connection has to reply after the second one has received two replies.
GRACE_S = 0.1

#: Keepalive: seconds until the first probe and between probes, and the number of unanswered probes allowed.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 15, 5, 3
#: Seconds that sent data may stay unacknowledged.
UNACKNOWLEDGED_S = 30

#: Whether redis-py's ``read_response`` takes a timeout, as it does from version 8 on.
_TAKES_TIMEOUT = "timeout" in inspect.signature(redis.Connection.read_response).parameters


class ConnectionForgotten(redis.ConnectionError):
    """The server is reachable, but not on this connection: something in between has dropped it."""


def keepalive_options() -> dict[int, int]:
    """Return a connection's TCP keepalive options, as far as this system supports them."""
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

    #: Seconds after which a reply counts as late; None: never.
    late_s: float | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._made_with = {name: value for name, value in options.items() if not name.startswith("maint_")}
        self._used_at = time.monotonic()
        super().__init__(*args, **options)

    def is_forgotten(self) -> bool:
        """Return whether it was idle and no longer replies. Call it only while no reply is pending."""
        now = time.monotonic()
        idle_s, self._used_at = now - self._used_at, now
        return idle_s > IDLE_S and self._me()._sock is not None and not self._answers_ping()

    def check_health(self) -> None:
        """Called by redis-py before each command sent while no reply is pending."""
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
        """Read a reply that has already arrived, without watching for a late one."""
        try:
            return super().read_response()  # type: ignore[misc]
        finally:
            self._used_at = time.monotonic()

    def _read_watched(self, *args: Any, **options: Any) -> Any:
        read: Any = super().read_response  # type: ignore[misc]
        if self.late_s is None or options.get("push_request"):  # a subscription waits for messages, not for a reply
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
        """Wait for a late reply until it arrives, the timeout expires, or the connection is found dead."""
        me = self._me()
        give_up = time.monotonic() + (me.socket_timeout or float("inf")) - waited_s
        try:
            while True:
                unsent = unsent_bytes(me._sock)
                if self._server_answers_elsewhere():
                    if me.can_read(GRACE_S):
                        return
                    if not unsent_bytes(me._sock) < unsent:  # otherwise a large command is still being sent
                        raise ConnectionForgotten("no reply on this connection, but on a new one")
                left = give_up - time.monotonic()
                if left <= 0:
                    raise redis.TimeoutError("Timeout reading from socket")
                if me.can_read(min(LATE_S, left)):
                    return
        except BaseException:
            me.disconnect()
            raise

    def _server_answers_elsewhere(self) -> bool:
        probe: Any = type(self).__mro__[2](**self._made_with)  # the plain base class
        probe.socket_timeout = probe.socket_connect_timeout = LATE_S
        try:
            if hasattr(probe, "connect_to"):  # no need to ask the sentinels
                probe.connect_to((self._me().host, self._me().port))
            else:
                probe.connect()
            for _ in range(2):  # by the second reply, the server has read everything sent before the first
                probe.send_command("PING", check_health=False)
                try:
                    probe.read_response()
                except ResponseError:
                    pass  # not permitted, but a reply
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
            return True  # not permitted, but a reply
        except (RedisError, OSError):
            return False

    def _me(self) -> Any:
        return self


@cache
def live(connection_class: Any, late_s: float | None) -> Any:
    """Return a redis-py connection class with LiveConnection mixed in."""
    return type(connection_class.__name__, (LiveConnection, connection_class), {"late_s": late_s})


def make_live(pool: Any, late_s: float | None) -> None:
    """Make a connection pool use such connections from now on."""
    if not issubclass(pool.connection_class, LiveConnection):
        pool.connection_class = live(pool.connection_class, late_s)
        pool.disconnect()
        pool.reset()  # or it would keep handing out its existing connections


def unsent_bytes(sock: Any) -> int:
    """Return the number of bytes not yet acknowledged by the other side; 0 if unknown."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return 0
