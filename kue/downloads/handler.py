"""The handler of download jobs: ``queue.process("startdownload", n, DownloadHandler(folder))``."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from kue.errors import JobCancelled

from . import messages
from .attempt import Transfer
from .errors import DownloadError, DownloadFailed, DownloadPostponed
from .files.disk_space import NO_ROOM_MS
from .files.folder import NO_ROOM, Folder, lock
from .files.partial import Facts, Part, part_key
from .http import urls
from .http.address_guard import Guard, Resolver
from .http.connection import Network
from .http.fetch import Source
from .http.watchdog import Patience
from .limits import DownloadLimits, HostBusy, check_limit
from .progress import JobLike, Progress
from .request import Bounds, Order, Result

#: Attempts and backoff for a download job, unless its sender says otherwise.
ATTEMPTS = 5
BACKOFF = {"type": "exponential", "delay": 1000, "maxDelay": 60_000, "jitter": 0.3}
MAX_BYTES = 10 * 1024**3
MIN_FREE = 256 * 1024**2
#: How long a job waits before it looks again whether its host has a slot for it, ms.
HOST_BUSY_MS = 2000
#: Time between two sweeps of the folder, seconds.
SWEEP_S = 3600.0
#: How long the sidecar of a finished file stays, and how long a part that nobody touches, seconds.
KEEP_DONE_S, KEEP_PART_S = 600.0, 7 * 86400.0
#: What stands beside a part.
_BESIDE = re.compile(r"\.(\w+-[0-9a-f]{10})\.(json|map|json\.tmp|map\.tmp)")


class DownloadHandler:
    """Downloads the URL of a job into ``folder``. One instance serves any number of jobs at once.

    ``folder``: where finished files go; it is made if it is missing.
    ``allow``: hosts, addresses and networks that may be connected to beside the public ones, see ``guard.AllowList``.
    ``max_bytes``: biggest file. ``min_free``: room that must stay free on the disk, bytes.
    ``limits``, or ``slots``, ``per_host`` and ``rate`` to make one: see ``DownloadLimits``; change it while running.
    ``patience``: how long a server may take. ``verify``: False, or a file of CA certificates, as in requests.
    ``env_proxies``: use HTTP_PROXY and its kin; the proxy then decides where a name leads.
    ``keep_cancelled``: whether the bytes of a cancelled job stay for a while, so that it could go on if it is retried;
    a job's own ``keep_partial`` goes before it, and a cancel that says ``discard`` before both.
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
        self._sweep_due = 0.0
        self._sweep()

    def __call__(self, job: JobLike) -> Result:
        """Run one attempt of ``job``.

        Raises DownloadError if another attempt may succeed, DownloadFailed (an UnrecoverableError) if not, and
        DownloadPostponed (a RetryLater) if it should wait. Interrupts pass through; the bytes so far stay.
        """
        self._sweep()
        order = Order.read(job.id, job.data)
        progress = Progress(job, self._clock)
        network = Network(self._guard, self._patience, progress.tick)
        source = Source(order.url, network, progress.log, verify=self._verify, env_proxies=self._env_proxies)
        made = getattr(job, "attempts_made", 0)
        if made:
            progress.log(f"Attempt {made + 1} of {job.options.attempts}")  # type: ignore[attr-defined]
        key = part_key(job.id, order.url, getattr(job, "created_at", None))

        def waits() -> None:
            progress.log(f"Waiting for a slot: {self.limits.running()} downloads are running")

        try:
            with self.limits.slot(source.host, progress.tick, waits), Folder(self.folder) as folder:
                part = Part(folder, key)
                try:
                    part.claim(progress.tick)
                    transfer = Transfer(
                        order, source, part, progress, self.limits, self.bounds, now=self._now, clock=self._clock
                    )
                    result = transfer.run()
                    result["host"] = socket.gethostname()
                except JobCancelled as exc:
                    if part.fd >= 0 and not self._keeps(order, str(exc)):
                        part.discard()
                    raise
                finally:
                    part.close()
                self._forget_finished(folder, part.sidecar)
        except HostBusy as exc:
            count = "one download is" if exc.running == 1 else f"{exc.running} downloads are"
            raise DownloadPostponed(
                HOST_BUSY_MS, f"Waiting for {source.host}: {count} running from there", counts=False
            ) from None
        except OSError as exc:
            raise self._disk_error(exc) from exc
        progress.log(f"Saved {messages.size(result['bytes'])} as {result['file']}")
        return result

    def _keeps(self, order: Order, reason: str) -> bool:
        """Tell whether the bytes stay of a job that was taken away: for ``reason``, in the queue's words."""
        if reason in ("discarded", "removed"):
            return False
        if reason != "cancelled":
            return True  # paused, or moved by hand
        return self._keep_cancelled if order.keep_partial is None else order.keep_partial

    def change(self, **limits: int | None) -> None:
        """Change ``slots``, ``per_host``, ``rate`` (None: no limit) or ``min_free``; running downloads follow.

        Raises ValueError, and then changes nothing, for what cannot be.
        """
        checked = {name: check_limit(name, number) for name, number in limits.items()}
        for name, number in checked.items():
            if name == "min_free":
                self.bounds.min_free = number or 0
            else:
                setattr(self.limits, name, number)

    def current(self) -> dict[str, int | None]:
        """Return the limits as ``change`` takes them."""
        limits = self.limits
        return {
            "slots": limits.slots,
            "per_host": limits.per_host,
            "rate": limits.rate,
            "min_free": self.bounds.min_free,
        }

    def check_url(self, url: object) -> None:
        """Raise InvalidUrl(code, message) for a URL that this handler would refuse without asking anybody."""
        urls.check_url(url, self._guard.allow)

    def discard(self, job: JobLike) -> bool:
        """Remove what a job that is not running has left half-finished; see ``discard_part``."""
        return discard_part(self.folder, job)

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
        """Now and then remove what was left: sidecars of finished files, and parts that nobody came back for."""
        now = self._now()
        if now < self._sweep_due or not self.folder.is_dir():
            return
        self._sweep_due = now + SWEEP_S
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
                elif (beside := _BESIDE.fullmatch(name)) and age_s > KEEP_DONE_S:
                    facts = Facts.load(folder.read(name)) if beside[2] == "json" else None
                    done = facts is not None and facts.result is not None
                    if done or (age_s > KEEP_PART_S and folder.stat(f"{beside[1]}.part") is None):
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


def discard_part(path: Path, job: JobLike) -> bool:
    """Remove what a job that is not running has left half-finished in a folder; return whether there was anything.

    ``job`` as read from the queue: an object fresh from ``save`` may differ in ``created_at`` by a little.
    """
    try:
        order = Order.read(job.id, job.data)
    except DownloadError:
        return False  # it was no download
    if not path.is_dir():
        return False
    with Folder(path) as folder:
        part = Part(folder, part_key(job.id, order.url, getattr(job, "created_at", None)))
        if folder.stat(part.name) is None:
            return False
        part.claim(lambda: None)
        try:
            part.discard()
        finally:
            part.close()
    return True
