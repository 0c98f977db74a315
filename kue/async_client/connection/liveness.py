"""redis.asyncio connections that detect silent connection loss: see connection/liveness.py.

The asyncio version of the same checks: while a reply is late, a task probes the server on a second connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from ...connection.liveness import GRACE_S, IDLE_S, LATE_S, PING_S, ConnectionForgotten, unsent_bytes


class LiveConnection:
    """Mixed into a connection class of redis.asyncio by ``live``."""

    #: Seconds after which a reply counts as late; None: never.
    late_s: float | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._made_with = {name: value for name, value in options.items() if not name.startswith("maint_")}
        self._used_at = time.monotonic()
        self._found_dead = False
        super().__init__(*args, **options)

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Write a command. redis-py uses a separate task for this, which can swallow a cancellation on Python 3.11."""
        me = self._me()
        if not me.is_connected:
            await me.connect()
        if check_health:
            await self.check_health()
        parts = [command] if isinstance(command, bytes) else [command.encode()] if isinstance(command, str) else command
        try:
            me._writer.writelines(parts)
            async with asyncio.timeout(me.socket_timeout):
                await me._writer.drain()
        except TimeoutError as exc:
            await me.disconnect(nowait=True)
            raise redis.TimeoutError("Timeout writing to socket") from exc
        except OSError as exc:
            await me.disconnect(nowait=True)
            raise redis.ConnectionError(f"Error while writing to socket. {exc}.") from exc
        except BaseException:  # the command may have been sent in part
            await me.disconnect(nowait=True)
            raise

    async def check_health(self) -> None:
        """Send PING if the connection was idle. Called before each command sent while no reply is pending."""
        now = time.monotonic()
        idle_s, self._used_at = now - self._used_at, now
        if idle_s > IDLE_S and self._me().is_connected and not await self._answers_ping():
            await self._me().disconnect(nowait=True)
            await self._me().connect()
        await super().check_health()  # type: ignore[misc]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        read: Any = super().read_response  # type: ignore[misc]
        try:
            # A subscription waits for messages, not for a reply.
            if self.late_s is None or options.get("timeout") is not None or options.get("push_request"):
                return await read(*args, **options)
            loop = asyncio.get_running_loop()
            watch = _Watch(self)
            timer = loop.call_later(self.late_s, watch.begin)
            try:
                return await read(*args, **options)
            except redis.ConnectionError as exc:
                if self._found_dead:
                    self._found_dead = False
                    raise ConnectionForgotten("no reply on this connection, but on a new one") from exc
                raise
            finally:
                timer.cancel()
                watch.end()
        finally:
            self._used_at = time.monotonic()

    async def _find_dead(self) -> None:
        """While a reply is late, probe the server on a second connection; if it replies there, drop this one."""
        me = self._me()
        while me.is_connected:
            sock = me._writer.get_extra_info("socket")
            unsent = unsent_bytes(sock)
            if await self._server_answers_elsewhere():
                await asyncio.sleep(GRACE_S)
                if me.is_connected and not unsent_bytes(sock) < unsent:  # otherwise a large command is still being sent
                    self._found_dead = True
                    me._writer.transport.abort()
                    return
            await asyncio.sleep(LATE_S)

    async def _server_answers_elsewhere(self) -> bool:
        probe: Any = type(self).__mro__[2](**self._made_with)  # the plain base class
        probe.socket_timeout = probe.socket_connect_timeout = LATE_S
        try:
            if hasattr(probe, "connect_to"):  # no need to ask the sentinels
                await probe.connect_to((self._me().host, self._me().port))
            else:
                await probe.connect()
            for _ in range(2):  # by the second reply, the server has read everything sent before the first
                await probe.send_command("PING", check_health=False)
                with suppress(ResponseError):  # not permitted, but a reply
                    await probe.read_response()
            return True
        except (RedisError, OSError):
            return False
        finally:
            with suppress(RedisError, OSError):
                await probe.disconnect(nowait=True)

    async def _answers_ping(self) -> bool:
        me = self._me()
        try:
            await me.send_command("PING", check_health=False)
            return await me.read_response(timeout=PING_S) in ("PONG", b"PONG")
        except ResponseError:
            return True  # not permitted, but a reply
        except (RedisError, OSError):
            return False

    def _me(self) -> Any:
        return self


class _Watch:
    """The task that investigates a late reply."""

    def __init__(self, connection: LiveConnection) -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._connection._find_dead())

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()


@cache
def live(connection_class: Any, late_s: float | None) -> Any:
    """Return a redis.asyncio connection class with LiveConnection mixed in."""
    if issubclass(connection_class, LiveConnection):
        return connection_class
    return type(connection_class.__name__, (LiveConnection, connection_class), {"late_s": late_s})


def make_live(pool: Any, late_s: float | None) -> None:
    """Make a new connection pool use such connections."""
    pool.connection_class = live(pool.connection_class, late_s)
