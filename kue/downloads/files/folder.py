"""The download folder, used only through its own descriptor.

Every name is one path component, opened relative to the folder's descriptor and never through a symbolic link, so no
file in the folder can redirect a write out of it. POSIX only: needs ``dir_fd`` and ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from ..errors import DownloadFailed
from .filenames import MAX_COMPONENT_BYTES, numbered
from .local_errors import explain

#: Errors of file systems without hard links.
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
            raise explain(exc, creating=True) from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self.fd)

    def exists(self) -> bool:
        """Return whether the path still leads to this folder."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except OSError:
            return False

    def open(self, name: str, flags: int, mode: int = MODE) -> int:
        """Open a regular file of this folder. Raises OSError, also for a symbolic link or a device."""
        fd = os.open(component(name), flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=self.fd)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.ELOOP, "not a regular file", name)
        return fd

    def stat(self, name: str) -> os.stat_result | None:
        """Return the file's stat result without following a link, or None."""
        try:
            return os.stat(component(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_same(self, name: str, fd: int) -> bool:
        """Return whether ``name`` is the file behind ``fd``."""
        found, mine = self.stat(name), os.fstat(fd)
        return found is not None and (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def read(self, name: str, limit: int = 1 << 20) -> bytes | None:
        """Return a small file's bytes, or None if it cannot be read."""
        try:
            fd = self.open(name, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def replace(self, name: str, content: bytes) -> None:
        """Replace a small file atomically."""
        temporary = component(f"{name}.tmp")
        self.remove(temporary)
        fd = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        os.rename(temporary, component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        try:
            os.unlink(component(name), dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def publish(self, part: str, fd: int, wanted: str) -> str:
        """Rename the file ``part`` (open as ``fd``) atomically to ``wanted`` or a free name like it; return that name.

        Never replaces a file. ``part`` may remain as a second link to the same file.
        """
        for number in range(1, 1000):
            name = wanted if number == 1 else numbered(wanted, number)
            try:
                os.link(component(part), component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
                return name
            except FileExistsError:
                if self.is_same(name, fd):
                    return name  # an earlier attempt was killed here
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
                try:
                    os.close(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                os.rename(component(part), component(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)
                return name
        raise DownloadFailed(f"The download folder already has 1,000 files named like {wanted}")

    def sync(self) -> None:
        """Sync the folder, so that new names survive a power failure."""
        try:
            os.fsync(self.fd)
        except OSError:
            pass  # some network file systems cannot

    def free_bytes(self) -> int:
        """Return the free space for an ordinary user, bytes."""
        found = os.fstatvfs(self.fd)
        return found.f_bavail * found.f_frsize

    def names(self) -> list[str]:
        """Return all names in the folder."""
        return os.listdir(self.fd)


def component(name: str) -> str:
    """Return ``name`` if it is one plain component of a path; raise ValueError otherwise."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > MAX_COMPONENT_BYTES:
        raise ValueError(f"not a file name: {name!r}")
    return name


def lock(fd: int) -> bool:
    """Lock an open file; return False if it is locked already. Closing the last descriptor releases the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if exc.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return True  # a file system without locks: rely on the queue's fencing
        raise
    return True
