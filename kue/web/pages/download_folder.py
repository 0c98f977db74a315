"""The folder of finished files: listed, and opened by name, never through links."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypedDict

from kue.downloads.finish import DIGEST_ATTRIBUTE, QUARANTINE
from kue.web.present.job_row import JobId, file_url, result_file

if TYPE_CHECKING:
    from kue.queue import Queue

#: Finished downloads are named ``YYYYMMDDHHMMSS-ID-name``.
_FINISHED = re.compile(r"\d{14}-([1-9]\d{0,15})-")


class FileView(TypedDict):
    """A finished file."""

    name: str
    size: int
    changed_at: int
    """Epoch milliseconds."""
    url: str
    job: JobId | None
    """The job that downloaded it, if it still exists."""
    sha256: str | None


def is_finished(name: str) -> bool:
    """Return whether a name is a finished file, not a partial file, a sidecar, a hidden or a renamed file."""
    return not name.startswith(".") and not name.endswith((".part", QUARANTINE))


def list_files(folder: Path) -> list[FileView]:
    """Return the finished files, newest first, without details that only their jobs have."""
    found: list[FileView] = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        try:
            if not is_finished(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            facts = entry.stat(follow_symlinks=False)
            entry.name.encode()
        except (OSError, UnicodeError):
            continue  # deleted meanwhile, or a name that pages cannot show
        found.append(
            {
                "name": entry.name,
                "size": facts.st_size,
                "changed_at": int(facts.st_mtime * 1000),
                "url": file_url(entry.name),
                "job": None,
                "sha256": None,
            }
        )
    found.sort(key=lambda view: (view["changed_at"], view["name"]), reverse=True)
    return found


def add_jobs(queue: Queue, folder: Path, views: Iterable[FileView]) -> None:
    """Add job and digest, read from Redis in one round trip; without the job, the digest is read from the file."""
    views = list(views)
    ids = {view["name"]: int(match[1]) for view in views if (match := _FINISHED.match(view["name"]))}
    jobs = {job.id: job for job in queue.get_many(sorted(set(ids.values())))}
    for view in views:
        job = jobs.get(ids.get(view["name"], 0))
        if job is not None and job.id is not None and result_file(job) == view["name"]:
            view["job"] = job.id
            digest = job.result.get("sha256")
            view["sha256"] = digest if isinstance(digest, str) else None
        else:
            view["sha256"] = _own_digest(folder / view["name"])


def _own_digest(path: Path) -> str | None:
    try:
        text = os.getxattr(path, DIGEST_ATTRIBUTE, follow_symlinks=False).decode("ascii")
    except (OSError, UnicodeError, AttributeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def open_file(folder: Path, name: str) -> IO[bytes] | None:
    """Open a finished file by its name; None for anything else, links and other folders included."""
    if "/" in name or "\0" in name or name in ("", ".", "..") or not is_finished(name):
        return None
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, UnicodeError):
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")
