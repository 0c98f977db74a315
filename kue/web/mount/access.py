"""Access by the application's own login: its ``authorize`` returns each visitor's role."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import abort, request
from flask.typing import ResponseReturnValue

from kue.queue import Queue
from kue.settings import Settings
from kue.web.access.accounts import Role, Visitor
from kue.web.access.origins import Origins
from kue.web.access.security import CLIENT_SCRIPTS, OPEN_FOLDER, Security

log = logging.getLogger("kue.web")

#: In the environ of a request: its visitor, None without access.
VISITOR = "kue.visitor"

#: In the environ of a handshake: a function that calls ``authorize`` again.
ASK_AGAIN = "kue.ask_again"
#: Seconds after which ``authorize`` is called again for a live connection.
ASK_AGAIN_S = 30.0

NO_ACCESS = "this application does not give you access to its jobs"
#: The name in the audit log of a visitor without a name.
UNNAMED = "user of the application"


def is_open(path: str) -> bool:
    """Return whether a path of the monitor is open to everyone: public files of the package."""
    return path.startswith(OPEN_FOLDER) or path in CLIENT_SCRIPTS


class NotAnAnswer(TypeError):
    """``authorize`` has returned an invalid value."""

    def __init__(self, answer: object, response: str) -> None:
        super().__init__(
            f"authorize must return 'write', 'read', None, a pair of 'write' or 'read' and the user's name, or "
            f"{response}; it returned {answer!r}"
        )


def is_answer(answer: object) -> bool:
    """Return whether ``authorize`` has returned a role, or None; otherwise it may be a response."""
    if isinstance(answer, tuple):
        return len(answer) == 2 and is_answer(answer[0]) and answer[0] is not None and isinstance(answer[1], str)
    return answer is None or (isinstance(answer, str) and answer in ("write", "read"))


def visitor_of(answer: Any) -> Visitor | None:
    """Return the visitor for a return value of ``authorize``."""
    role, name = answer if isinstance(answer, tuple) else (answer, UNNAMED)
    return None if role is None else Visitor(name, Role(role))


def is_same_origin(environ: Mapping[str, Any]) -> bool:
    """Return whether a request comes from a page of the application's own origin, or from no page.

    Browsers say so in Sec-Fetch-Site. Otherwise the host decides, without the scheme: the application may not know
    that a proxy in front of it uses TLS.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    return origin is None or urlsplit(origin).netloc.lower() == environ.get("HTTP_HOST", "").lower()


class Standing:
    """The visitor of a live connection; ``authorize`` is called again periodically."""

    def __init__(self, visitor: Visitor, ask: Callable[[], Visitor | None]) -> None:
        self._visitor: Visitor | None = visitor
        self._ask, self._asked_at = ask, time.monotonic()

    def __call__(self) -> Visitor | None:
        if self._visitor is not None and time.monotonic() - self._asked_at >= ASK_AGAIN_S:
            self._asked_at = time.monotonic()
            try:
                self._visitor = self._ask()
            except Exception:
                log.exception("authorize failed for a live connection; closing it")
                self._visitor = None
        return self._visitor


class ApplicationOrigins(Origins):
    """The origin of the application, whatever it is."""

    def host_is_ours(self, host: str) -> bool:
        """The application checks its host names."""
        return True

    def is_same_site(self) -> bool:
        return is_same_origin(request.environ)

    def remedy(self) -> str:
        """The application's own origin is the only one."""
        return ""

    def for_sockets(self) -> Any:
        return lambda origin, environ: is_same_origin(environ)


class MountedSecurity(Security):
    """The checks of a monitor inside an application. The visitor is already in the request's environ."""

    open_paths = frozenset(CLIENT_SCRIPTS)

    def __init__(self, settings: Settings, queue: Queue) -> None:
        super().__init__(settings, queue, ApplicationOrigins(settings))
        self.knows_visitors = True

    def visitor(self, auth: object = None) -> Visitor | None:
        found: Visitor | None = request.environ.get(VISITOR)
        return found

    def standing(self, visitor: Visitor) -> Callable[[], Visitor | None]:
        return Standing(visitor, request.environ[ASK_AGAIN])

    def offers_logout(self) -> bool:
        return False

    def refuse(self, changes: bool) -> ResponseReturnValue:
        abort(403, NO_ACCESS)
