"""WSGI middleware: requests below the prefix go to the monitor, all others pass through unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kue.web.access.accounts import Visitor
from kue.web.mount.access import ASK_AGAIN, VISITOR, is_open
from kue.web.mount.monitor import MountedMonitor, path_below
from kue.web.mount.subrequest import Said, WsgiApp

#: Asks the application about a request.
Ask = Callable[[dict[str, Any]], Said]


class Gate:
    """The WSGI application that a server runs instead of ``app``."""

    def __init__(self, app: WsgiApp, monitor: MountedMonitor, prefix: str, ask: Ask) -> None:
        self._app, self._monitor, self._prefix, self._ask = app, monitor, prefix, ask

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle a request."""
        path = path_below(environ.get("PATH_INFO", ""), self._prefix)
        if path is None:
            return self._app(environ, start_response)
        inside = {**environ, "PATH_INFO": path}
        cookies: list[tuple[str, str]] = []
        if not is_open(path):
            said = self._ask(environ)
            if not said.question.is_answered:
                start_response(said.status, said.headers)
                return [said.body]
            asked = dict(environ)

            def ask_again() -> Visitor | None:
                return self._ask(asked).question.visitor

            inside |= {**said.question.corrected, VISITOR: said.question.visitor, ASK_AGAIN: ask_again}
            cookies = said.cookies
        inside["SCRIPT_NAME"] = inside.get("SCRIPT_NAME", "") + self._prefix

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *cookies], *more)

        return self._monitor(inside, start)

    def close(self) -> None:
        """Stop the monitor's live updates."""
        self._monitor.close()
