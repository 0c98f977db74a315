"""The job types that this process runs: all that have a handler, or the subset given to ``kue worker --only``."""

from __future__ import annotations

_only: frozenset[str] | None = None
_known: set[str] = set()


def restrict(types: frozenset[str]) -> None:
    """Run only these types in this process. Call before any handler is registered."""
    global _only
    _only = types


def allows(job_type: str) -> bool:
    """Return whether this process runs a type for which a handler is being registered."""
    _known.add(job_type)
    return _only is None or job_type in _only


def unknown() -> list[str]:
    """Return the selected types for which no handler was registered."""
    return sorted((_only or frozenset()) - _known)


def known() -> list[str]:
    """Return the types for which a handler was registered, selected or not."""
    return sorted(_known)
