"""Downloads as jobs: resumable, verified, and restricted to public addresses."""

from .addresses.address_guard import AllowList, Guard
from .addresses.urls import check_url, redact_url
from .archive import ARCHIVE_TYPE, ArchiveBuilder
from .errors import DownloadError, DownloadFailed, DownloadPostponed, InvalidRequest, InvalidUrl
from .handler import ATTEMPTS, BACKOFF, DownloadHandler, discard_part
from .http.timeouts import Timeouts
from .limit_follower import LimitFollower, change_limits, changed_limits
from .limits import DownloadLimits
from .progress import ProgressData
from .request import DownloadRequest, Result

#: Former names, which programs may use.
Follower, Patience = LimitFollower, Timeouts

__all__ = [
    "ARCHIVE_TYPE",
    "ATTEMPTS",
    "BACKOFF",
    "AllowList",
    "ArchiveBuilder",
    "DownloadError",
    "DownloadFailed",
    "DownloadHandler",
    "DownloadLimits",
    "DownloadPostponed",
    "DownloadRequest",
    "Follower",
    "Guard",
    "InvalidRequest",
    "InvalidUrl",
    "LimitFollower",
    "Patience",
    "Timeouts",
    "ProgressData",
    "Result",
    "change_limits",
    "changed_limits",
    "check_url",
    "discard_part",
    "redact_url",
]
