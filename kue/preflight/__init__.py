"""Checks before a deployment, for ``kue check``: settings, Redis, folders, users and proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import access, environment, machine, redis_server
from .finding import Finding

__all__ = ["Finding", "examine"]


def examine(environ: Mapping[str, str]) -> Iterator[tuple[Finding, bool]]:
    """Yield each finding, and whether it means that Redis is unreachable. Leaves no changes behind."""
    settings, found = environment.check(environ)
    for each in found:
        yield each, False
    if settings is None:
        return
    try:
        for each in redis_server.check(settings):
            yield each, False
    except redis_server.Unreachable as exc:
        yield exc.finding, True
    for part in (machine.check, access.check):
        for each in part(settings):
            yield each, False
