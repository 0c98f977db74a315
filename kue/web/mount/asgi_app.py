"""``asgi``: the monitor inside FastAPI, Starlette and others that can mount ASGI applications."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from kue.aio.queue import Queue as AsyncQueue
from kue.queue import Queue
from kue.settings import Settings
from kue.web.access.accounts import Visitor
from kue.web.assembly import MAX_MESSAGE_BYTES
from kue.web.mount.access import ASK_AGAIN, VISITOR, NotAnAnswer, is_answer, is_open, visitor_of
from kue.web.mount.monitor import MountedMonitor
from kue.web.server.asgi import MORE_ENVIRON, Receive, Scope, Send, WsgiOverAsgi, path_of

#: Timeout of ``authorize`` when a live connection is checked again, seconds.
ANSWER_S = 30.0


class MountedAsgi:
    """The ASGI application."""

    def __init__(self, monitor: MountedMonitor, authorize: Callable[[HTTPConnection], Any]) -> None:
        self._monitor, self._authorize = monitor, authorize
        self._pages = WsgiOverAsgi(monitor, MAX_MESSAGE_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if is_open(path_of(scope).decode("latin-1")):
            return await self._pages(scope, receive, send)
        try:
            answer = await self._ask(scope)
        except HTTPException as exc:
            if scope["type"] == "http":
                raise
            answer = Response(exc.detail, exc.status_code)
        if isinstance(answer, Response):
            if scope["type"] == "http" or "websocket.http.response" in (scope.get("extensions") or {}):
                return await answer(scope, receive, send)
            return await send({"type": "websocket.close", "code": 1008})
        loop = asyncio.get_running_loop()

        def ask_again() -> Visitor | None:
            again = asyncio.run_coroutine_threadsafe(self._ask(scope), loop).result(ANSWER_S)
            return None if isinstance(again, Response) else visitor_of(again)

        more = {VISITOR: visitor_of(answer), ASK_AGAIN: ask_again}
        return await self._pages({**scope, MORE_ENVIRON: more}, receive, send)

    def close(self) -> None:
        """Stop the monitor's live updates."""
        self._monitor.close()

    async def _ask(self, scope: Scope) -> Any:
        connection = HTTPConnection(scope)
        if inspect.iscoroutinefunction(self._authorize):
            answer = await self._authorize(connection)
        else:
            answer = await run_in_threadpool(self._authorize, connection)
            if inspect.isawaitable(answer):  # of an object with an async __call__, or a lambda
                answer = await answer
        if not is_answer(answer) and not isinstance(answer, Response):
            raise NotAnAnswer(answer, "a Starlette response")
        return answer

    async def _live(self, receive: Receive, send: Send) -> None:
        """Handle the server's start and stop, if it is not mounted."""
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})


def asgi(
    queue: Queue | AsyncQueue,
    *,
    authorize: Callable[[HTTPConnection], Any],
    back: tuple[str, str] | None = None,
    downloads: bool = False,
    settings: Settings | None = None,
) -> MountedAsgi:
    """Return an ASGI application, to be mounted: ``app.mount("/jobs", kue.web.asgi(queue, authorize=authorize))``.

    ``queue`` is a queue of ``kue`` or of ``kue.aio``. ``authorize(request)``, a function or an ``async`` one, decides
    for each request and each WebSocket, as for ``init_app``. ``request`` is a ``starlette.requests.HTTPConnection``: it
    has headers, cookies, ``session`` and ``user`` of the application's middleware, and no body. A Starlette response is
    the answer to the visitor; ``HTTPException`` may be raised.
    """
    plain = queue.sync if isinstance(queue, AsyncQueue) else queue
    return MountedAsgi(MountedMonitor(plain, back=back, downloads=downloads, settings=settings), authorize)
