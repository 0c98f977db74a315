"""One subscription to one channel on an event loop, kept up through every loss of the connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from ..concurrency.bridge import wait
from ..connection.failures import is_transient, unavailable
from ..connection.liveness import ConnectionForgotten
from ..connection.subscription import (
    BUSY,
    PAUSE_EACH_S,
    PAUSE_MAX_S,
    POLL_S,
    RECONNECT_MAX_S,
    RECONNECT_S,
    SILENT_POLLS,
    SUBSCRIBE_S,
    received,
)
from .clients import OneConnection
from .connector import AsyncConnector

log = logging.getLogger("kue.pubsub")


class AsyncSubscription:
    """Calls ``on_messages(texts)`` as they come in, and ``on_resync()`` after a lost connection, on the loop."""

    def __init__(
        self,
        connector: AsyncConnector,
        channel: str,
        on_messages: Callable[[list[str]], object],
        on_resync: Callable[[], object],
    ) -> None:
        self._connector, self._channel = connector, channel
        self._on_messages, self._on_resync = on_messages, on_resync
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        #: Whether messages may have passed since the last ones that were received.
        self._missed = False
        self.stopping = False

    def start(self, wait_s: float = SUBSCRIBE_S, *, required: bool = True) -> None:
        """Subscribe, if that is not done yet, and wait so many seconds for Redis to confirm; below ``bridge.run``.

        If it does not: raise QueueUnavailable, or without ``required`` go on; a resync follows when it does.
        """
        if self._task is None and not self.stopping:
            self._task = asyncio.get_running_loop().create_task(self._run())
        if self._ready.is_set() or wait(self._is_ready(wait_s)):
            return
        if required:
            raise unavailable(TimeoutError("no answer to SUBSCRIBE"))
        self._missed = True

    def stop(self) -> None:
        """End the subscription and close its connection; below ``bridge.run``."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()
            wait(asyncio.wait([self._task]))

    async def _is_ready(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                return await self._ready.wait()
        except TimeoutError:
            return False

    async def _run(self) -> None:
        pause, refusal, outage = RECONNECT_S, "", self._connector.outage
        while True:
            client: OneConnection | None = None
            opened_at = time.monotonic()
            try:
                client = await self._connector.connection(POLL_S * SILENT_POLLS)
                connection = await client.connection()
                for command in (("PING",), ("SUBSCRIBE", self._channel)):
                    # One that loads its data takes subscribers, but no other question.
                    await connection.send_command(*command)
                    await connection.read_response()
                pause, refusal = RECONNECT_S, ""
                outage.succeeded(opened_at, writes=False)
                missed, self._missed = self._missed, False
                self._ready.set()
                if missed:
                    self._on_resync()
                while True:
                    texts = await self._next_messages(connection)
                    self._on_messages(texts)
                    if len(texts) >= BUSY:
                        await asyncio.sleep(min(PAUSE_MAX_S, len(texts) * PAUSE_EACH_S))
            except (RedisError, OSError) as exc:
                self._missed = True
                if not is_transient(exc) and str(exc) != refusal:  # Redis is there, so nobody else need pause
                    refusal = str(exc)
                    log.error("cannot subscribe to %s: %s; trying again until it is allowed", self._channel, exc)
                if not is_transient(exc) or outage.failed(exc, opened_at):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MAX_S)
            except Exception:  # a message that nobody could foresee: it must not make us deaf for good
                log.exception("a message of %s was not understood; subscribing again", self._channel)
                self._missed = True
                await asyncio.sleep(pause)
            finally:
                if client is not None:
                    await client.aclose()

    async def _next_messages(self, connection: Any) -> list[str]:
        """Return the next messages, those that came in together at once; raise if the connection is lost, or silent."""
        silent = 0
        while True:
            reply = await connection.read_response(timeout=POLL_S)
            if reply is not None:
                silent = 0
                if isinstance(reply, list) and reply[0] == "message":
                    return [reply[2], *received(connection)]
                continue
            silent += 1
            if silent == SILENT_POLLS:
                await connection.send_command("PING", check_health=False)
            elif silent > 2 * SILENT_POLLS:
                raise ConnectionForgotten("no answer to PING on the subscription")
