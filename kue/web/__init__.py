"""The monitor: pages, Kue's JSON API, the live socket. `create_app` builds it, `serve` runs it, `stop` says goodbye."""

from __future__ import annotations

from kue.web.app import close, create_app, serve, stop

__all__ = ["close", "create_app", "serve", "stop"]
