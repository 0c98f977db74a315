"""Save any number of jobs in constant memory: while some are saved, the next ones are prepared."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from typing import TypeVar

from ..concurrency import green

T = TypeVar("T")

#: Number of jobs saved at a time.
BATCH_JOBS = 2000

#: Calls a function apart from the caller; returns a function that waits for its end and raises what it raised.
Apart = Callable[[Callable[[], object]], Callable[[], None]]


def in_thread(fn: Callable[[], object]) -> Callable[[], None]:
    """Call ``fn`` in a (green) thread, in this context. Returns a function that waits for it."""
    ended, errors = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            fn()
        except BaseException as exc:
            errors.append(exc)
        finally:
            ended.set()

    green.spawn(copy_context().run, run)

    def wait() -> None:
        ended.wait()
        if errors:
            raise errors[0]

    return wait


def save_all(prepared: Iterable[T], save: Callable[[Sequence[T]], object], apart: Apart = in_thread) -> int:
    """Save what ``prepared`` yields in batches, each while the next is prepared; return the number.

    An exception gets a note that tells how many were saved before: at least, since a batch may be saved in part.
    """
    saved, batches = 0, _batches(iter(prepared))
    batch: list[T] = []
    try:
        batch = next(batches, [])
        while batch:
            wait = apart(lambda batch=batch: save(batch))  # type: ignore[misc]
            following, error = _next(batches)
            wait()
            saved += len(batch)
            if error is not None:
                raise error
            batch = following
    except BaseException as exc:
        exc.add_note(f"At least {saved:,} jobs were saved before.")
        raise
    return saved


def _next(batches: Iterator[list[T]]) -> tuple[list[T], BaseException | None]:
    """Return the next batch, or what its preparation raised: the one before is saved all the same."""
    try:
        return next(batches, []), None
    except BaseException as exc:
        return [], exc


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(itertools.islice(items, BATCH_JOBS)):
        yield batch
