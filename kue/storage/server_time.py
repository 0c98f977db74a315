"""The time of the Redis server, on which all times in Redis are based."""

from __future__ import annotations

from typing import Any


def server_ms(client: Any) -> int:
    """Return the server's time, epoch ms."""
    seconds, micros = client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000
