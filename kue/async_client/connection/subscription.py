"""A subscription to one channel on an event loop that survives connection losses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from ...concurrency.bridge import wait
from ...connection.failures import is_transient, unavailable
from ...connection.liveness import ConnectionForgotten
from ...connection.subscription import (
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
    """Calls ``on_messages(texts)`` as messages arrive and ``on_resync()`` after a reconnect, on the loop."""

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
        #: Whether messages may have been missed since the last one received.
        self._missed = False
        self.stopping = False

    def start(self, wait_s: float = SUBSCRIBE_S, *, required: bool = True) -> None:
        """Subscribe if needed and wait up to ``wait_s`` seconds for confirmation. Call it under ``bridge.run``.

        Without confirmation, raise QueueUnavailable; unless ``required``, return, and call ``on_resync`` once
        subscribed.
        """
        if self._task is None and not self.stopping:
            self._task = asyncio.get_running_loop().create_task(self._run())
        if self._ready.is_set() or wait(self._is_ready(wait_s)):
            return
        if required:
            raise unavailable(TimeoutError("no reply to SUBSCRIBE"))
        self._missed = True

    def stop(self) -> None:
        """End the subscription and close its connection. Call it under ``bridge.run``."""
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
                    # A server that is loading its data accepts SUBSCRIBE, but not PING.
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
                if not is_transient(exc) and str(exc) != refusal:  # Redis is reachable, so the others need not pause
                    refusal = str(exc)
                    log.error("Cannot subscribe to channel %s: %s; retrying", self._channel, exc)
                if not is_transient(exc) or outage.failed(exc, opened_at):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MAX_S)
            except Exception:  # an unforeseen message must not stop the subscription for good
                log.exception("Unparseable message on channel %s; resubscribing", self._channel)
                self._missed = True
                await asyncio.sleep(pause)
            finally:
                if client is not None:
                    await client.aclose()

    async def _next_messages(self, connection: Any) -> list[str]:
        """Return the next messages, all that arrived together. Raises if the connection is lost or silent."""
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
                raise ConnectionForgotten("no reply to PING on the subscription")
