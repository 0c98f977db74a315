"""The handler of download jobs: ``queue.process("startdownload", n, DownloadHandler(folder))``."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from kue.errors import JobCancelled

from . import urls, words
from .connection import Network, Patience
from .disk import NO_ROOM_MS
from .errors import DownloadError, DownloadFailed, DownloadPostponed
from .fetch import Source
from .folder import NO_ROOM, Folder, lock
from .guard import Guard, Resolver
from .limits import DownloadLimits
from .order import Bounds, Order, Result
from .progress import JobLike, Progress
from .sidecar import Facts, Part, part_key
from .transfer import Transfer

#: Attempts and backoff for a download job, unless its sender says otherwise.
ATTEMPTS = 5
BACKOFF = {"type": "exponential", "delay": 1000, "maxDelay": 60_000, "jitter": True}
MAX_BYTES = 10 * 1024**3
MIN_FREE = 256 * 1024**2
#: How long the sidecar of a finished file stays, and how long a part that nobody touches, seconds.
KEEP_DONE_S, KEEP_PART_S = 600.0, 7 * 86400.0


class DownloadHandler:
    """Downloads the URL of a job into ``folder``. One instance serves any number of jobs at once.

    ``folder``: where finished files go; it is made if it is missing.
    ``allow``: hosts, addresses and networks that may be connected to beside the public ones, see ``guard.AllowList``.
    ``max_bytes``: biggest file. ``min_free``: room that must stay free on the disk, bytes.
    ``limits``, or ``slots``, ``per_host`` and ``rate`` to make one: see ``DownloadLimits``; change it while running.
    ``patience``: how long a server may take. ``verify``: False, or a file of CA certificates, as in requests.
    ``env_proxies``: use HTTP_PROXY and its kin; the proxy then decides where a name leads.
    ``keep_cancelled``: whether the part of a cancelled job stays, so that it could go on if the job is started again.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        allow: Sequence[str] = (),
        max_bytes: int = MAX_BYTES,
        min_free: int = MIN_FREE,
        limits: DownloadLimits | None = None,
        slots: int | None = None,
        per_host: int | None = None,
        rate: int | None = None,
        patience: Patience | None = None,
        verify: bool | str = True,
        env_proxies: bool = False,
        keep_cancelled: bool = True,
        resolve: Resolver | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(folder)
        self.limits = limits or DownloadLimits(slots, per_host, rate)
        self.bounds = Bounds(max_bytes, min_free)
        self._guard = Guard(allow, resolve)
        self._patience = patience or Patience()
        self._verify, self._env_proxies, self._keep_cancelled = verify, env_proxies, keep_cancelled
        self._now, self._clock = now, clock
        self._finished: deque[tuple[float, str]] = deque()
        self._paused: set[object] = set()
        self._sweep()

    def __call__(self, job: JobLike) -> Result:
        """Run one attempt of ``job``.

        Raises DownloadError if another attempt may succeed, DownloadFailed (an UnrecoverableError) if not, and
        DownloadPostponed (a RetryLater) if it should wait. Interrupts pass through; the bytes so far stay.
        """
        order = Order.read(job.id, job.data)
        progress = Progress(job, self._clock, lambda: job.id in self._paused)
        network = Network(self._guard, self._patience, progress.tick)
        source = Source(order.url, network, progress.log, verify=self._verify, env_proxies=self._env_proxies)
        key = part_key(job.id, order.url, getattr(job, "created_at", None))

        def waits() -> None:
            progress.log(f"Waiting for a slot: {self.limits.running()} downloads are running")

        try:
            with self.limits.slot(source.host, progress.tell, waits), Folder(self.folder) as folder:
                part = Part(folder, key)
                try:
                    part.claim(progress.tell)
                    transfer = Transfer(
                        order, source, part, progress, self.limits, self.bounds, now=self._now, clock=self._clock
                    )
                    result = transfer.run()
                except JobCancelled:
                    if not self._keep_cancelled and part.fd >= 0:
                        part.discard()
                    raise
                finally:
                    part.close()
                self._forget_finished(folder, part.sidecar)
        except OSError as exc:
            raise self._disk_error(exc) from exc
        progress.log(f"Saved {words.size(result['bytes'])} as {result['file']}")
        return result

    def check_url(self, url: object) -> None:
        """Raise InvalidUrl(code, message) for a URL that this handler would refuse without asking anybody."""
        urls.check_url(url, self._guard.allow)

    def pause(self, job_id: object) -> None:
        """Let a running download of this process let go of its connection and wait; its worker stays occupied."""
        self._paused.add(job_id)

    def resume(self, job_id: object) -> None:
        """Let a paused download go on from its byte."""
        self._paused.discard(job_id)

    def discard(self, job: JobLike) -> bool:
        """Remove what a job that is not running has left half-finished; return whether there was anything.

        ``job`` as read from the queue: an object fresh from ``save`` may differ in ``created_at`` by a little.
        """
        order = Order.read(job.id, job.data)
        with Folder(self.folder) as folder:
            part = Part(folder, part_key(job.id, order.url, getattr(job, "created_at", None)))
            if folder.stat(part.name) is None:
                return False
            part.claim(lambda: None)
            try:
                part.discard()
            finally:
                part.close()
        return True

    def _disk_error(self, exc: OSError) -> DownloadError:
        if exc.errno in NO_ROOM:
            return DownloadPostponed(NO_ROOM_MS, "Waiting for room on the disk: it is full", counts=False)
        if isinstance(exc, PermissionError) or exc.errno in (30, 40):  # EROFS, ELOOP
            return DownloadFailed(f"The file may not be written in the folder for downloads: {exc.strerror}")
        return DownloadError(f"The file could not be written: {exc.strerror or type(exc).__name__}")

    def _forget_finished(self, folder: Folder, sidecar: str) -> None:
        """Remove sidecars of files that were finished a while ago: their jobs have long been acknowledged."""
        now = self._clock()
        self._finished.append((now + KEEP_DONE_S, sidecar))
        while self._finished and self._finished[0][0] < now:
            folder.remove(self._finished.popleft()[1])

    def _sweep(self) -> None:
        """Remove what earlier processes left: sidecars of finished files, and parts that nobody came back for."""
        if not self.folder.is_dir():
            return
        now = self._now()
        with Folder(self.folder) as folder:
            names = folder.names()
            for name in names:
                found = folder.stat(name) if name.endswith((".part", ".json", ".map", ".tmp")) else None
                if found is None:
                    continue
                age_s = now - found.st_mtime
                if name.endswith(".part") and age_s > KEEP_PART_S:
                    part = Part(folder, name.removesuffix(".part"))
                    self._sweep_part(part)
                elif name.startswith(".") and name.endswith(".json") and age_s > KEEP_DONE_S:
                    facts = Facts.load(folder.read(name))
                    if facts is not None and facts.result is not None:
                        folder.remove(name)

    def _sweep_part(self, part: Part) -> None:
        try:
            part.fd = part.folder.open(part.name, os.O_RDWR)
        except OSError:
            return
        try:
            if lock(part.fd):
                part.discard()
        finally:
            part.close()
