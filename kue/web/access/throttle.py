"""Growing delays after failed logins, counted for each client (address or known browser) and user name."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Failed logins before delays begin: people mistype.
FREE_TRIES = 5
#: The longest delay, seconds; each is twice as long as the previous one.
DELAY_MAX_S = 60.0
#: Seconds without a failed login after which earlier ones are forgotten.
FORGET_S = 900.0
#: Number of groups in which an address's user names are counted, so that one client cannot fill the memory. Delays must
#: not reveal which names exist, so all names are treated alike.
GROUPS = 256
#: Maximum number of counters; the oldest are dropped. Reaching it takes many addresses.
COUNTERS_MAX = 50_000


class LoginDelayed(Exception):
    """Too many failed logins: another attempt is possible after ``wait_s`` seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(f"too many failed logins; try again in {self.wait_s} s")


class Throttle:
    """Failed logins of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Number of failures, time of the last one, and time of the next possible attempt.
        self._failures: OrderedDict[tuple[str, int], tuple[int, float, float]] = OrderedDict()
        self._lock = threading.Lock()
        #: For each client and user with attempts in progress: a lock, and their number.
        self._turns: dict[tuple[str, int], tuple[threading.Lock, int]] = {}

    def attempt(self, client: str | None, user: object, is_right: Callable[[], bool]) -> bool:
        """Return the result of ``is_right``, and count it. Raises LoginDelayed, without calling it, if too early."""
        key = _network(client), _group(user)
        with self._turn(key):  # so that concurrent attempts are counted one after another
            with self._lock:
                now = self._clock()
                count, last, free_at = self._failures.get(key, (0, now, now))
            if now < free_at:
                raise LoginDelayed(free_at - now)
            right = is_right()  # may take a while; others are not blocked meanwhile
            with self._lock:
                self._failures.pop(key, None)
                if right:
                    return True
                count = 1 if now - last > FORGET_S else count + 1
                delay_s = min(DELAY_MAX_S, 2.0 ** (count - FREE_TRIES)) if count >= FREE_TRIES else 0.0
                self._failures[key] = count, now, now + delay_s
                while len(self._failures) > COUNTERS_MAX:
                    self._failures.popitem(last=False)
                return False

    @contextmanager
    def _turn(self, key: tuple[str, int]) -> Iterator[None]:
        with self._lock:
            turn, waiting = self._turns.get(key) or (threading.Lock(), 0)
            self._turns[key] = turn, waiting + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, waiting = self._turns.pop(key)
                if waiting > 1:
                    self._turns[key] = turn, waiting - 1


def _network(client: str | None) -> str:
    """Return an IPv6 client's own network (its /64); any other client unchanged."""
    try:
        found = ipaddress.ip_address(client or "")
    except ValueError:
        return client or "?"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _group(user: object) -> int:
    text = user if isinstance(user, str) else ""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % GROUPS
