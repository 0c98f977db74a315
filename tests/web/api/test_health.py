"""`/healthz` is correct, also while Redis replies but rejects all writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.servers.faulty_server import FaultyServer


def full(client: redis.Redis, folder: Path) -> None:
    client.config_set("maxmemory", "1")


def replica(client: redis.Redis, folder: Path) -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")


def unwritable(client: redis.Redis, folder: Path) -> None:
    """As with a full disk: a snapshot fails, and Redis takes no more writes."""
    client.config_set("save", "1 1")
    client.config_set("stop-writes-on-bgsave-error", "yes")
    (folder / "dump.rdb").mkdir(exist_ok=True)
    (folder / "dump.rdb" / "x").write_text("in the way")
    client.set("x", "y")
    client.bgsave()


def forbidden(client: redis.Redis, folder: Path) -> None:
    client.execute_command("ACL SETUSER", "default", "-set")


@pytest.mark.parametrize(
    ("refuse", "why"),
    [(full, "maxmemory"), (replica, "read only replica"), (unwritable, "MISCONF"), (forbidden, "no permissions")],
)
def test_a_redis_that_refuses_writes_is_not_well(
    refuse: Callable[[redis.Redis, Path], None], why: str, tmp_path: Path
) -> None:
    import kue
    from kue import web
    from kue.settings import Settings
    from tests.support import wait_until

    server = FaultyServer(tmp_path)
    server.start()
    client = server.client()
    client.config_set("appendonly", "no")
    queue = kue.create_queue(server.url)
    app, _ = web.create_app(Settings.load({}), queue, async_mode="threading")
    http = app.test_client()

    def health() -> Any:
        return http.get("/healthz", base_url="http://localhost")

    try:
        assert health().status_code == 200 and health().json["status"] == "ok"
        refuse(client, tmp_path)
        wait_until(lambda: health().status_code == 503, 10)
        assert health().json["status"] == "error" and why in health().json["error"]
    finally:
        web.close(app)
        queue.close()
        server.kill()
