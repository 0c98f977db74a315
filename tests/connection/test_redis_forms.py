"""All forms of the ``redis`` argument for a single Redis: URL, TLS, Unix socket, client, factory, prefix."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel

import kue
from tests.conftest import start_server, stop_server
from tests.support import free_port, require_program, require_redis_server, wait_until
from tests.support.job_life import live

Start = Callable[..., str]


@contextmanager
def queue_on(source: object, prefix: str = "q") -> Iterator[kue.Queue]:
    queue = kue.create_queue(source, prefix, search=True)
    yield queue
    queue.shutdown(2)


def test_a_url_with_user_password_database_and_options(second_redis_server: Start) -> None:
    # Given a server with two passwords, and a user who may use one prefix only
    base = second_redis_server("--requirepass", "p@ss/wort#1").removeprefix("redis://").removesuffix("/0")
    encoded = "p%40ss%2Fwort%231"
    url = f"redis://:{encoded}@{base}/3?socket_timeout=4&socket_connect_timeout=2&client_name=forms"
    # When jobs live on database 3
    with queue_on(url) as queue:
        live(queue)
        # Then they are there, and the connections bear the name
        with redis.Redis.from_url(f"redis://:{encoded}@{base}/3", decode_responses=True) as client:
            assert client.exists("q:ids")
            assert {each["name"] for each in client.client_list()} >= {"forms"}
    with redis.Redis.from_url(f"redis://:{encoded}@{base}/0") as client:
        assert client.keys("*") == []
        rules = ("on", ">s3cret", "~jobs:*", "&jobs:*", "~promotion:lock", "+@all")
        client.execute_command("ACL", "SETUSER", "worker", *rules)
    # And the user works under the prefix that is allowed
    with queue_on(f"redis://worker:s3cret@{base}/1", "jobs") as queue:
        queue.process("t", lambda job: job.data["n"])
        assert queue.create("t", {"n": 5}).save().wait(10) == 5


def test_a_wrong_password_is_told_at_once_without_showing_it(second_redis_server: Start) -> None:
    base = second_redis_server("--requirepass", "right").removeprefix("redis://")
    queue = kue.create_queue(f"redis://:geheim@{base}")
    with pytest.raises((redis.AuthenticationError, kue.KueError)) as caught:
        queue.create("t").save()
    assert "geheim" not in str(caught.value)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has a limit of some hundred bytes."""
    path = Path(tempfile.mkdtemp(prefix="kue"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_unix_socket(short_dir: Path, second_redis_server: Start) -> None:
    socket = short_dir / "my redis.sock"
    second_redis_server("--unixsocket", str(socket), "--requirepass", "pw")
    wait_until(socket.exists)
    with queue_on(f"unix://:pw@{socket.as_posix().replace(' ', '%20')}?db=2") as queue:
        live(queue)
    with redis.Redis(unix_socket_path=str(socket), password="pw", db=2) as client:
        assert client.exists("q:ids")
        with queue_on(client) as queue:
            assert queue.types() == ["life"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, and a certificate and key for 127.0.0.1 that it signed."""
    openssl, folder = require_program("openssl"), tmp_path_factory.mktemp("tls")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")  # fmt: skip
    run("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n", encoding="ascii")
    run("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-extfile", "names", "-days", "2", "-out", "cert.pem")  # fmt: skip
    return folder


# A handshake that fails leaves eventlet's socket to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_with_a_certificate_of_ones_own(certificates: Path, second_redis_server: Start) -> None:
    port, folder = free_port(), certificates
    second_redis_server(
        "--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem"),
        "--tls-ca-cert-file", str(folder / "ca.pem"),
    )  # fmt: skip
    ours = f"ssl_certfile={folder}/cert.pem&ssl_keyfile={folder}/key.pem"
    # Given the authority and a certificate of the client's, everything works, a client as the pattern too
    with queue_on(f"rediss://127.0.0.1:{port}/1?ssl_ca_certs={folder}/ca.pem&{ours}") as queue:
        live(queue)
    with redis.Redis(
        "127.0.0.1", port, db=1, ssl=True, ssl_ca_certs=f"{folder}/ca.pem", ssl_certfile=f"{folder}/cert.pem",
        ssl_keyfile=f"{folder}/key.pem",
    ) as client, queue_on(client) as queue:  # fmt: skip
        assert queue.types() == ["life"]
    # When the authority is not known, nothing is said to the server
    with queue_on(f"rediss://127.0.0.1:{port}/1?{ours}") as queue:
        with pytest.raises(kue.QueueUnavailable, match="[Cc]ertif"):
            queue.types()
    # Unless it need not be
    with queue_on(f"rediss://127.0.0.1:{port}/1?ssl_cert_reqs=none&{ours}") as queue:
        assert queue.types() == ["life"]


def test_a_client_only_supplies_settings_and_stays_the_users(redis_url: str) -> None:
    # Given a client with options that would not suit us
    with redis.Redis.from_url(
        redis_url, socket_timeout=0.05, decode_responses=False, max_connections=1, health_check_interval=3
    ) as client:
        # When a queue lives with it
        with queue_on(client) as queue:
            live(queue)
        # Then the client is as it was, and open
        assert client.get("q:ids") is not None
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 0.05


def test_a_factory_is_asked_for_each_connection(redis_url: str) -> None:
    made = []

    def factory() -> redis.Redis:
        made.append(redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(redis_url)))
        return made[-1]

    with queue_on(factory) as queue:
        live(queue)
    assert len(made) > 5


def test_two_prefixes_share_nothing(redis_url: str, redis_client: redis.Redis) -> None:
    # Given two queues on one database, the one's prefix the beginning of the other's
    with queue_on(redis_url, "a") as one, queue_on(redis_url, "a:job") as other:
        heard: list[kue.Event] = []
        other.subscribe(heard.append)
        # When one has a whole life, and a job of the other waits meanwhile
        waiting = other.create("life", {"n": 1, "title": "zebra"}).save()
        other.pause("life")
        live(one)
        # Then the other heard and lost nothing
        assert [event.event for event in heard] == ["enqueue"]
        assert other.counts()["inactive"] == 1 and other.ids("inactive") == [waiting.id]
        assert one.paused() == [] and other.paused() == ["life"]
        assert other.search("zebra") == [1] and one.search("zebra") == []
        assert other.processing() == {} and one.get_many([99]) == []
        waiting.remove()
    leftover = [key for key in redis_client.keys("*") if not str(key).startswith("a:")]
    assert leftover == []


def test_a_sentinel_client_only_supplies_settings_too(tmp_path: Path) -> None:
    binary = require_redis_server()
    server, url = start_server(binary, tmp_path)
    port, sentinel_port = url.rpartition(":")[2].removesuffix("/0"), free_port()
    config = tmp_path / "sentinel.conf"
    lines = [f"port {sentinel_port}", "bind 127.0.0.1", f"sentinel monitor main 127.0.0.1 {port} 1", ""]
    config.write_text("\n".join(lines), encoding="ascii")
    guard = subprocess.Popen([binary, str(config), "--sentinel"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        sentinel = Sentinel([("127.0.0.1", sentinel_port)])  # type: ignore[no-untyped-call]
        wait_until(lambda: _finds(sentinel), 10)
        with queue_on(sentinel.master_for("main")) as queue:
            queue.process("t", lambda job: 5)
            assert queue.create("t").save().wait(10) == 5
    finally:
        guard.kill()
        guard.wait()
        stop_server(server)


def _finds(sentinel: Sentinel) -> bool:
    try:
        return bool(sentinel.discover_master("main"))
    except redis.RedisError:
        return False
