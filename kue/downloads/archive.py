"""Archive the files of finished downloads as one zip file: the handler of the job that waits for them."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypedDict
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from kue.job import Job
from kue.states import COMPLETE, FAILED

from . import messages
from .errors import DownloadFailed
from .files.disk_space import SPACE_S, Disk
from .files.filenames import final_name, numbered, plain_name, safe_name
from .files.folder import Folder
from .files.local_errors import explain
from .files.partial import Part, PartState, boot_id, part_key
from .finish import DIGEST_ATTRIBUTE, QUARANTINE, already_done
from .limits import SizeLimits
from .progress import Progress

#: The type of archive jobs.
ARCHIVE_TYPE = "archive"
FALLBACK = "downloads.zip"
CHUNK_BYTES = 256 * 1024
#: Maximum number of missing files listed in a result.
MAX_NAMED = 100
#: Fast: most files that people download are compressed already.
LEVEL = 1


class MissingFile(TypedDict):
    """A file missing from the archive."""

    job: int | str | None
    "The id of its download; None for downloads that were removed."
    why: str


class ArchiveResult(TypedDict):
    """The result of an archive job."""

    file: str
    "Name of the archive in the download folder."
    bytes: int
    sha256: str
    host: str
    "Name of the machine with the file."
    files: int
    "How many files it holds."
    missing_total: int
    missing: list[MissingFile]
    "The first MAX_NAMED of those that it does not hold."


class _Found(NamedTuple):
    name: str
    size: int


class ArchiveBuilder:
    """Write a zip archive of the files that a job's children left in ``folder``, into the same folder.

    It holds the files that arrived, and its result names the missing ones. Files are read and written in pieces; the
    archive appears under its name when it is complete. ``min_free``: disk space to keep free, bytes. Raises
    DownloadFailed if there is no file at all, DownloadPostponed while the disk is full, DownloadError if another
    attempt may succeed.
    """

    def __init__(self, folder: Path | str, *, min_free: int = 0) -> None:
        self.folder = Path(folder)
        self._limits = SizeLimits(0, min_free)

    def __call__(self, job: Job) -> ArchiveResult:
        """Build the archive of ``job``. A stopped attempt leaves nothing behind; the next one starts over."""
        progress = Progress(job)
        try:
            with Folder(self.folder) as folder:
                part = Part(folder, part_key(job.id, ARCHIVE_TYPE, job.created_at))
                try:
                    part.lock(progress.tick)
                    done = already_done(part, progress)
                    return done or self._build(job, part, progress)  # type: ignore[return-value]
                except BaseException:
                    if part.fd >= 0:
                        part.discard()
                    raise
                finally:
                    part.close()
        except OSError as exc:
            raise explain(exc) from exc

    def _build(self, job: Job, part: Part, progress: Progress) -> ArchiveResult:
        found, missing, missing_total = _look(job, part.folder)
        if not found:
            raise DownloadFailed(f"There is nothing to archive: {_count(missing_total, 'file')} missing")
        disk, total = Disk(part, self._limits), sum(each.size for each in found)
        disk.need_room(total)
        part.restart(_state(job))
        progress.begin(0, total)
        progress.log(f"Archiving {_count(len(found), 'file')}, {messages.size(total)}")
        names, files = _Names(), 0
        with os.fdopen(os.dup(part.fd), "r+b") as out, ZipFile(out, "w", ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for each in found:
                try:
                    fd = part.folder.open(each.name, os.O_RDONLY)
                except OSError:  # deleted since
                    missing_total += 1
                    missing.append({"job": None, "why": f"{each.name} was deleted meanwhile"})
                    continue
                with os.fdopen(fd, "rb", buffering=0) as file:
                    _add(archive, file, names.free(plain_name(each.name)), disk, progress)
                files += 1
        return self._publish(part, progress, files, missing[:MAX_NAMED], missing_total)

    def _publish(
        self, part: Part, progress: Progress, files: int, missing: list[MissingFile], missing_total: int
    ) -> ArchiveResult:
        state = part.state
        assert state is not None
        os.fsync(part.fd)
        digest = _sha256(part.fd, progress)
        try:
            os.setxattr(part.fd, DIGEST_ATTRIBUTE, digest.encode())
        except (OSError, AttributeError):
            pass
        result: ArchiveResult = {
            "file": part.folder.publish(part.name, part.fd, state.name),
            "bytes": part.size,
            "sha256": digest,
            "host": socket.gethostname(),
            "files": files,
            "missing_total": missing_total,
            "missing": missing,
        }
        # The sidecar stays for a while: if the acknowledgement is lost, the next attempt finds the finished archive.
        state.result = dict(result)
        part.save()
        part.folder.remove(part.name)
        part.folder.sync()
        absent = f"; {_count(missing_total, 'file')} missing" if missing_total else ""
        progress.log(f"Saved {_count(files, 'file')}, {messages.size(result['bytes'])}, as {result['file']}{absent}")
        return result


def _look(job: Job, folder: Folder) -> tuple[list[_Found], list[MissingFile], int]:
    """Return the files of a job's children, the missing ones, and the number of missing ones."""
    found: list[_Found] = []
    missing: list[MissingFile] = []
    absent = seen = 0
    names: set[str] = set()
    for child in job.children():
        seen += 1
        name, why = _file_of(child)
        size = _size(folder, name) if name else None
        if size is None:
            absent += 1
            if len(missing) < MAX_NAMED:
                missing.append({"job": child.id, "why": why or "its file was deleted"})
        elif name not in names:
            names.add(name)
            found.append(_Found(name, size))
    if removed := max(0, job.children_total - seen):
        absent += removed
        missing.append({"job": None, "why": f"{_count(removed, 'download')} removed"})
    return found, missing, absent


