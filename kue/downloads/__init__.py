"""Downloads as jobs: resumable, checked, and kept away from addresses that are not public."""

from .errors import DownloadError, DownloadFailed, DownloadPostponed, InvalidUrl
from .handler import ATTEMPTS, BACKOFF, DownloadHandler, discard_part
from .http.address_guard import AllowList, Guard
from .http.urls import check_url, redact_url
from .http.watchdog import Patience
from .limits import DownloadLimits
from .progress import ProgressData
from .remote_limits import Follower, change_limits, changed_limits
from .request import Result

__all__ = [
    "ATTEMPTS",
    "BACKOFF",
    "AllowList",
    "DownloadError",
    "DownloadFailed",
    "DownloadHandler",
    "DownloadLimits",
    "DownloadPostponed",
    "Follower",
    "Guard",
    "InvalidUrl",
    "Patience",
    "ProgressData",
    "Result",
    "change_limits",
    "changed_limits",
    "check_url",
    "discard_part",
    "redact_url",
]
