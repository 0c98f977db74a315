"""Copy from a socket to a file inside the kernel, where supported (Linux ``splice``)."""

from __future__ import annotations

import errno
import fcntl
import os

from .disk_space import write_all

#: Size of the pipe between the two, bytes. The system may allow less.
PIPE_BYTES = 1024 * 1024
#: Errors of file systems that do not support splice.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


def possible() -> bool:
    """Return whether this system has ``splice``."""
    return hasattr(os, "splice")


class Pipe:
    """Moves bytes from a non-blocking socket to a file. Close it after use."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        #: Whether splice works: False after the system has refused it.
        self.works = True
        try:
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except (OSError, AttributeError):
            pass  # the pipe is then smaller, and each call moves less

    def take(self, sock_fd: int, most: int) -> int | None:
        """Move received bytes into the pipe. Return 0 at the end of the stream, None if none are there or it failed."""
        try:
            return os.splice(sock_fd, self._in, most, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            return None
        except OSError as exc:
            if exc.errno not in _CANNOT:
                raise
            self.works = False
            return None

    def give(self, file_fd: int, position: int, size: int) -> None:
        """Write the ``size`` bytes in the pipe to ``position`` of a file. After an error the rest is lost."""
        while size:
            moved = self._drain(file_fd, position, size)
            size, position = size - moved, position + moved

    def _drain(self, file_fd: int, position: int, left: int) -> int:
        if self.works:
            try:
                return os.splice(self._out, file_fd, left, offset_dst=position, flags=os.SPLICE_F_MOVE)
            except OSError as exc:
                if exc.errno not in _CANNOT:
                    raise
                self.works = False
        piece = os.read(self._out, left)
        write_all(file_fd, memoryview(piece), position)
        return len(piece)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._out)
        os.close(self._in)
