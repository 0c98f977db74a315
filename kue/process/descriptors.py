"""File descriptors: how many this process may have, and how many it needs at least."""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Descriptors that are assumed where the system does not say.
UNKNOWN = 1024
#: Held back for Redis, files, templates and downloads: a third of them, between these bounds.
HELD_BACK_MIN, HELD_BACK_MAX = 64, 512
#: More than this are never asked for: some programs walk through all that may be open.
RAISED_MAX = 65_536


def raise_limit() -> int:
    """Raise this process's soft limit to the hard one, as far as is sensible; return the limit."""
    if resource is None:
        return UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = RAISED_MAX if hard == resource.RLIM_INFINITY else min(hard, RAISED_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # macOS has a further limit
    return limit()


def limit() -> int:
    """Return how many descriptors this process may have open."""
    if resource is None:
        return UNKNOWN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return RAISED_MAX if soft == resource.RLIM_INFINITY else int(soft)


def held_back() -> int:
    """Return how many descriptors are not for clients' connections."""
    return max(HELD_BACK_MIN, min(HELD_BACK_MAX, limit() // 3))
