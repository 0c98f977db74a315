"""The last attempts to deliver to a webhook, as they are kept in Redis for the page."""

from __future__ import annotations

from typing import TypedDict

from ..storage.codec import from_json

#: Attempts that are kept of each webhook.
KEPT = 100


class Delivery(TypedDict):
    """One attempt to deliver a message."""

    at: int
    """When it ended, epoch ms."""
    message: str
    """The id of the message, the same for each attempt."""
    event: str
    job: int | str | None
    """The job that it is about."""
    delivery_job: int | str | None
    """The job that delivers it."""
    attempt: int
    attempts: int
    """How many there may be."""
    status: int | None
    """The HTTP status; None if there was no response."""
    duration_ms: int
    error: str
    """What went wrong; "" if it was delivered."""


def read(texts: list[str]) -> list[Delivery]:
    """Return the attempts that can be read, in order."""
    found = []
    for text in texts:
        entry = from_json(text)
        if isinstance(entry, dict) and Delivery.__annotations__.keys() <= entry.keys():
            found.append(Delivery(**{name: entry[name] for name in Delivery.__annotations__}))  # type: ignore[typeddict-item]
    return found
