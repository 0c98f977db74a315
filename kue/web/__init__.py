"""The monitor: pages, Kue's JSON API, the live socket.

Standalone: `create_app` builds it, `serve` runs it, `stop` announces the shutdown. Inside an application: `init_app`
for Flask, `wsgi` for Django and other WSGI applications, `asgi` for FastAPI and Starlette.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    from kue.web.app import close, create_app, serve, stop
    from kue.web.mount.flask_app import init_app
    from kue.web.mount.wsgi_app import wsgi
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] == "kue":
        raise
    raise ImportError(f"kue.web needs {exc.name.partition('.')[0]}: pip install 'kue[web]'") from None

if TYPE_CHECKING:
    from kue.web.mount.asgi_app import asgi

__all__ = ["asgi", "close", "create_app", "init_app", "serve", "stop", "wsgi"]


def __getattr__(name: str) -> Any:
    """Import ``asgi`` lazily: it needs Starlette, which its applications have."""
    if name != "asgi":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module("kue.web.mount.asgi_app").asgi
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "starlette":
            raise
        raise ImportError("kue.web.asgi needs starlette: pip install starlette") from None
