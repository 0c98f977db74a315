"""A real Sentinel failover: three sentinels, a primary that is killed, and the replica that takes its place."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue.embedded.server import find_binary
from tests.conftest import LAUNCH, start_server, stop_server
from tests.support import free_port, wait_until
from tests.support.job_life import live, produce

#: A primary that is silent for so long is taken for dead.
DOWN_AFTER_MS = 500
#: Generous: a sentinel that gets no processor for two seconds does nothing for half a minute.
FAILOVER_S = 60.0
PASSWORD, SENTINEL_PASSWORD = "geheim/1", "wacht#2"


class Guarded:
    """A primary, its replica and three sentinels, of the embedded Valkey, all with passwords."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sentinels: list[Any] = []
        self.primary: Any = None
        self.replica: Any = None

    def start(self, directory: Path) -> None:
        binary = str(find_binary())
        urls = []
        for name in ("primary", "replica"):
            (directory / name).mkdir()
            auth = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
            process, url = start_server(binary, directory / name, *auth)
            self.processes.append(process)
            urls.append(url.replace("//", f"//:{PASSWORD.replace('/', '%2F')}@"))
        self.primary, self.replica = (redis.Redis.from_url(url, decode_responses=True) for url in urls)
        port = self.primary.connection_pool.connection_kwargs["port"]
        self.replica.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_until(lambda: self.replica.info("replication").get("master_link_status") == "up", 20)
        for number in range(3):
            sentinel_port, folder = free_port(), directory / f"sentinel{number}"
            folder.mkdir()
            config = folder / "sentinel.conf"
            lines = [
                f"port {sentinel_port}", "bind 127.0.0.1", f'dir "{folder}"', f'requirepass "{SENTINEL_PASSWORD}"',
                f"sentinel monitor main 127.0.0.1 {port} 2", f'sentinel auth-pass main "{PASSWORD}"',
                f"sentinel down-after-milliseconds main {DOWN_AFTER_MS}", "sentinel failover-timeout main 5000", "",
            ]  # fmt: skip
            config.write_text("\n".join(lines), encoding="utf-8")
            self.processes.append(
                subprocess.Popen(
                    [*LAUNCH, binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
                )
            )
            client = redis.Redis(port=sentinel_port, password=SENTINEL_PASSWORD, decode_responses=True)
            self.sentinels.append(client)
        wait_until(self._agreed, 30, 0.05, message="the sentinels know each other and the replica")

    @property
    def url(self) -> str:
        """With a sentinel in front that is not there."""
        ports = [free_port(), *(each.connection_pool.connection_kwargs["port"] for each in self.sentinels)]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        passwords = (PASSWORD.replace("/", "%2F"), SENTINEL_PASSWORD.replace("#", "%23"))
        return f"redis+sentinel://:{passwords[0]}@{hosts}/main/2?sentinel_password={passwords[1]}"

    def close(self) -> None:
        for client in (self.primary, self.replica, *self.sentinels):
            if client is not None:
                client.close()
        for process in self.processes:
            stop_server(process)

    def _agreed(self) -> bool:
        try:
            told = [each.execute_command("SENTINEL", "MASTER", "main") for each in self.sentinels]
        except redis.RedisError:
            return False
        facts = [each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True)) for each in told]
        return all(int(each["num-other-sentinels"]) == 2 and int(each["num-slaves"]) == 1 for each in facts)


@pytest.fixture  # one for each test, since one of them kills the primary
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    started = Guarded()
    try:
        started.start(tmp_path_factory.mktemp("sentinel"))
        yield started
    finally:
        started.close()


def test_a_queue_lives_behind_sentinels(guarded: Guarded) -> None:
    queue = kue.create_queue(guarded.url, "life", search=True)
    live(queue)
    queue.shutdown(2)
    with redis.Redis(
        port=guarded.primary.connection_pool.connection_kwargs["port"], password=PASSWORD, db=2
    ) as client:
        assert client.exists("life:ids")


def test_a_service_that_no_sentinel_knows_is_told(guarded: Guarded) -> None:
    queue = kue.create_queue(guarded.url.replace("/main/", "/other/"))
    with pytest.raises(kue.QueueUnavailable, match="other"):
        queue.types()
    queue.close()


def test_after_a_failover_everybody_goes_on_by_himself(guarded: Guarded) -> None:
    # Given a producer, workers and a listener, each a queue of its own, and jobs that the replica knows
    queues = [kue.create_queue(guarded.url, lease_ms=3000) for _ in range(3)]
    producer, worker, listener = queues
    heard: list[kue.Event] = []
    ran: list[Any] = []
    trouble: list[BaseException] = []
    listener.subscribe(heard.append)
    worker.on("error", trouble.append)
    hold, begun = threading.Event(), threading.Event()

    def work(job: kue.Job) -> Any:
        ran.append(job.data["n"])
        begun.set()
        hold.wait(60)
        return {"n": job.data["n"]}

    made = producer.create_many([{"type": "over", "data": {"n": n}} for n in range(40)])
    worker.process("over", 4, work)
    wait_until(begun.is_set, 10)
    assert guarded.primary.wait(1, 5000) == 1

    # When the primary is killed while jobs run, and the producer goes on
    guarded.processes[0].kill()
    guarded.processes[0].wait()
    later: list[kue.Job] = []
    thread = threading.Thread(target=produce, args=(producer, "over", range(100, 120), later))
    thread.start()
    hold.set()

    # Then the replica takes its place, and all of them go on: no job is lost, and each is heard of
    thread.join(FAILOVER_S)
    assert len(later) == 20
    guarded.replica.connection_pool.disconnect()  # the sentinels broke its clients' connections
    assert guarded.replica.info("replication")["role"] == "master"
    wait_until(lambda: producer.complete_count() == 60, FAILOVER_S, 0.05)
    assert set(ran) == {*range(40), *range(100, 120)}
    assert [producer.get(job.id or 0).result for job in made] == [{"n": n} for n in range(40)]
    wait_until(lambda: any(each.event == "resync" for each in heard), 20)
    last = producer.create("over", {"n": 999}).save()
    wait_until(lambda: any(each.id == last.id and each.event == "complete" for each in heard), 20)
    assert last.wait(20) == {"n": 999}
    assert trouble and isinstance(trouble[0], (redis.RedisError, OSError))
    for queue in queues:
        queue.shutdown(2)
