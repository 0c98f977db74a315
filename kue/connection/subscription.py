"""One subscription to one channel, kept up through every loss of the connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from ..concurrency import green
from ..concurrency.essential import run_essential
from .connector import Connector
from .failures import is_transient, unavailable
from .liveness import ConnectionForgotten

log = logging.getLogger("kue.pubsub")

#: Seconds that one poll for a message takes at most, so that a stop is seen in time.
POLL_S = 1.0
#: Polls without a message after which the connection is asked whether it lives, and counts as dead after as many more.
SILENT_POLLS = 5
#: Seconds between tries to reconnect: first, and at most.
RECONNECT_S, RECONNECT_MAX_S = 0.1, 2.0
#: A read of the socket costs as much as many messages, so on a busy channel the next one waits till more have gathered:
#: from BUSY messages in one read on, so long for each of them, and at most, seconds.
BUSY, PAUSE_EACH_S, PAUSE_MAX_S = 16, 0.0001, 0.02
#: Seconds that ``start`` waits for Redis to confirm; and if the subscription may begin later.
SUBSCRIBE_S, UNREQUIRED_S = 10.0, 1.0


class Subscription:
    """Calls ``on_messages(texts)`` as they come in, and ``on_resync()`` after a lost connection, from its thread."""

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
        #: Whether messages may have passed since the last ones that were received.
        self._missed = False
        self.stopping = False
        self._ready = threading.Event()

    def start(self, wait_s: float = SUBSCRIBE_S, *, required: bool = True) -> None:
        """Subscribe, if that is not done yet, and wait so many seconds for Redis to confirm.

        If it does not: raise QueueUnavailable, or without ``required`` go on; a resync follows when it does.
        """
        with self._lock:
            if not self._started and not self.stopping:
                self._started = True
                green.spawn(run_essential, f"subscription to {self._channel}", self._run)
        if self._ready.wait(wait_s):
            return
        if required:
            raise unavailable(TimeoutError("no answer to SUBSCRIBE"))
        with self._lock:
            self._missed = self._missed or not self._ready.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until Redis has confirmed it for the first time; return whether it has."""
        return self._ready.wait(timeout_s)

    def stop(self) -> None:
        """End the subscription; its thread sees it within POLL_S and closes the connection itself."""
        self.stopping = True

    def _run(self) -> None:
        pause, refusal, outage = RECONNECT_S, "", self._connector.outage
        while not self.stopping:
            client = pubsub = None
            opened_at = time.monotonic()
            try:
                client = self._connector.dedicated(POLL_S * SILENT_POLLS)
                client.ping()  # one that loads its data takes subscribers, but no other question
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
                if not is_transient(exc) and str(exc) != refusal:  # Redis is there, so nobody else need pause
                    refusal = str(exc)
                    log.error("Cannot subscribe to channel %s: %s; retrying", self._channel, exc)
                if not is_transient(exc) or outage.failed(exc, opened_at):
                    green.sleep(pause)
                    pause = min(pause * 2, RECONNECT_MAX_S)
            except Exception:  # a message that nobody could foresee: it must not make us deaf for good
                log.exception("Unparseable message on channel %s; resubscribing", self._channel)
                self._missed = True
                green.sleep(pause)
            finally:
                for each in (pubsub, client):
                    self._close(each)

    def _messages(self, pubsub: Any) -> Iterator[dict[str, Any]]:
        """Yield messages until the stop; raise if the connection is lost, or silent beyond doubt."""
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
                raise ConnectionForgotten("no answer to PING on the subscription")

    @staticmethod
    def _close(connection: Any) -> None:
        try:
            if connection is not None:
                connection.close()
        except (RedisError, OSError):
            pass


def received(connection: Any) -> list[str]:
    """Return the messages that came in with the last one: on a busy channel many fit into one read of the socket.

    They are in the reader of redis-py's parser. Where that has another form they come one by one, which is slower.
    """
    reader: Any = getattr(getattr(connection, "_parser", None), "_reader", None)
    texts: list[str] = []
    if hasattr(reader, "gets"):
        while isinstance(reply := reader.gets(), list):
            if reply[0] == "message":
                texts.append(reply[2])
    return texts
