"""A half-finished file and what is known about it: ``ID-….part``, its sidecar, and the right to write them.

The sidecar is one JSON object. It is there before the first byte, and is written anew whenever more is known.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kue.concurrency import green

from ..errors import DownloadError
from . import folder as folders
from .folder import Folder

VERSION = 1
#: How long to wait for an earlier attempt of the same job that is still letting go of the file, seconds.
CLAIM_S = 15.0


def boot_id() -> str:
    """Return what changes when the machine starts anew, or "" where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass
class Facts:
    """The sidecar. URLs are without credentials."""

    #: Asked for, and where it came from in the end.
    url: str
    final_url: str
    #: Strong ETag or Last-Modified, for If-Range; None: cannot be resumed.
    validator: str | None
    #: Declared size, bytes; None if the server did not say.
    length: int | None
    #: The name it will have.
    name: str
    content_type: str | None
    coding: str | None
    redirects: int
    boot: str
    #: Bytes known to be on the disk itself, for after a power cut.
    synced: int = 0
    #: (bytes, sha256 of these first bytes).
    sha: tuple[int, str] | None = None
    #: First byte and end of each segment; the file then has its full size from the start.
    segments: list[tuple[int, int]] | None = None
    #: Bytes of each segment known to be on the disk itself.
    segments_synced: list[int] | None = None
    #: Size of the whole file once all of it is there.
    complete: int | None = None
    #: The job's result once the file has its name.
    result: dict[str, Any] | None = None

    def dump(self) -> bytes:
        """Return the sidecar's bytes."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode()

    @classmethod
    def load(cls, content: bytes | None) -> Facts | None:
        """Read a sidecar, or return None if it is not one of ours: then the file is not trusted."""
        try:
            data = json.loads(content or b"")
            if data.pop("version") != VERSION or set(data) != {field.name for field in fields(cls)}:
                return None
            facts = cls(**data)
            facts.sha = None if facts.sha is None else (int(facts.sha[0]), str(facts.sha[1]))
            if facts.segments is not None:
                facts.segments = [(int(first), int(end)) for first, end in facts.segments]
                ends = [0, *(end for _, end in facts.segments)]
                whole = all(0 <= first < end for first, end in facts.segments) and ends[-1] == facts.length
                if not whole or [first for first, _ in facts.segments] != ends[:-1]:
                    return None
            numbers = [facts.synced, facts.length or 0, facts.complete or 0, facts.redirects]
            texts = [facts.url, facts.final_url, facts.name, facts.boot, facts.validator or ""]
            if not all(isinstance(n, int) and n >= 0 for n in numbers) or not all(isinstance(t, str) for t in texts):
                return None
            folders.component(facts.name)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return None
        return facts


def part_key(job_id: object, url: str, created_at: object) -> str:
    """Return what the part of a job is called: the same for each of its attempts, for no other job."""
    digest = hashlib.sha256(f"{created_at}|{url}".encode("utf-8", "surrogatepass")).hexdigest()[:10]
    tag = "".join(char if char.isascii() and char.isalnum() else "_" for char in str(job_id))[:40]
    return f"{tag}-{digest}"


class Part:
    """The files of one unfinished download, locked against every other attempt and process."""

    def __init__(self, folder: Folder, key: str) -> None:
        self.folder = folder
        self.name, self.sidecar, self.map = f"{key}.part", f".{key}.json", f".{key}.map"
        self.fd = -1
        self.facts: Facts | None = None

    def claim(self, tick: Callable[[], None]) -> None:
        """Open and lock the part, made empty if there is none, and read its sidecar."""
        for _ in range(int(CLAIM_S / 0.1)):
            fd = self.folder.open(self.name, os.O_RDWR | os.O_CREAT)
            # Between opening and locking, the one before us may have finished and removed the file.
            if folders.lock(fd) and self.folder.is_same(self.name, fd):
                self.fd = fd
                break
            os.close(fd)
            green.sleep(0.1)
            tick()
        else:
            raise DownloadError("An earlier attempt of this job is still writing its file")
        self.facts = Facts.load(self.folder.read(self.sidecar))

    @property
    def size(self) -> int:
        """Size of the file, bytes."""
        return os.fstat(self.fd).st_size

    def usable(self) -> int:
        """Return how many first bytes of a file without segments can be relied on."""
        facts = self.facts
        if facts is None or facts.segments is not None or facts.result is not None:
            return 0
        # A process that was killed leaves all it wrote; a machine that lost power only what was on its disk.
        return self.size if facts.boot == boot_id() else min(self.size, facts.synced)

    def restart(self, facts: Facts) -> None:
        """Begin anew: no byte of another version may be there once the new sidecar is."""
        if self.size:  # ext4 makes the closing of a file wait that was truncated, be it an empty one
            os.ftruncate(self.fd, 0)
        self.folder.remove(self.map)
        self.facts = facts
        self.save()

    def save(self) -> None:
        """Write the sidecar."""
        if self.facts is not None:
            self.folder.replace(self.sidecar, self.facts.dump())

    def discard(self) -> None:
        """Remove all of it."""
        for name in (self.sidecar, self.map, self.name):
            self.folder.remove(name)
        self.facts = None

    def close(self) -> None:
        """Let go of the part; one without a byte is removed."""
        if self.fd < 0:
            return
        try:
            finished = self.facts is not None and self.facts.result is not None
            if not finished and self.size == 0 and self.folder.is_same(self.name, self.fd):
                self.discard()
        finally:
            os.close(self.fd)
            self.fd = -1
