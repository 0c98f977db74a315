"""Finish a download: verify the digests, sync the file and rename it."""

from __future__ import annotations

import contextlib
import os

from kue.concurrency import real_threads

from .errors import DownloadFailed, PartChanged
from .files.digests import Hasher
from .files.filenames import suffixed
from .files.partial import Part
from .progress import Progress
from .request import DownloadRequest, Result

#: Suffix of a file whose digest is wrong.
QUARANTINE = ".quarantine"
#: Extended attribute with the file's digest, so that a list of files needs no job to know it.
DIGEST_ATTRIBUTE = "user.sha256"


def finish(
    request: DownloadRequest,
    part: Part,
    hasher: Hasher,
    progress: Progress,
    size: int,
    seconds: float,
    resumed_from: int,
) -> Result:
    """Verify the ``size`` bytes of ``part`` and publish them as a file; return the job's result.

    ``seconds`` and ``resumed_from`` are of this attempt. Raises DownloadFailed if a digest does not match (the file is
    quarantined), PartChanged if another program wrote to the file.
    """
    state = part.state
    assert state is not None
    digests = hasher.finish(size, progress.tick)
    if part.size != size:
        raise PartChanged("another program changed the partial file")
    expected = [(kind, digest, "") for kind, digest in request.digests.items()]
    expected += [(kind, digest, name) for kind, (digest, name) in state.digests.items()]
    for algorithm, wanted, header in expected:
        if digests[algorithm] != wanted:
            kept = part.folder.publish(part.name, part.fd, suffixed(state.name, QUARANTINE))
            part.discard()
            raise DownloadFailed(
                f"Checksum mismatch: {algorithm} is {digests[algorithm]}, expected {wanted}"
                + (f" (from the server's {header} header)" if header else "")
                + f". The file was kept as {kept}",
                url=state.final_url,
            )
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(part.fd, DIGEST_ATTRIBUTE, digests["sha256"].encode())
    real_threads.run(os.fsync, part.fd)
    result: Result = {
        "file": part.folder.publish(part.name, part.fd, state.name),
        "bytes": size,
        "sha256": digests["sha256"],
        "url": state.final_url,
        "content_type": state.content_type,
        "content_encoding": state.coding,
        "seconds": round(seconds, 3),
        "rate": int(progress.fetched / seconds),
        "redirects": state.redirects,
        "resumed_from": resumed_from,
    }
    if "md5" in request.digests:
        result["md5"] = digests["md5"]
    if "sha1" in request.digests:
        result["sha1"] = digests["sha1"]
    if state.digests:
        result["verified"] = [f"{name}: {kind}" for kind, (_, name) in state.digests.items()]
        progress.log(f"Verified the checksum against the server's {', '.join(result['verified'])}")
    # The sidecar stays for a while: if the acknowledgement is lost, the next attempt finds the finished file.
    state.result = dict(result)
    part.save()
    part.folder.remove(part.name)
    part.folder.remove(part.map)
    part.folder.sync()
    return result


def already_done(part: Part, progress: Progress) -> Result | None:
    """Return the result of an earlier attempt that finished the file but was not acknowledged, or None."""
    state = part.state
    if state is None or state.result is None:
        return None
    file = state.result.get("file")
    found = part.folder.stat(file) if isinstance(file, str) and file == os.path.basename(file) else None
    if found is None or found.st_size != state.result.get("bytes"):
        part.state = None
        return None
    part.folder.remove(part.name)
    progress.log("An earlier attempt already finished the file")
    return state.result  # type: ignore[return-value]
