"""Downloads as jobs: resumable, checked, and kept away from addresses that are not public."""

from .control import Follower, change_limits, changed_limits
from .errors import DownloadError, DownloadFailed, DownloadPostponed, InvalidUrl
from .guard import AllowList, Guard
from .handler import ATTEMPTS, BACKOFF, DownloadHandler, discard_part
from .limits import DownloadLimits
from .meter import Patience
from .order import Result
from .progress import ProgressData
from .urls import check_url, redact_url

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
