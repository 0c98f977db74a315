"""The end of a download: all bytes are there, so check them and give the file its name."""

from __future__ import annotations

import contextlib
import os

from kue.concurrency import real_threads

from .errors import DownloadFailed, PartChanged
from .files.digests import Hasher
from .files.partial import Part
from .progress import Progress
from .request import Order, Result

#: Added to the name of a file whose digest is wrong.
QUARANTINE = ".quarantine"
#: Where the file itself says its digest, on file systems that can: a list of files then needs no job to know it.
DIGEST_ATTRIBUTE = "user.sha256"


def finish(
    order: Order, part: Part, hasher: Hasher, progress: Progress, size: int, seconds: float, resumed_from: int
) -> Result:
    """Check the ``size`` bytes of ``part`` and publish them as a file; return the job's result.

    ``seconds`` and ``resumed_from`` are of this attempt. Raises DownloadFailed if a digest is not the one asked for:
    the file is then set aside; PartChanged if somebody else has written to it.
    """
    facts = part.facts
    assert facts is not None
    digests = hasher.finish(size, progress.tick)
    if part.size != size:
        raise PartChanged("the file on disk has another size than what was written to it")
    for algorithm, wanted in order.digests.items():
        if digests[algorithm] != wanted:
            kept = part.folder.publish(part.name, part.fd, facts.name + QUARANTINE)
            part.discard()
            raise DownloadFailed(
                f"The file is not the one asked for: its {algorithm} is {digests[algorithm]}, not {wanted}. "
                f"It is kept as {kept}",
                url=facts.final_url,
            )
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(part.fd, DIGEST_ATTRIBUTE, digests["sha256"].encode())
    real_threads.run(os.fsync, part.fd)
    result: Result = {
        "file": part.folder.publish(part.name, part.fd, facts.name),
        "bytes": size,
        "sha256": digests["sha256"],
        "url": facts.final_url,
        "content_type": facts.content_type,
        "content_encoding": facts.coding,
        "seconds": round(seconds, 3),
        "rate": int(progress.fetched / seconds),
        "redirects": facts.redirects,
        "resumed_from": resumed_from,
    }
    if "md5" in digests:
        result["md5"] = digests["md5"]
    if "sha1" in digests:
        result["sha1"] = digests["sha1"]
    # The sidecar stays a while: an attempt whose acknowledgement was lost finds its file instead of making another.
    facts.result = dict(result)
    part.save()
    part.folder.remove(part.name)
    part.folder.remove(part.map)
    part.folder.sync()
    return result


def already_done(part: Part, progress: Progress) -> Result | None:
    """Return the result of an earlier attempt that finished the file but could not say so."""
    facts = part.facts
    if facts is None or facts.result is None:
        return None
    file = facts.result.get("file")
    found = part.folder.stat(file) if isinstance(file, str) and file == os.path.basename(file) else None
    if found is None or found.st_size != facts.result.get("bytes"):
        part.facts = None
        return None
    part.folder.remove(part.name)
    progress.log("An earlier attempt had already finished the file")
    return facts.result  # type: ignore[return-value]
