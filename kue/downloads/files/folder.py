"""The folder of finished files, used only through its own handle.

Every name is one component, opened relative to the folder's descriptor and never through a symbolic link, so nothing
that appears in the folder can lead a write out of it. POSIX only: it needs ``dir_fd`` and ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from ..errors import DownloadFailed
from .filenames import numbered

#: Errors that mean: no room. The job waits and goes on by itself.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: File systems without hard links answer with one of these.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})
MODE = 0o666


class Folder:
    """An open folder. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise DownloadFailed(f"The folder for downloads cannot be opened: {exc.strerror}") from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self.fd)

    def open(self, name: str, flags: int, mode: int = MODE) -> int:
        """Open a regular file of this folder. Raises OSError, also for a link, a device or a file with two names."""
        fd = os.open(component(name), flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=self.fd)
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            raise OSError(errno.ELOOP, "not a regular file", name)
        return fd

    def stat(self, name: str) -> os.stat_result | None:
        """Return what a name is, without following a link, or None."""
        try:
            return os.stat(component(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_same(self, name: str, fd: int) -> bool:
        """Tell whether ``name`` is the file that ``fd`` is open on."""
        found, mine = self.stat(name), os.fstat(fd)
        return found is not None and (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def read(self, name: str, limit: int = 1 << 20) -> bytes | None:
        """Return a small file's bytes, or None if there is none that may be read."""
        try:
            fd = self.open(name, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file so that a reader finds the old or the new content, never a part."""
        temporary = component(f"{name}.tmp")
        self.remove(temporary)
        fd = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        os.rename(temporary, component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        try:
            os.unlink(component(name), dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def publish(self, part: str, fd: int, wanted: str) -> str:
        """Give the file ``part`` (open as ``fd``) a free name like ``wanted`` in one step; return that name.

        Never replaces a file. ``part`` may be left as a second name of the same file.
        """
        for number in range(1, 1000):
            name = wanted if number == 1 else numbered(wanted, number)
            try:
                os.link(component(part), component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
                return name
            except FileExistsError:
                if self.is_same(name, fd):
                    return name  # a killed attempt came this far
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
                try:
                    os.close(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                os.rename(component(part), component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)
                return name
        raise DownloadFailed(f"There are already a thousand files named like {wanted}")

    def sync(self) -> None:
        """Make new names survive a power cut."""
        try:
            os.fsync(self.fd)
        except OSError:
            pass  # some network file systems cannot

    def free_bytes(self) -> int:
        """Return how much room there is for an ordinary user, bytes."""
        facts = os.fstatvfs(self.fd)
        return facts.f_bavail * facts.f_frsize

    def names(self) -> list[str]:
        """Return all names in the folder."""
        return os.listdir(self.fd)


def component(name: str) -> str:
    """Return ``name`` if it is one plain component of a path; raise ValueError otherwise."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise ValueError(f"not a file name: {name!r}")
    return name


def lock(fd: int) -> bool:
    """Take the lock of an open file; False if somebody else holds it. It goes with the last descriptor."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if exc.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return True  # a file system without locks: the queue's fencing must do
        raise
    return True
