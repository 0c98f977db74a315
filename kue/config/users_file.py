"""The monitor's users file: one line per user, with name, role and password hash.

It is read by the web processes and written by ``kue user``. Its path is the setting ``KUE_USERS_FILE``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import KueError

log = logging.getLogger("kue.web")

ROLES = ("write", "read")
HEAD = "# Users of kue's monitor, name:role:hash. Change it with `kue user`.\n"
#: The format of werkzeug.security: method with parameters, salt, hash.
_HASH = re.compile(r"(scrypt:\d{1,8}:\d{1,3}:\d{1,3}|pbkdf2:sha(256|512):\d{1,9})\$[^\s$]{1,200}\$[0-9a-f]{16,256}")
_NAME = re.compile(r"[^\s:,*]{1,100}")


class UsersFileError(KueError):
    """The users file cannot be used or changed. The message says why."""


class FileUser(NamedTuple):
    """One line. ``role`` is "write" or "read", ``hash`` is from werkzeug's ``generate_password_hash``."""

    name: str
    role: str
    hash: str


def check_name(name: str) -> str:
    """Return a valid user name. Raises UsersFileError for one that the file, or HTTP Basic, cannot represent."""
    if not _NAME.fullmatch(name) or not name.isprintable() or name.startswith("#"):
        raise UsersFileError(f"{name!r} is not a valid user name: use 1 to 100 characters, without spaces and : , * #")
    return name


def parse_line(line: str) -> FileUser:
    """Return the user of a line. Raises UsersFileError, whose message does not repeat the hash."""
    name, _, rest = line.strip().partition(":")
    role, _, hashed = rest.partition(":")
    check_name(name)
    if role not in ROLES:
        raise UsersFileError(f"user {name}: the role must be write or read")
    if not _HASH.fullmatch(hashed):
        raise UsersFileError(f"user {name}: no password hash; set one with `kue user passwd {name}`")
    return FileUser(name, role, hashed)


def read(path: Path) -> tuple[dict[str, FileUser], list[str]]:
    """Return the users of a file by name, and the problems of its other lines. Raises OSError."""
    users: dict[str, FileUser] = {}
    problems = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        if _is_user(line):
            try:
                user = parse_line(line)
                if user.name in users:
                    raise UsersFileError(f"user {user.name}: listed twice; the first line is used")
                users[user.name] = user
            except UsersFileError as exc:
                problems.append(f"line {number}: {exc}")
    return users, problems


def _is_user(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


class UsersFile:
    """The users of a file, always current. An invalid line, or an unreadable file, gives no access."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: dict[str, FileUser] = {}
        self._seen: object = None

    def users(self) -> Mapping[str, FileUser]:
        """Return the users by name; reload the file if it has changed."""
        try:
            status = os.stat(self._path)
            seen: object = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError as exc:
            seen = exc.strerror or str(exc)
        if seen != self._seen:
            self._users = self._read()
            self._seen = seen  # last: until then, other threads use the old users
        return self._users

    def _read(self) -> dict[str, FileUser]:
        try:
            users, problems = read(self._path)
            if problem := exposure(self._path):
                problems.append(problem)
        except OSError as exc:
            users, problems = {}, [exc.strerror or str(exc)]
        for problem in problems:
            log.warning("%s: %s", self._path, problem)
        return users


def exposure(path: Path) -> str | None:
    """Return a problem with a users file's permissions, or None. Raises OSError."""
    mode = os.stat(path).st_mode
    if mode & 0o027:
        return f"other users of this machine may read or change it (mode {mode & 0o777:04o}): chmod 600 {path}"
    return None


@contextlib.contextmanager
def editing(path: Path) -> Iterator[dict[str, FileUser]]:
    """Yield the users of a file for changes, then replace the file atomically, with mode 0600.

    Comments are kept. Concurrent changes wait. Raises UsersFileError; an exception inside changes nothing.
    """
    target = path.resolve()  # keep a symbolic link
    try:
        with _locked(target.parent):
            text = target.read_text("utf-8") if target.exists() else HEAD
            before = [(line, parse_line(line) if _is_user(line) else None) for line in text.splitlines()]
            users = {user.name: user for _, user in before if user is not None}
            yield users
            _replace(target, _text(before, users))
    except OSError as exc:
        raise UsersFileError(f"{path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError:
        raise UsersFileError(f"{path} is not a text file in UTF-8") from None


def _text(before: list[tuple[str, FileUser | None]], users: Mapping[str, FileUser]) -> str:
    left = dict(users)
    lines = []
    for line, user in before:
        if user is None:
            lines.append(line)
        elif (kept := left.pop(user.name, None)) is not None:
            lines.append(":".join(kept))
    return "".join(f"{line}\n" for line in (*lines, *map(":".join, left.values())))


def _replace(target: Path, text: str) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # with mode 0600
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
            if target.exists() and (owner := target.stat()).st_uid != os.geteuid():
                os.fchown(fd, owner.st_uid, owner.st_gid)  # keep the owner if root changes the service user's file
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    with contextlib.suppress(OSError):  # not every file system can
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import fcntl  # not on Windows

    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
