"""The monitor: pages, Kue's JSON API, the live socket. `create_app` builds it, `serve` runs it, `stop` says goodbye."""

from __future__ import annotations

try:
    from kue.web.app import close, create_app, serve, stop
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] == "kue":
        raise
    raise ImportError(f"kue.web needs {exc.name.partition('.')[0]}: pip install 'kue[web]'") from None

__all__ = ["close", "create_app", "serve", "stop"]
