"""Hash a growing file behind the writer, in OS threads.

The bytes are read back from the page cache, so neither the copy loop nor the hub waits for a digest. After a resume
the first bytes are hashed the same way while the download continues.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable

from kue.concurrency import green, real_threads

from ..errors import PartChanged

#: Start a thread when this many bytes are unhashed. Smaller files need no thread.
BEHIND_BYTES = 8 * 1024 * 1024
STEP_BYTES = 256 * 1024


class Hasher:
    """Hash an open file as far as the writer has come.

    ``checkpoint`` is (bytes, sha256) from an earlier process: if the file's first bytes do not match it, ``reach`` or
    ``finish`` raises PartChanged.
    """

    def __init__(self, fd: int, algorithms: Iterable[str], checkpoint: tuple[int, str] | None = None) -> None:
        self._fd = os.dup(fd)
        self._digests = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *algorithms}}
        self._checkpoint = checkpoint
        self._position = 0
        self._running: real_threads.Offloaded[None] | None = None
        self._stop = False
        self.state: tuple[int, str] = (0, self._digests["sha256"].hexdigest())

    def reach(self, frontier: int) -> None:
        """Report that the file is written up to ``frontier``. Never waits."""
        if self._running is not None:
            if not self._running.done:
                return
            self._running.result()
            self._running = None
        if frontier - self._position >= BEHIND_BYTES:
            self._running = real_threads.Offloaded(self._run, frontier)

    def finish(self, size: int, tick: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Hash the rest up to ``size`` and return the digests, by name, in hexadecimal."""
        while self._running is not None and not self._running.done:
            green.sleep(0.005)
            tick()
        if self._running is not None:
            self._running.result()
            self._running = None
        if size - self._position > STEP_BYTES:
            self._running = real_threads.Offloaded(self._run, size)
            return self.finish(size, tick)
        self._run(size)
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def close(self) -> None:
        """Stop hashing and close the file."""
        self._stop = True
        try:
            if self._running is not None:
                self._running.settle()
        finally:
            # The lock lasts as long as any descriptor of the file, so this one must be closed.
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _run(self, until: int) -> None:
        buffer = memoryview(bytearray(min(STEP_BYTES, max(0, until - self._position))))
        while self._position < until and not self._stop:
            end = until
            if self._checkpoint is not None and self._position < self._checkpoint[0]:
                end = min(end, self._checkpoint[0])
            size = os.preadv(self._fd, [buffer[: end - self._position]], self._position)
            if size == 0:
                raise PartChanged("another program truncated the partial file")
            for digest in self._digests.values():
                digest.update(buffer[:size])
            self._position += size
            self._compare()
        self.state = (self._position, self._digests["sha256"].hexdigest())

    def _compare(self) -> None:
        if self._checkpoint is not None and self._position == self._checkpoint[0]:
            if self._digests["sha256"].hexdigest() != self._checkpoint[1]:
                raise PartChanged("the partial file no longer matches its recorded checksum")
            self._checkpoint = None