def _file_of(child: Job) -> tuple[str, str]:
    """Return the name of a download's file, or "" and the reason why there is none, or where it may be."""
    if child.state == FAILED:
        lines = str(child.error or "").strip().splitlines()
        return "", f"failed: {lines[0]}" if lines else "failed"
    name = child.result.get("file") if isinstance(child.result, dict) else None
    if child.state != COMPLETE or not isinstance(name, str):
        return "", f"is {child.state} and has no file"
    host = child.result.get("host")
    return name, f"its file is on {host}" if host not in (None, socket.gethostname()) else ""


def _size(folder: Folder, name: str) -> int | None:
    """Return the size of a finished file, None if there is no such file."""
    if name.startswith(".") or name.endswith((".part", QUARANTINE)):
        return None
    try:
        fd = folder.open(name, os.O_RDONLY)
    except (OSError, ValueError):
        return None
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def _add(archive: ZipFile, file: IO[bytes], name: str, disk: Disk, progress: Progress) -> None:
    """Copy one file into the archive."""
    changed = time.localtime(os.fstat(file.fileno()).st_mtime)
    info = ZipInfo(name, max(changed[:6], (1980, 1, 1, 0, 0, 0)))
    info.compress_type, info.external_attr = ZIP_DEFLATED, 0o644 << 16
    info._compresslevel = LEVEL  # type: ignore[attr-defined]
    due = time.monotonic() + SPACE_S
    with archive.open(info, "w", force_zip64=True) as out:
        for piece in _pieces(file):
            out.write(piece)
            progress.advance(len(piece))
            if time.monotonic() >= due:
                due = time.monotonic() + SPACE_S
                disk.need_room()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece


def _sha256(fd: int, progress: Progress) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, CHUNK_BYTES, at):
        digest.update(piece)
        at += len(piece)
        progress.tick()
    return digest.hexdigest()


class _Names:
    """Names inside an archive, unique even on case-insensitive file systems."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def free(self, name: str) -> str:
        """Return ``name``, or a similar name that is not taken."""
        chosen = name
        while chosen.casefold() in self._taken:
            self._taken[name.casefold()] += 1
            chosen = numbered(name, self._taken[name.casefold()])
        self._taken[chosen.casefold()] = 1
        return chosen


def _state(job: Job) -> PartState:
    wanted = job.data.get("filename") if isinstance(job.data, dict) else None
    name = (safe_name(wanted) if isinstance(wanted, str) else "") or FALLBACK
    if not name.lower().endswith(".zip"):
        name += ".zip"
    return PartState(
        url="", final_url="", validator=None, length=None, name=final_name(name, job.id, time.time()),
        content_type="application/zip", coding=None, redirects=0, boot=boot_id(),
    )  # fmt: skip


def _count(number: int, word: str) -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def archive_data(count: int) -> dict[str, Any]:
    """Return the data of a job that archives ``count`` downloads."""
    return {"title": f"Archive of {_count(count, 'download')}", "filename": FALLBACK}
