"""The standalone monitor: the settings define access, and which proxies are trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from flask_socketio import SocketIO

from kue.concurrency import green
from kue.web.access.login import login
from kue.web.access.security import Security
from kue.web.assembly import assemble
from kue.web.pages.sample_file import sample
from kue.web.server.proxies import behind_proxies
from kue.web.server.start import server_of

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.settings import Settings


def create_app(
    settings: Settings,
    queue: Queue,
    *,
    template_folder: str | None = None,
    static_folder: str | None = None,
    async_mode: str | None = None,
    downloads: bool = True,
) -> tuple[Flask, SocketIO]:
    """Return the monitor of ``queue`` as a Flask app and its Socket.IO server, already listening to the queue's events.

    ``async_mode`` is ``eventlet`` in a patched process and ``threading`` elsewhere, unless given. Without ``downloads``
    the home page is the overview instead of the form to start one.
    """
    app, socketio = assemble(
        settings, queue, Security(settings, queue), downloads=downloads, template_folder=template_folder,
        static_folder=static_folder, async_mode=async_mode, more_pages=(login, sample),
    )  # fmt: skip
    app.wsgi_app = behind_proxies(  # type: ignore[method-assign]
        app.wsgi_app,
        settings.trusted_proxies,
        settings.base_path,
        tuple(filter(None, (settings.auth_header, settings.auth_groups_header))),
    )
    app.extensions["kue"].start()
    return app, socketio


def serve(app: Flask, socketio: SocketIO, host: str, port: int) -> None:
    """Serve until the process is stopped. Small packets are sent immediately (TCP_NODELAY); requests are not logged."""
    server_of(green.listen(host, port), app).run()


def stop(app: Flask, reason: str = "the server is shutting down") -> None:
    """Notify clients that the server is shutting down. Events continue, so that they see how running jobs end."""
    monitor: Any = app.extensions["kue"]
    monitor.announce_shutdown(reason)


def close(app: Flask) -> None:
    """Unsubscribe from the queue's events; the app cannot be used afterwards. May be called twice."""
    monitor: Any = app.extensions["kue"]
    monitor.stop()
