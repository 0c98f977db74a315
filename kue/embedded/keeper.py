"""Keep one Valkey running for a data directory that several processes may use at once.

- Each process has a keeper, a real OS thread. The keeper that holds ``valkey.lock`` *owns* the server: it starts it,
  and starts it again should it die. The others *share* it, and try for the lock; the kernel frees it when the owner
  ends, by ``kill -9`` too. Then one of them owns the next server, at the same address: a client only has to reconnect.
- The server itself holds ``valkey.server.lock`` until it is gone (see ``launcher.py``), so that two never write
  the same files, whatever happens to their owners.
- The kernel ends the server with the *thread* that started it: the keeper, which lives as long as its process.
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

#: A Unix socket's path may have 107 bytes on Linux and 103 on macOS.
MAX_SOCKET_PATH_BYTES = 100
#: How often a sharer tries to become the owner, in seconds: at most so long is a dead owner's server missed.
TAKE_OVER_S = 0.1
#: How often a server that is just starting is asked whether it is ready, in seconds.
READY_S = 0.005
#: The pause before a dead server is started again, in seconds: doubled from one to the other while it dies young.
RESTART_FROM_S, RESTART_TO_S = 0.1, 5.0
#: The server's log is put aside beyond this size, at the next start.
MAX_LOG_BYTES = 1_000_000
#: How the server ends with its owner; see ``launcher.py``.
MODE = "deathsig" if sys.platform == "linux" else "watch"
#: The number that the launcher finds its end of the pipe at.
STARTED_FD = 3

OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",  # the append-only file is the record; snapshots beside it would only cost
    "hash-max-listpack-value": "1024",  # a waiting job takes 629 bytes instead of 1,039
    "shutdown-on-sigterm": "force",  # exits even if the disk is full, after writing what it can
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
    # Not tempfile.gettempdir(): every process must come to the same path, whatever its TMPDIR.
    return Path("/tmp") / f"kue-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}" / path.name


class Keeper:
    """The keeper of one process for one data directory; used once, by ``EmbeddedServer``. Raises OSError."""

    def __init__(self, data_dir: Path, binary: Path, port: int) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One name for one directory, whatever links lead to it: the name decides where the socket is.
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
        # Real ones, under eventlet too. Whatever the two sides share is held only for a moment.
        self._os = green.original("os")
        threading = green.original("threading")
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread: Any = threading.Thread(target=self._keep, name="kue-valkey", daemon=True)

    def start(self, timeout_s: float) -> str:
        """Wait until the server answers; return "" then, or what went wrong."""
        self._thread.start()
        while not self._ready and not self._problem:
            if time.monotonic() - self._heard_at > timeout_s:
                return f"The Valkey of {self.data_dir} did not respond for {timeout_s:g} s.{self._whose()}"
            time.sleep(READY_S)
        return "" if self._ready else self._problem

    def stop(self, timeout_s: float) -> None:
        """End the keeper, and the server if it is ours; see ``EmbeddedServer.stop``."""
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
            if signum == signal.SIGKILL:  # the server under a watcher as well
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signum)

    def _whose(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            if not self.owner:
                return f" It belongs to process {int(self._file('lock').read_text())}: stop that process, or wait."
        return ""

    # All below runs in the keeper's thread. It must not log: under eventlet, logging's locks are for green threads.

    def _keep(self) -> None:
        """Own the server if nobody else does, else wait for the chance; until ``stop``."""
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
                self._say(f"{problem} Starting it again.")
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
        """Become the owner if there is none; tell whether we are it."""
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
        """See whether the server is ready, and remember when it last said anything."""
        answer = ping(os.fspath(self.socket_path))
        if answer:
            self._heard_at = time.monotonic()
        if answer == "+PONG":
            self._ready = True
        return answer == "+PONG"

    def _serve(self) -> str:
        """Run the server until it ends; return how it ended and what it said."""
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
        # Ends when the launcher has become the server, so a dying one before it cannot be taken for the new one.
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
        # High numbers, so that none of the lines below overwrites what another still needs.
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
        except ChildProcessError:  # a waitpid(-1) elsewhere in the program got it
            return 0
        return status if ended else None

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._os.write(2, f"kue: {text}\n".encode())


def _make_private(directory: Path) -> None:
    """Make a directory that only we can enter, in a place where everybody may make one; raises OSError."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} belongs to another user; choose a shorter KUE_DATA_DIR")


def _forget_in_children(keeper: Keeper) -> None:
    """A forked child must not hold the lock: while it did, nobody could take over from its parent."""
    reference = weakref.ref(keeper)

    def forget() -> None:
        keeper = reference()
        if keeper is not None:
            keeper._unlock()

    os.register_at_fork(after_in_child=forget)
