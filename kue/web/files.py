"""The finished files: listed, handed out, deleted. Nothing in them is ever shown as a page of this server."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
import time
from pathlib import Path
from typing import IO, TypedDict

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import FileWrapper

from kue.web.acts import audit
from kue.web.api import queue
from kue.web.views import file_url

files = Blueprint("files", __name__)

#: Files that the page lists: the newest.
MAX_FILES = 500
CHUNK_BYTES = 256 * 1024
#: A file may be HTML with script in it: wherever it is opened, it must have no rights here.
FILE_POLICY = "sandbox; default-src 'none'"


class FileView(TypedDict):
    """A finished file."""

    name: str
    size: int
    changed_at: int
    """Epoch milliseconds."""
    url: str


class _Pieces(FileWrapper):
    """A file in large pieces, letting the other requests run between two: a fast reader would never do so itself."""

    def __next__(self) -> bytes:
        time.sleep(0)
        return super().__next__()


def _folder() -> Path:
    folder: Path = current_app.config["KUE_SETTINGS"].download_dir
    return folder


def _is_finished(name: str) -> bool:
    """Tell finished files from parts, sidecars and hidden files."""
    return not name.startswith(".") and not name.endswith(".part")


def list_files() -> list[FileView]:
    """Return the finished files, newest first."""
    found: list[FileView] = []
    try:
        entries = list(os.scandir(_folder()))
    except OSError:
        return []
    for entry in entries:
        try:
            if not _is_finished(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            facts = entry.stat(follow_symlinks=False)
            entry.name.encode()
        except (OSError, UnicodeError):
            continue  # gone meanwhile, or a name that no page can hold
        changed = int(facts.st_mtime * 1000)
        found.append({"name": entry.name, "size": facts.st_size, "changed_at": changed, "url": file_url(entry.name)})
    found.sort(key=lambda view: (view["changed_at"], view["name"]), reverse=True)
    return found


def _open(name: str) -> IO[bytes]:
    """Open a finished file by its name in the folder; 404 for anything else, links and other folders included."""
    if "/" in name or "\0" in name or name in (".", "..") or not _is_finished(name):
        abort(404)
    try:
        fd = os.open(_folder() / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, UnicodeError):
        abort(404)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        abort(404)
    return os.fdopen(fd, "rb")


@files.get("/files")
def page() -> ResponseReturnValue:
    """The list of files."""
    found = list_files()
    return render_template(
        "files.html",
        page="files",
        files=found[:MAX_FILES],
        total=len(found),
        total_bytes=sum(each["size"] for each in found),
        counts=queue().counts(),
        nolive=True,
    )


@files.get("/files/<path:name>")
def download(name: str) -> ResponseReturnValue:
    """Hand out a file: always as an attachment, whole or a range."""
    file = _open(name)
    facts = os.fstat(file.fileno())
    response = Response(_Pieces(file, CHUNK_BYTES), direct_passthrough=True)
    response.call_on_close(file.close)
    response.mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response.content_length = facts.st_size
    response.last_modified = int(facts.st_mtime)
    response.set_etag(f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}")
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Content-Security-Policy"] = FILE_POLICY
    response.headers["Cache-Control"] = "private, no-cache"
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=facts.st_size)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    if response.status_code == 304:
        file.close()  # werkzeug does not close what it does not send
    return response


@files.delete("/files/<path:name>")
def delete(name: str) -> ResponseReturnValue:
    """Delete a file for good."""
    _open(name).close()
    try:
        os.unlink(_folder() / name)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            abort(404)
        return jsonify({"error": f"the file cannot be deleted: {exc.strerror}"}), 409
    audit("delete", f"file {name!r}")
    return jsonify({"message": "deleted"})
