"""What an error of the file system means: wait for space, try again, or fail."""

from __future__ import annotations

import errno

from ..errors import DiskFull, DownloadError, DownloadFailed

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_FOLDER = "something in its path is not a folder"
#: Errors that another attempt would meet again, and what they mean. All others may be over soon: a network file system
#: that is away (EIO, ESTALE, ETIMEDOUT, ENOTCONN), too many open files, too little memory.
_FINAL = {
    errno.EACCES: "permission denied. Check its owner and mode",
    errno.EPERM: "its file system or mode does not permit it",
    errno.EROFS: "its file system is read-only",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "there is a folder in the place of a file",
    errno.ELOOP: "symbolic links or special files are in the way",
    errno.ENAMETOOLONG: "the name is too long for its file system",
    errno.EINVAL: "its file system does not permit such a name or file",
    errno.EILSEQ: "its file system does not permit such a name",
    errno.EFBIG: "the file is larger than its file system or a limit of this process (ulimit -f) allows",
    errno.EOVERFLOW: "the file is larger than its file system allows",
    errno.EOPNOTSUPP: "its file system cannot hold such files",
    errno.ENOSYS: "its file system cannot hold such files",
    errno.ENOENT: "its file system cannot hold files",
    errno.ENXIO: "its device does not exist",
    errno.ENODEV: "its device does not exist",
}


def explain(exc: OSError, *, creating: bool = False) -> DownloadError:
    """Return the error of a download for an error in the download folder.

    ``creating``: it occurred when a file or the folder was to be made, so that a missing name is no accident.
    """
    if exc.errno in _NO_ROOM:
        return DiskFull("the disk is full" if exc.errno == errno.ENOSPC else "the quota is used up")
    meaning = _FINAL.get(exc.errno or 0)
    if meaning is None or (exc.errno == errno.ENOENT and not creating):
        return DownloadError(f"Cannot write to the download folder: {exc.strerror or type(exc).__name__}")
    return DownloadFailed(f"Cannot write to the download folder: {meaning}")
