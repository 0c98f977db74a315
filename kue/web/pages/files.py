"""The finished files: list, send, delete. Files are always sent as attachments, never displayed."""

from __future__ import annotations

import datetime
import errno
import mimetypes
import os
import re
import time
from pathlib import Path
from typing import IO, Any

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import FileWrapper

from kue.errors import JobNotFound
from kue.web.access.audit import audit
from kue.web.answers import SafeResponse
from kue.web.errors import error_response, wants_page
from kue.web.live.current import queue
from kue.web.pages.download_folder import add_jobs, list_files, open_file
from kue.web.present.job_row import result_file, result_host

files = Blueprint("files", __name__)

#: Maximum number of files on the page, the newest.
MAX_FILES = 500
CHUNK_BYTES = 256 * 1024
#: A file may be HTML with scripts: if it is opened in a browser, it must have no rights here.
FILE_POLICY = "sandbox; default-src 'none'"


class _Pieces(FileWrapper):
    """A file in large chunks. Yields to other requests after each one, since a fast reader would never block."""

    def __next__(self) -> bytes:
        time.sleep(0)
        return super().__next__()


def _folder() -> Path:
    folder: Path = current_app.config["KUE_SETTINGS"].download_dir
    return folder


def _missing(message: str) -> Any:
    """Respond with 404 and the reason."""
    if wants_page():
        page = render_template("error.html", status=404, message=message)
        abort(SafeResponse(page, 404, mimetype="text/html"))
    abort(error_response(404, message))


def _open(name: str) -> tuple[IO[bytes], str]:
    """Open a finished file by its name, or by the id of its job; 404 with the reason if it is not there."""
    file = open_file(_folder(), name)
    if file is not None:
        return file, name
    number = name if re.fullmatch(r"[1-9][0-9]{0,15}", name) else _id_in(name)
    if not number or int(number) >= 2**53:
        return _missing("no such file: it was deleted, or its download never finished")  # type: ignore[no-any-return]
    try:
        job = queue().get(int(number))
    except JobNotFound:
        words = f"job {name} does not exist" if name == number else "no such file, and its job was removed"
        return _missing(words)  # type: ignore[no-any-return]
    found = result_file(job)
    if name not in (number, found):  # another file whose name contains this job's id
        return _missing("no such file: it was deleted, or its download never finished")  # type: ignore[no-any-return]
    if found is None:
        return _missing(f"job {number} is {job.state} and has no file")  # type: ignore[no-any-return]
    file = open_file(_folder(), found)
    if file is None:
        host = result_host(job)
        where = f"is on {host}, which downloaded it, not on this machine" if host else "was deleted"
        return _missing(f"the file of job {number} {where}: {found}")  # type: ignore[no-any-return]
    return file, found


def _id_in(name: str) -> str:
    """Return the job id in a file's name, "" if there is none."""
    found = re.match(r"[0-9]{14}-([1-9][0-9]{0,15})-", name)
    return found[1] if found else ""


@files.get("/files")
def page() -> ResponseReturnValue:
    """The list of files: as a page, or as JSON if requested."""
    found = list_files(_folder())
    shown = found[:MAX_FILES]
    add_jobs(queue(), _folder(), shown)
    total_bytes = sum(each["size"] for each in found)
    accepted = request.accept_mimetypes
    if accepted["application/json"] > accepted["text/html"]:
        return jsonify({"files": shown, "total": len(found), "total_bytes": total_bytes})
    return render_template(
        "pages/files.html",
        page="files",
        files=shown,
        total=len(found),
        total_bytes=total_bytes,
        counts=queue().counts(),
        nolive=True,
    )


@files.get("/files/<path:name>")
def download(name: str) -> ResponseReturnValue:
    """Send a file or a range of it, by name or by its job's id, always as an attachment."""
    file, name = _open(name)
    facts = os.fstat(file.fileno())
    response = Response(_Pieces(file, CHUNK_BYTES), direct_passthrough=True)
    response.call_on_close(file.close)
    response.mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response.content_length = facts.st_size
    response.last_modified = datetime.datetime.fromtimestamp(int(facts.st_mtime), datetime.UTC)
    response.set_etag(f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}")
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Content-Security-Policy"] = FILE_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-cache"
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=facts.st_size)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    if response.status_code == 304:
        file.close()  # werkzeug does not close files that it does not send
    return response


@files.delete("/files/<path:name>")
def delete(name: str) -> ResponseReturnValue:
    """Delete a file irreversibly, by name or by its job's id. The job stays."""
    file, name = _open(name)
    file.close()
    try:
        os.unlink(_folder() / name)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return error_response(404, "the file is already deleted")
        return error_response(409, f"cannot delete the file: {exc.strerror}")
    audit("delete", f"file {name!r}")
    return jsonify({"message": "deleted"})
