"""Applications with a monitor inside, each with one rule for all tests: the cookie ``who`` says who the visitor is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import Client

PREFIX = "/team/jobs"
ROLES = {"ada": ("write", "ada"), "eve": "read", "bob": None}


class WholeAnswers(Client):
    """A client that reads each answer to its end."""

    def open(self, *args: Any, **options: Any) -> Any:
        return super().open(*args, buffered=True, **options)


@dataclass
class Host:
    """An application, how to call it, and what its ``authorize`` was asked."""

    app: Any
    asked: list[tuple[str, str]] = field(default_factory=list)
    #: Called with the client that a test uses.
    wrap: Callable[[Any], Any] = lambda app: app

    def client(self, who: str | None = None) -> Client:
        client = WholeAnswers(self.wrap(self.app))
        if who is not None:
            client.set_cookie("who", who)
        return client
