"""A subscription to one channel that survives connection losses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from ..concurrency import green
from ..concurrency.essential import run_essential
from ..errors import KueError
from .connector import Connector
from .failures import is_transient, unavailable
from .liveness import ConnectionForgotten

log = logging.getLogger("kue.pubsub")

#: Longest poll for a message, seconds, so that a stop is noticed in time.
POLL_S = 1.0
#: Polls without a message after which a PING is sent; after as many more, the connection counts as dead.
SILENT_POLLS = 5
#: Pause before a reconnect, seconds: first and longest.
RECONNECT_S, RECONNECT_MAX_S = 0.1, 2.0
#: A socket read costs as much as many messages, so on a busy channel the next read waits for more to arrive: after at
#: least BUSY messages in one read, this long for each of them, and at most this long, seconds.
BUSY, PAUSE_EACH_S, PAUSE_MAX_S = 16, 0.0001, 0.02
#: Seconds that ``start`` waits for confirmation: if the subscription is required, and if not.
SUBSCRIBE_S, UNREQUIRED_S = 10.0, 1.0


class Subscription:
    """Calls ``on_messages(texts)`` as messages arrive and ``on_resync()`` after a reconnect, in its thread."""

    def __init__(
        self,
        connector: Connector,
        channel: str,
        on_messages: Callable[[list[str]], object],
        on_resync: Callable[[], object],
    ) -> None:
        self._connector, self._channel = connector, channel
        self._on_messages, self._on_resync = on_messages, on_resync
        self._lock = threading.Lock()
        self._started = False
        #: Whether messages may have been missed since the last one received.
        self._missed = False
        self.stopping = False
        self._ready = threading.Event()

    def start(self, wait_s: float = SUBSCRIBE_S, *, required: bool = True) -> None:
        """Subscribe if needed and wait up to ``wait_s`` seconds for confirmation.

        Without confirmation, raise QueueUnavailable; unless ``required``, return, and call ``on_resync`` once
        subscribed.
        """
        if self.stopping and required:
            raise KueError("this queue was shut down; create another one to receive events")
        with self._lock:
            if not self._started and not self.stopping:
                self._started = True
                green.spawn(run_essential, f"subscription to {self._channel}", self._run)
        if self._ready.wait(wait_s):
            return
        if required:
            raise unavailable(TimeoutError("no reply to SUBSCRIBE"))
        with self._lock:
            self._missed = self._missed or not self._ready.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first confirmation; return whether it has arrived."""
        return self._ready.wait(timeout_s)

    def stop(self) -> None:
        """End the subscription. Its thread closes the connection within POLL_S."""
        self.stopping = True

    def _run(self) -> None:
        pause, refusal, outage = RECONNECT_S, "", self._connector.outage
        while not self.stopping:
            client = pubsub = None
            opened_at = time.monotonic()
            try:
                client = self._connector.dedicated(POLL_S * SILENT_POLLS)
                client.ping()  # a server that is loading its data accepts SUBSCRIBE, but not PING
                pubsub = client.pubsub()
                pubsub.subscribe(self._channel)
                for message in self._messages(pubsub):
                    if message["type"] == "message":
                        texts = [message["data"], *received(pubsub.connection)]
                        self._on_messages(texts)
                        if len(texts) >= BUSY:
                            green.sleep(min(PAUSE_MAX_S, len(texts) * PAUSE_EACH_S))
                    elif message["type"] == "subscribe":
                        pause, refusal = RECONNECT_S, ""
                        outage.succeeded(opened_at, writes=False)
                        with self._lock:
                            missed, self._missed = self._missed, False
                            self._ready.set()
                        if missed:
                            self._on_resync()
            except (RedisError, OSError) as exc:
                if self.stopping:
                    break
                self._missed = True
                if not is_transient(exc) and str(exc) != refusal:  # Redis is reachable, so the others need not pause
                    refusal = str(exc)
                    log.error("Cannot subscribe to channel %s: %s; retrying", self._channel, exc)
                if not is_transient(exc) or outage.failed(exc, opened_at):
                    green.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MAX_S)
            except Exception:  # an unforeseen message must not stop the subscription for good
                log.exception("Unparseable message on channel %s; resubscribing", self._channel)
                self._missed = True
                green.sleep(pause)
            finally:
                for each in (pubsub, client):
                    self._close(each)

    def _messages(self, pubsub: Any) -> Iterator[dict[str, Any]]:
        """Yield messages until the stop. Raises if the connection is lost or silent."""
        silent = 0
        while not self.stopping:
            message = pubsub.get_message(timeout=POLL_S)
            if message is not None:
                silent = 0
                yield message
                continue
            silent += 1
            if silent == SILENT_POLLS:
                pubsub.ping()
            elif silent > 2 * SILENT_POLLS:
                raise ConnectionForgotten("no reply to PING on the subscription")

    @staticmethod
    def _close(connection: Any) -> None:
        try:
            if connection is not None:
                connection.close()
        except (RedisError, OSError):
            pass


def received(connection: Any) -> list[str]:
    """Return the messages that arrived with the last one: on a busy channel, one socket read returns many.

    They are in the reader of redis-py's parser. If its internals change, messages arrive one by one, which is slower.
    """
    reader: Any = getattr(getattr(connection, "_parser", None), "_reader", None)
    texts: list[str] = []
    if hasattr(reader, "gets"):
        while isinstance(reply := reader.gets(), list):
            if reply[0] == "message":
                texts.append(reply[2])
    return texts
