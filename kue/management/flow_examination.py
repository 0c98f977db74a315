"""The doctor's checks and repairs of flows and of unique jobs' claims."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..states import DELAYED, WAIT_UNTIL_MS
from ..storage.keys import id_of
from ..storage.scripts import Scripts

#: Parents, and claims, checked per script call: a few ms of the server's time.
CHUNK, CLAIMS_CHUNK = 50, 500
#: Claims without a job are normal: workers drop some each second. More than this are reported.
SURPLUS_CLAIMS = 1000

#: code: what is wrong, and what a repair does.
_SENTENCES = {
    "orphan": ("a list of children, but there is no such job", "list removed"),
    "gone": ("it waits for job {0}, which does not exist", "counted as removed"),
    "ended": ("it waits for job {0}, which has ended", "counted"),
    "stuck": ("it waits for children, but none is pending", "it goes on, or fails with its child"),
    "count": ("its number of children that have ended, {0}, is wrong", "corrected"),
}


class Trouble(NamedTuple):
    """A problem of a parent, or of no single job (None)."""

    job_id: int | str | None
    what: str
    repair: str


def examine_flows(
    client: Any, scripts: Scripts, parents: Iterable[str], fix: bool, settle_s: float
) -> Iterator[tuple[Trouble, bool]]:
    """Yield problems of flows and whether they were repaired. A problem must be seen twice.

    ``parents``: the ids of jobs with a list of children. Jobs that wait for children are checked too.
    """
    waiting = client.zrangebyscore(scripts.keys.state(DELAYED), WAIT_UNTIL_MS, WAIT_UNTIL_MS)
    first = list(_look(client, scripts, sorted({*parents, *(str(id_of(member)) for member in waiting)}), False))
    if not first:
        return
    time.sleep(settle_s)
    suspects = list(dict.fromkeys(parent for parent, _, _ in first))
    for parent, code, detail in _look(client, scripts, suspects, fix):
        if fix or (parent, code, detail) in first:
            what, repair = _SENTENCES[code]
            yield Trouble(id_of(f"|{parent}"), what.format(detail), repair), fix


def _look(client: Any, scripts: Scripts, parents: list[str], fix: bool) -> Iterator[tuple[str, str, str]]:
    """Yield parent, code and detail of each problem."""
    for at in range(0, len(parents), CHUNK):
        left = dict.fromkeys(parents[at : at + CHUNK], "-inf")
        while left:
            pairs = [word for pair in left.items() for word in pair]
            left = {}
            for parent, following, *wrong in scripts.run(client, "doctor_flows", int(fix), *pairs):
                if following:
                    left[parent] = following
                for code, detail in zip(wrong[::2], wrong[1::2], strict=True):
                    yield parent, code, detail


def examine_claims(client: Any, scripts: Scripts, fix: bool) -> Iterator[tuple[Trouble, bool]]:
    """Report, and with ``fix`` drop, very many claims of unique jobs that no longer exist."""
    key = f"{scripts.keys.prefix}:unique"
    kind = client.type(key)
    if kind not in ("zset", "none"):
        yield Trouble(None, f"{key} is a {kind}, not a sorted set: unique jobs cannot be saved", ""), False
        return
    found = _claims(client, scripts, key, False)
    if found > SURPLUS_CLAIMS:
        if fix:
            _claims(client, scripts, key, True)
        yield Trouble(None, f"{found:,} claims in {key} are of unique jobs that do not exist", "removed"), fix


def _claims(client: Any, scripts: Scripts, key: str, fix: bool) -> int:
    count = 0
    entries: list[str] = []
    for entry, _ in client.zscan_iter(key, count=CLAIMS_CHUNK):
        entries.append(entry)
        if len(entries) >= CLAIMS_CHUNK:
            count += scripts.run(client, "doctor_claims", int(fix), *entries)
            entries = []
    return count + (int(scripts.run(client, "doctor_claims", int(fix), *entries)) if entries else 0)
