"""Times in epoch ms: the Redis server's, on which all times in Redis are based, and this machine's."""

from __future__ import annotations

import time
from typing import Any


def server_ms(client: Any) -> int:
    """Return the server's time, epoch ms."""
    seconds, micros = client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def now_ms() -> int:
    """Return this machine's time, epoch ms. The scripts use the server's."""
    return int(time.time() * 1000)
