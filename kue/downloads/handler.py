"""The handler of download jobs: ``queue.process("startdownload", n, DownloadHandler(folder))``."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kue.errors import JobCancelled

from . import messages
from .addresses import urls
from .addresses.address_guard import Guard, Resolver
from .attempt import Transfer
from .errors import DownloadError, DownloadPostponed
from .files.folder import Folder, lock
from .files.local_errors import explain
from .files.partial import Part, PartState, part_key
from .http.connection import Network
from .http.fetch import Source
from .http.proxy import Proxy, parse_proxy
from .http.timeouts import Timeouts
from .http.tls import TlsOptions
from .limits import DownloadLimits, HostBusy, SizeLimits, check_limit
from .progress import JobLike, Progress
from .request import DownloadRequest, Result
from .shared_limits import SharedLimits

#: Attempts and backoff for a download job, unless its sender says otherwise.
ATTEMPTS = 5
BACKOFF = {"type": "exponential", "delay": 1000, "maxDelay": 60_000, "jitter": 0.3}
MAX_BYTES = 10 * 1024**3
MIN_FREE = 256 * 1024**2
#: Delay before a job checks again for a free slot of its host, ms.
HOST_BUSY_MS = 2000
#: Interval between sweeps of the folder, seconds.
SWEEP_S = 3600.0
#: How long to keep the sidecar of a finished file, and an unused partial file, seconds.
KEEP_DONE_S, KEEP_PART_S = 600.0, 7 * 86400.0
#: Files beside a partial file.
_BESIDE = re.compile(r"\.(\w+-[0-9a-f]{10})\.(json|map|json\.tmp|map\.tmp)")


class DownloadHandler:
    """Download the URL of a job into ``folder``. One instance serves any number of jobs at the same time.

    ``folder``: directory of finished files, created if missing.
    ``allow``: hosts, addresses and networks to allow in addition to public addresses, see ``AllowList``.
    ``max_bytes``: largest file. ``min_free``: disk space to keep free, bytes.
    ``limits``, or ``slots``, ``per_host`` and ``rate`` to create one: see ``DownloadLimits``.
    ``timeouts``: how long a server may take. ``verify``: a file of CA certificates, or False for no verification.
    ``ca_bundle``: a file of additional CA certificates. ``client_cert``: a PEM file with client certificate and key.
    ``proxy``: URL of a proxy for all downloads; a job's own ``proxy`` overrides it.
    ``env_proxies``: use HTTP_PROXY and the like; the proxy then resolves the names.
    ``own_folder``: the folder holds downloads only, so file names get date and job id, and old partial files are swept;
    False: plain names, and only files of the running jobs are touched.
    ``exact_names``: take a job's ``filename`` as it is: one component of a path, which its sender may choose freely.
    ``keep_cancelled``: whether to keep the partial file of a cancelled job, so that a retry resumes; a job's own
    ``keep_partial`` overrides it, and a cancel with ``discard`` overrides both.
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
        timeouts: Timeouts | None = None,
        verify: bool | str = True,
        ca_bundle: str | None = None,
        client_cert: str | None = None,
        proxy: str | None = None,
        env_proxies: bool = False,
        keep_cancelled: bool = True,
        own_folder: bool = True,
        exact_names: bool = False,
        resolve: Resolver | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(folder)
        self.limits = limits or DownloadLimits(slots, per_host, rate)
        self.size_limits = SizeLimits(max_bytes, min_free)
        self._guard = Guard(allow, resolve)
        self._timeouts = timeouts or Timeouts()
        self._tls = TlsOptions(verify, ca_bundle, client_cert)
        self._proxy = _proxy(proxy) if proxy else None
        self._env_proxies, self._keep_cancelled = env_proxies, keep_cancelled
        self._now, self._clock = now, clock
        self._own_folder, self._exact_names = own_folder, exact_names
        #: Limits shared with other processes, set by LimitFollower. Without it, limits apply to this process only.
        self.shared: SharedLimits | None = None
        self._attempts: set[object] = set()
        self._finished: deque[tuple[float, str]] = deque()
        self._sweep_due = 0.0
        self._sweep()

    def __call__(self, job: JobLike) -> Result:
        """Run one attempt of ``job``.

        Raises DownloadError if another attempt may succeed, DownloadFailed (an UnrecoverableError) if not, and
        DownloadPostponed (a RetryLater) if it should wait. Interrupts pass through and keep the partial file.
        """
        mark = object()
        self._attempts.add(mark)
        try:
            return self._run(job)
        finally:
            self._attempts.discard(mark)

    def _run(self, job: JobLike) -> Result:
        self._sweep()
        request = DownloadRequest.parse(job.data, job.id, self._guard.allow)
        progress = Progress(job, self._clock)
        network = Network(self._guard, self._timeouts, progress.tick, self._tls)
        source = Source(request, network, progress.log, proxy=self._proxy, env_proxies=self._env_proxies)
        made = getattr(job, "attempts_made", 0)
        if made:
            progress.log(f"Attempt {made + 1} of {job.options.attempts}")  # type: ignore[attr-defined]
        key = part_key(job.id, request.url, getattr(job, "created_at", None))

        def waits() -> None:
            progress.log(f"Waiting for a download slot ({self.limits.running()} in use)")

        try:
            with (
                self.limits.slot(source.host, progress.tick, waits),
                self._shared_slot(job, source.host),
                Folder(self.folder) as folder,
            ):
                part = Part(folder, key)
                try:
                    part.lock(progress.tick)
                    transfer = Transfer(
                        request,
                        source,
                        part,
                        progress,
                        self.limits,
                        self.size_limits,
                        now=self._now if self._own_folder else None,
                        exact_names=self._exact_names,
                        clock=self._clock,
                    )
                    result = transfer.run()
                    result["host"] = socket.gethostname()
                except JobCancelled as exc:
                    if part.fd >= 0 and not self._keeps(request, str(exc)):
                        part.discard()
                    raise
                finally:
                    part.close()
                self._forget_finished(folder, part.sidecar)
        except HostBusy as exc:
            count = "1 download" if exc.running == 1 else f"{exc.running} downloads"
            raise DownloadPostponed(
                HOST_BUSY_MS, f"Waiting: {count} from {source.host} already running", counts=False
            ) from None
        except OSError as exc:
            raise explain(exc) from exc
        progress.log(f"Saved {messages.size(result['bytes'])} as {result['file']}")
        return result

    def _shared_slot(self, job: JobLike, host: str) -> AbstractContextManager[None]:
        return nullcontext() if self.shared is None else self.shared.slot(job, host, self.limits.per_host)

    def share_rate(self) -> None:
        """Update the number of downloads in other processes, with which this process shares the rate."""
        if self.shared is not None and self.limits.rate is not None:
            self.limits.others = self.shared.running_elsewhere(len(self._attempts))

    def _keeps(self, request: DownloadRequest, reason: str) -> bool:
        """Return whether to keep the partial file of a job that was interrupted for ``reason``."""
        if reason in ("discarded", "removed"):
            return False
        if reason != "cancelled":
            return True  # suspended, or moved to another state
        return self._keep_cancelled if request.keep_partial is None else request.keep_partial

    def change(self, **limits: int | None) -> None:
        """Change ``slots``, ``per_host``, ``rate`` (None: no limit) or ``min_free``; running downloads follow.

        Raises ValueError, and then changes nothing, for an invalid limit.
        """
        checked = {name: check_limit(name, number) for name, number in limits.items()}
        for name, number in checked.items():
            if name == "min_free":
                self.size_limits.min_free = number or 0
            else:
                setattr(self.limits, name, number)

    def current(self) -> dict[str, int | None]:
        """Return the limits as keyword arguments of ``change``."""
        limits = self.limits
        return {
            "slots": limits.slots,
            "per_host": limits.per_host,
            "rate": limits.rate,
            "min_free": self.size_limits.min_free,
        }

    def check_url(self, url: object) -> None:
        """Raise InvalidUrl(code, message) for a URL that this handler refuses without connecting."""
        urls.check_url(url, self._guard.allow)

    def check_folder(self) -> None:
        """Create the folder if it is missing, and raise DownloadError if no file can be made in it."""
        try:
            with Folder(self.folder) as folder:
                folder.replace(".writable", b"")
                folder.remove(".writable")
        except OSError as exc:
            raise explain(exc, creating=True) from None

    def discard(self, job: JobLike) -> bool:
        """Remove the partial file of a job that is not running; see ``discard_part``."""
        return discard_part(self.folder, job)

    def forget(self, job: JobLike) -> None:
        """Forget a finished job at once, so that the same one downloads again."""
        request = DownloadRequest.parse(job.data, job.id, self._guard.allow)
        with Folder(self.folder) as folder:
            folder.remove(Part(folder, part_key(job.id, request.url, getattr(job, "created_at", None))).sidecar)

    def _forget_finished(self, folder: Folder, sidecar: str) -> None:
        """Remove sidecars of files whose jobs were acknowledged long ago."""
        now = self._clock()
        self._finished.append((now + KEEP_DONE_S, sidecar))
        while self._finished and self._finished[0][0] < now:
            folder.remove(self._finished.popleft()[1])

    def _sweep(self) -> None:
        """Once an hour, remove sidecars of finished files and abandoned partial files."""
        now = self._now()
        if not self._own_folder or now < self._sweep_due or not self.folder.is_dir():
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
                    state = PartState.load(folder.read(name)) if beside[2] == "json" else None
                    done = state is not None and state.result is not None
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


def _proxy(url: str) -> Proxy:
    """Read the argument ``proxy``. Raises ValueError, also for a URL without a scheme, since there are four."""
    if "://" not in url:
        raise ValueError(f"proxy: {url!r} has no scheme; write http://{url}, or https://, socks5:// or socks5h://")
    try:
        return parse_proxy(url, is_trusted=True)
    except ValueError as exc:
        raise ValueError(f"proxy: {exc}") from None


def discard_part(path: Path, job: JobLike) -> bool:
    """Remove the partial file of a job that is not running; return whether there was one.

    Pass ``job`` as read from the queue: an object fresh from ``save`` may differ slightly in ``created_at``.
    """
    try:
        request = DownloadRequest.parse(job.data, job.id, ["*"])
    except DownloadError:
        return False  # not a download
    if not path.is_dir():
        return False
    with Folder(path) as folder:
        part = Part(folder, part_key(job.id, request.url, getattr(job, "created_at", None)))
        if folder.stat(part.name) is None:
            return False
        part.lock(lambda: None)
        try:
            part.discard()
        finally:
            part.close()
    return True
