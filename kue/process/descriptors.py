"""The limit of open file descriptors, and the number reserved for internal use."""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Assumed limit where the system does not tell.
UNKNOWN = 1024
#: Reserved for Redis, files, templates and downloads: a third of the limit, between these bounds.
RESERVED_MIN, RESERVED_MAX = 64, 512
#: Upper bound: some programs iterate over every possible descriptor.
RAISED_MAX = 65_536


def raise_limit() -> int:
    """Raise the soft limit to the hard limit, at most RAISED_MAX; return the new limit."""
    if resource is None:
        return UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RAISED_MAX if hard == resource.RLIM_INFINITY else min(hard, RAISED_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # macOS has an additional limit
    return limit()


def limit() -> int:
    """Return the maximum number of open descriptors."""
    if resource is None:
        return UNKNOWN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return RAISED_MAX if soft == resource.RLIM_INFINITY else int(soft)


def reserved() -> int:
    """Return the number of descriptors that client connections must leave free."""
    return max(RESERVED_MIN, min(RESERVED_MAX, limit() // 3))
