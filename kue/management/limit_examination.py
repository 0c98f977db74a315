"""What is wrong with the keys of limits, for the doctor. (Where each job stands is looked at with the job.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..storage.keys import Keys
from .flow_examination import Trouble

#: The kind of key that each part of a limit is.
_KINDS = {
    **dict.fromkeys(("state", "weights", "buckets"), "hash"),
    **dict.fromkeys(("aside", "turns", "ready", "full", "holders", "jobs"), "zset"),
}
_NAMES = {"zset": "sorted set"}
CHUNK = 500


def examine_limits(client: Any, keys: Keys) -> Iterator[tuple[Trouble, bool]]:
    """Yield the keys of limits that are of another kind: jobs of their types do not start."""
    yield from _look(client, [keys.limits], keys)
    batch: list[str] = []
    for key in client.scan_iter(match=keys.limit("*", "*"), count=CHUNK):
        batch.append(key)
        if len(batch) >= CHUNK:
            yield from _look(client, batch, keys)
            batch = []
    yield from _look(client, batch, keys)


def _look(client: Any, found: list[str], keys: Keys) -> Iterator[tuple[Trouble, bool]]:
    pipe = client.pipeline(transaction=False)
    for key in found:
        pipe.type(key)
    for key, kind in zip(found, pipe.execute() if found else [], strict=True):
        part = key.removeprefix(keys.limit("", "").removesuffix(":")).partition(":")[0]
        wanted = "hash" if key == keys.limits else _KINDS.get(part)
        if wanted is not None and kind not in (wanted, "none"):
            names = _NAMES.get(kind, kind), _NAMES.get(wanted, wanted)
            what = f"{key} is a {names[0]}, not a {names[1]}: jobs that it limits do not start"
            yield Trouble(None, what, "nothing: look at it with redis-cli, and delete it"), False
