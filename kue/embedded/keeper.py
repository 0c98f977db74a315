"""Keep one Valkey running for a data directory that several processes may use at once.

- Each process has a keeper, an OS thread. The keeper that holds ``valkey.lock`` *owns* the server: it starts it, and
  restarts it if it dies. The others *share* it, and keep trying to take the lock, which the kernel frees when the owner
  ends, even by ``kill -9``. The next owner starts a server at the same address, so clients only reconnect.
- The server holds ``valkey.server.lock`` until it has ended (see ``launcher.py``), so that two servers never write the
  same files, whatever happens to their owners.
- The kernel ends the server when the *thread* that started it ends: the keeper, which lives as long as its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import stat
import sys
import time
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kue.concurrency import green
from kue.embedded.ping import ping

#: Longest path of a Unix socket: 107 bytes on Linux, 103 on macOS.
MAX_SOCKET_PATH_BYTES = 100
#: How often a sharer tries to become the owner, seconds: the longest gap after an owner dies.
TAKE_OVER_S = 0.1
#: How often a starting server is checked for readiness, seconds.
READY_S = 0.005
#: Pause before a dead server is restarted, seconds: first and longest; doubled while it keeps dying early.
RESTART_FROM_S, RESTART_TO_S = 0.1, 5.0
#: The server's log is rotated at the next start if it is larger than this, bytes.
MAX_LOG_BYTES = 1_000_000
#: How the server is made to end with its owner; see ``launcher.py``.
MODE = "deathsig" if sys.platform == "linux" else "watch"
#: The file descriptor of the launcher's end of the pipe.
STARTED_FD = 3

OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",  # the append-only file persists everything; snapshots would only cost
    "hash-max-listpack-value": "1024",  # a waiting job takes 629 bytes instead of 1,039
    "shutdown-on-sigterm": "force",  # exit even if the disk is full, after writing what is possible
    "maxmemory-policy": "noeviction",  # a queue must not lose a job to save memory
    "bind": "127.0.0.1",
    "unixsocketperm": "700",
    "daemonize": "no",
    "loglevel": "warning",
}


def socket_path_for(data_dir: Path) -> Path:
    """Return the socket path of that directory's server: inside it, or in /tmp if that would be too long."""
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    # Not tempfile.gettempdir(): all processes must compute the same path, whatever their TMPDIR.
    return Path("/tmp") / f"kue-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}" / path.name


