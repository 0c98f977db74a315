"""A partial file: ``ID-….part``, its sidecar, and the lock on both.

The sidecar is one JSON object, written before the first byte and again whenever more is known.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kue.concurrency import green

from ..errors import DownloadError
from . import folder as folders
from .folder import Folder
from .local_errors import explain

VERSION = 1
#: How long to wait for an earlier attempt of the same job to release the lock, seconds.
LOCK_WAIT_S = 15.0


def boot_id() -> str:
    """Return an id that changes at each boot of the machine, or "" if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass
class PartState:
    """The sidecar. URLs are without credentials."""

    #: Requested, and after redirects.
    url: str
    final_url: str
    #: Strong ETag or Last-Modified, for If-Range; None: cannot be resumed.
    validator: str | None
    #: Declared size, bytes; None if the server did not say.
    length: int | None
    #: Name of the finished file.
    name: str
    content_type: str | None
    coding: str | None
    redirects: int
    boot: str
    #: Bytes synced to the disk, for after a power failure.
    synced: int = 0
    #: (bytes, sha256 of these first bytes).
    sha: tuple[int, str] | None = None
    #: First byte and end of each segment; the file then has its full size from the start.
    segments: list[tuple[int, int]] | None = None
    #: Bytes of each segment synced to the disk.
    segments_synced: list[int] | None = None
    #: Size of the whole file once complete.
    complete: int | None = None
    #: The job's result once the file is renamed.
    result: dict[str, Any] | None = None
    #: ETag as sent, whatever its form; Last-Modified if it is a strong validator.
    etag: str | None = None
    modified: str | None = None
    #: Digests from response headers: {algorithm: (hexadecimal digest, header name)}.
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the sidecar's bytes."""
        return json.dumps({"version": VERSION, **vars(self)}, indent=1).encode()

    @classmethod
    def load(cls, content: bytes | None) -> PartState | None:
        """Read a sidecar; return None if it is invalid: then the partial file is not trusted."""
        try:
            data = json.loads(content or b"")
            if data.pop("version") != VERSION:
                return None
            state = cls(**data)
            state.digests = {str(kind): (str(digest), str(name)) for kind, (digest, name) in state.digests.items()}
            if set(state.digests) - set(hashlib.algorithms_available):
                return None
            state.sha = None if state.sha is None else (int(state.sha[0]), str(state.sha[1]))
            if state.segments is not None:
                state.segments = [(int(first), int(end)) for first, end in state.segments]
                ends = [0, *(end for _, end in state.segments)]
                whole = all(0 <= first < end for first, end in state.segments) and ends[-1] == state.length
                if not whole or [first for first, _ in state.segments] != ends[:-1]:
                    return None
            numbers = [state.synced, state.length or 0, state.complete or 0, state.redirects]
            texts = [state.url, state.final_url, state.name, state.boot]
            texts += [text for text in (state.validator, state.etag, state.modified) if text is not None]
            if not all(isinstance(n, int) and n >= 0 for n in numbers) or not all(isinstance(t, str) for t in texts):
                return None
            folders.component(state.name)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return None
        return state


def part_key(job_id: object, url: str, created_at: object) -> str:
    """Return the base name of a job's partial file: the same for all attempts, different for each job."""
    digest = hashlib.sha256(f"{created_at}|{url}".encode("utf-8", "surrogatepass")).hexdigest()[:10]
    tag = "".join(char if char.isascii() and char.isalnum() else "_" for char in str(job_id))[:40]
    return f"{tag}-{digest}"


class Part:
    """The files of one unfinished download, locked against other attempts and processes."""

    def __init__(self, folder: Folder, key: str) -> None:
        self.folder = folder
        self.name, self.sidecar, self.map = f"{key}.part", f".{key}.json", f".{key}.map"
        self.fd = -1
        self.state: PartState | None = None

    def lock(self, tick: Callable[[], None]) -> None:
        """Open (or create) and lock the partial file, and read its sidecar."""
        for _ in range(int(LOCK_WAIT_S / 0.1)):
            try:
                fd = self.folder.open(self.name, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError as exc:
                raise explain(exc, creating=self.folder.exists()) from None
            # Between open and lock, another attempt may have finished and removed the file.
            if folders.lock(fd) and self.folder.is_same(self.name, fd):
                self.fd = fd
                break
            os.close(fd)
            green.sleep(0.1)
            tick()
        else:
            raise DownloadError("An earlier attempt of this job still holds the lock on the partial file")
        self.state = PartState.load(self.folder.read(self.sidecar))

    @property
    def size(self) -> int:
        """Size of the file, bytes."""
        return os.fstat(self.fd).st_size

    def usable(self) -> int:
        """Return how many leading bytes of a file without segments are valid."""
        state = self.state
        if state is None or state.segments is not None or state.result is not None:
            return 0
        # All writes survive a killed process; only synced bytes survive a power failure.
        return self.size if state.boot == boot_id() else min(self.size, state.synced)

    def restart(self, state: PartState) -> None:
        """Start over: truncate the file before the new sidecar is written."""
        if self.size:  # on ext4, closing a truncated file is slow, even an empty one
            os.ftruncate(self.fd, 0)
        self.folder.remove(self.map)
        self.state = state
        self.save()

    def save(self) -> None:
        """Write the sidecar."""
        if self.state is not None:
            self.folder.replace(self.sidecar, self.state.dump())

    def discard(self) -> None:
        """Remove the partial file, sidecar and map."""
        for name in (self.sidecar, self.map, self.name):
            self.folder.remove(name)
        self.state = None

    def close(self) -> None:
        """Close the file and release the lock; an empty partial file is removed."""
        if self.fd < 0:
            return
        try:
            finished = self.state is not None and self.state.result is not None
            if not finished and self.size == 0 and self.folder.is_same(self.name, self.fd):
                self.discard()
        finally:
            os.close(self.fd)
            self.fd = -1
