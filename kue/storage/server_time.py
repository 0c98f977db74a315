"""The time of the Redis server: what all times in Redis are by."""

from __future__ import annotations

from typing import Any


def server_ms(client: Any) -> int:
    """Return the server's time, epoch ms."""
    seconds, micros = client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000
