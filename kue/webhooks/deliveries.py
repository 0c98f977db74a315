"""The last delivery attempts of a webhook, stored in Redis for the page."""

from __future__ import annotations

from typing import TypedDict

from ..storage.codec import from_json

#: Number of attempts kept per webhook.
KEPT = 100


class Delivery(TypedDict):
    """A delivery attempt."""

    at: int
    """When it ended, epoch ms."""
    message: str
    """The id of the message, the same for each attempt."""
    event: str
    job: int | str | None
    """The job of the event."""
    delivery_job: int | str | None
    """The delivery job."""
    attempt: int
    attempts: int
    """The maximum number of attempts."""
    status: int | None
    """The HTTP status; None if there was no response."""
    duration_ms: int
    error: str
    """What went wrong; "" if it was delivered."""


def read(texts: list[str]) -> list[Delivery]:
    """Return the valid attempts, in order."""
    found = []
    for text in texts:
        entry = from_json(text)
        if isinstance(entry, dict) and Delivery.__annotations__.keys() <= entry.keys():
            found.append(Delivery(**{name: entry[name] for name in Delivery.__annotations__}))  # type: ignore[typeddict-item]
    return found