class Keeper:
    """The keeper of one process for one data directory; used once, by ``EmbeddedServer``. Raises OSError."""

    def __init__(self, data_dir: Path, binary: Path, port: int) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Resolve links: the directory's name determines the socket's path.
        self.data_dir = data_dir.resolve()
        self.socket_path = socket_path_for(self.data_dir)
        self.url = "unix://" + quote(os.fsencode(self.socket_path))
        self.pid: int | None = None
        self.owner = False
        self._command = [str(binary)]
        for name, value in OPTIONS.items():
            self._command += ["--" + name, value]
        self._command += ["--port", str(port), "--unixsocket", str(self.socket_path), "--dir", str(self.data_dir)]
        self._made_private = False
        self._ready = False
        self._problem = ""
        self._heard_at = time.monotonic()
        self._lock_fd: int | None = os.open(self._file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._process = os.getpid()  # a forked child has a copy of this object, but no keeper thread
        _forget_in_children(self)
        # OS locks, even under eventlet. They are only held briefly.
        self._os = green.original("os")
        threading = green.original("threading")
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread: Any = threading.Thread(target=self._keep, name="kue-valkey", daemon=True)

    def start(self, timeout_s: float) -> str:
        """Wait until the server replies; return "", or a sentence on what went wrong."""
        self._thread.start()
        while not self._ready and not self._problem:
            if time.monotonic() - self._heard_at > timeout_s:
                return f"The Valkey of {self.data_dir} did not respond for {timeout_s:g} s.{self._whose()}"
            time.sleep(READY_S)
        return "" if self._ready else self._problem

    def stop(self, timeout_s: float) -> None:
        """Stop the keeper, and the server if this process owns it; see ``EmbeddedServer.stop``."""
        if self._process != os.getpid():
            return
        self._stopping.set()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(READY_S)
        if self._thread.is_alive():
            self._signal(signal.SIGKILL)
            self._thread.join(2)

    def _file(self, suffix: str) -> Path:
        return self.data_dir / f"valkey.{suffix}"

    def _signal(self, signum: int) -> None:
        with self._guard:
            if self.pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)
            if signum == signal.SIGKILL:  # also the server under a watcher
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signum)

    def _whose(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            if not self.owner:
                return f" It belongs to process {int(self._file('lock').read_text())}: stop that process, or wait."
        return ""

    # The methods below run in the keeper's thread. They must not log: under eventlet, logging's locks are green.

    def _keep(self) -> None:
        """Own the server whenever no other process does, until ``stop``."""
        pause = RESTART_FROM_S
        try:
            while not self._stopping.is_set():
                if not self._own():
                    self._stopping.wait(TAKE_OVER_S if self._ready or self._ask() else READY_S)
                    continue
                started_at = time.monotonic()
                problem = self._serve()
                if self._stopping.is_set():
                    return
                if not self._ready:
                    self._problem = problem
                    return
                pause = RESTART_FROM_S if time.monotonic() - started_at > RESTART_TO_S else min(pause * 2, RESTART_TO_S)
                self._say(f"{problem} Restarting it.")
                self._stopping.wait(pause)
        except Exception as exc:
            self._problem = f"The Valkey of {self.data_dir} cannot run: {exc}."
            self._say(self._problem)
        finally:
            self.owner = False
            if self._made_private:
                with contextlib.suppress(OSError):
                    self.socket_path.parent.rmdir()
            self._unlock()

    def _own(self) -> bool:
        """Become the owner if there is none; return whether this process is the owner."""
        if not self.owner and self._lock_fd is not None:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self.owner = True
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)
        return self.owner

    def _unlock(self) -> None:
        handle, self._lock_fd = self._lock_fd, None
        if handle is not None:
            os.close(handle)

    def _ask(self) -> bool:
        """Check whether the server is ready, and record when it last replied."""
        answer = ping(os.fspath(self.socket_path))
        if answer:
            self._heard_at = time.monotonic()
        if answer == "+PONG":
            self._ready = True
        return answer == "+PONG"

    def _serve(self) -> str:
        """Run the server until it ends; return how it ended and the end of its log."""
        log_path = self._file("log")
        log_size = log_path.stat().st_size if log_path.exists() else 0
        if log_size > MAX_LOG_BYTES:
            log_path.replace(self._file("log.old"))
            log_size = 0
        pid, started = self._spawn(log_path)
        with self._guard:
            self.pid = pid
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        # Closed once the launcher has become the server, so a dying old server cannot be mistaken for the new one.
        self._os.read(started, 1)
        self._os.close(started)
        status = None
        while status is None and not self._ask():
            status = self._wait(pid, os.WNOHANG)
            self._stopping.wait(READY_S)
        if status is None:
            status = self._wait(pid, 0) or 0
        with self._guard:
            self.pid = None
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        with log_path.open("rb") as file:
            file.seek(log_size)
            said = " ".join(file.read()[-2000:].decode("utf-8", "replace").splitlines()[-4:])
        return f"The Valkey of {self.data_dir} {how}. Its log, {log_path}, says: {said or 'nothing'}"

    def _spawn(self, log_path: Path) -> tuple[int, int]:
        """Start the launcher; return its process id, and a file descriptor to read until the server's program starts.

        ``posix_spawn`` and not ``subprocess``, since eventlet replaces parts of the latter.
        """
        if self.socket_path.parent != self.data_dir:
            _make_private(self.socket_path.parent)
            self._made_private = True
        launcher = os.fspath(Path(__file__).with_name("launcher.py"))
        own = [str(os.getpid()), str(self._file("server.lock")), str(self.socket_path), str(STARTED_FD), MODE]
        started, starting = self._os.pipe()
        output = self._os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # High numbers, so that no dup2 below overwrites a descriptor that another one needs.
        high = [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10) for handle in (output, starting)]
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", launcher, *own, *self._command],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, high[0], 1),
                    (os.POSIX_SPAWN_DUP2, high[0], 2),
                    (os.POSIX_SPAWN_DUP2, high[1], STARTED_FD),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT],
            )
        finally:
            for handle in (output, starting, *high):
                self._os.close(handle)
        return pid, started

    def _wait(self, pid: int, flags: int) -> int | None:
        """Return the wait status of the process, or None while it runs (with WNOHANG)."""
        try:
            ended, status = self._os.waitpid(pid, flags)
        except ChildProcessError:  # a waitpid(-1) elsewhere in the program reaped it
            return 0
        return status if ended else None

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._os.write(2, f"kue: {text}\n".encode())


def _make_private(directory: Path) -> None:
    """Create a directory private to this user in a world-writable place. Raises OSError."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} belongs to another user; choose a shorter KUE_DATA_DIR")


def _forget_in_children(keeper: Keeper) -> None:
    """Close the lock file in a forked child: if it held the lock, no process could take over from its parent."""
    reference = weakref.ref(keeper)

    def forget() -> None:
        keeper = reference()
        if keeper is not None:
            keeper._unlock()

    os.register_at_fork(after_in_child=forget)
