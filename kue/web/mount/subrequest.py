"""Ask an application about a request's sender with a subrequest for the same URL, like nginx's auth_request.

So the application's sessions, middleware and error handlers work as for its own pages, and resources such as a database
connection are released before the monitor responds, which may take as long as a WebSocket lifetime.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kue.web.access.accounts import Visitor
from kue.web.mount.access import visitor_of

#: In the environ of the subrequest: the Question.
QUESTION = "kue.question"

WsgiApp = Callable[..., Iterable[bytes]]

#: Values that the application may have corrected, for example for proxies that it trusts.
_CORRECTED = ("REMOTE_ADDR", "HTTP_HOST", "SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme")
#: Headers that the subrequest omits.
_LEFT_OUT = frozenset(
    {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE", "HTTP_CONNECTION", "HTTP_EXPECT"}
)


@dataclass
class Question:
    """Filled in by the application's ``authorize``."""

    is_answered: bool = False
    visitor: Visitor | None = None
    corrected: dict[str, Any] = field(default_factory=dict)

    def answer(self, answer: object, environ: dict[str, Any]) -> None:
        """Store the return value of ``authorize``, and the environ as the application has changed it."""
        self.is_answered, self.visitor = True, visitor_of(answer)
        self.corrected = {name: environ[name] for name in _CORRECTED if name in environ}


@dataclass
class Said:
    """The outcome of a question: the visitor, or the application's response instead of the monitor's."""

    question: Question
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def cookies(self) -> list[tuple[str, str]]:
        """The cookies that the application sets."""
        return [(name, value) for name, value in self.headers if name.lower() == "set-cookie"]


def ask(app: WsgiApp, environ: dict[str, Any]) -> Said:
    """Send the application a GET request without a body, with a Question."""
    question = Question()
    asking = {name: value for name, value in environ.items() if name not in _LEFT_OUT}
    asking.update({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), QUESTION: question})
    head: list[Any] = ["500 Internal Server Error", []]
    written: list[bytes] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        head[:] = [status, headers]
        return written.append

    chunks = app(asking, start)
    try:
        written.extend(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()
    return Said(question, head[0], list(head[1]), b"".join(written))
