"""Assemble the monitor: the Flask app, its Socket.IO server, the pages, the API and the live updates.

The differences between a standalone server and a monitor inside an application are passed in: access, and what is in
front of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask
from flask_socketio import SocketIO

from kue.concurrency import green
from kue.web import errors
from kue.web.access.security import Security
from kue.web.actions.bulk import bulk
from kue.web.actions.download_limits import limits
from kue.web.actions.job_actions import job_actions
from kue.web.actions.type_limits import type_limits
from kue.web.actions.url_list import url_list
from kue.web.answers import SafeJson, SafeResponse
from kue.web.api.health import health
from kue.web.api.kue_api import api, lower_case_words
from kue.web.api.openapi import openapi
from kue.web.api.schedules_api import schedules_api
from kue.web.api.webhooks_api import webhooks_api
from kue.web.links import link
from kue.web.live import client_script
from kue.web.live.frame_writer import write_together
from kue.web.live.long_payloads import take_long_payloads
from kue.web.live.monitor import Monitor
from kue.web.live.packets import ClientPacket
from kue.web.live.web_socket import refuse_unsupported, web_sockets_of_threads
from kue.web.pages.alerts import alerts
from kue.web.pages.files import files
from kue.web.pages.home import pages
from kue.web.pages.overview import overview
from kue.web.pages.schedules import schedules
from kue.web.pages.search import finder
from kue.web.pages.system import system
from kue.web.server.bodies import with_length
from kue.web.server.concurrency import bounded

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.settings import Settings

log = logging.getLogger("kue.web")

#: Ping interval, and timeout for a reply, seconds: a dead connection is noticed after both.
PING_INTERVAL_S, PING_TIMEOUT_S = 10, 10
#: Largest message from a client: large enough that a URL of a megabyte gets an error instead of a disconnect.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
PAGES = (pages, overview, finder, files, system, schedules, alerts)

#: Largest body of an HTTP request.
MAX_BODY_BYTES = 1024 * 1024


def _body_limit(path: str) -> int:
    return MAX_MESSAGE_BYTES if path.startswith("/socket.io/") else MAX_BODY_BYTES


def folder(name: str) -> str:
    """Return the path of ``templates`` or ``static``: in an installed package, or at the top of a checkout."""
    inside = Path(__file__).with_name(name)
    return str(inside if inside.is_dir() else Path(__file__).resolve().parents[2] / name)


def _quiet_logger(name: str) -> logging.Logger:
    """Return a logger that does not log every packet, unless its level was set."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    return logger


def assemble(
    settings: Settings,
    queue: Queue,
    security: Security,
    *,
    downloads: bool,
    template_folder: str | None = None,
    static_folder: str | None = None,
    async_mode: str | None = None,
    more_pages: Sequence[Blueprint] = (),
) -> tuple[Flask, SocketIO]:
    """Return the monitor of ``queue`` as a Flask app and its Socket.IO server. Live updates are not started yet.

    ``async_mode`` is ``eventlet`` in a patched process and ``threading`` elsewhere, unless given. Without ``downloads``
    the home page is the overview instead of the form to start one.
    """
    app = Flask(
        "kue.web",
        template_folder=template_folder or folder("templates"),
        static_folder=static_folder or folder("static"),
        static_url_path="/static",
    )
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, KUE_SETTINGS=settings, KUE_QUEUE=queue, KUE_TITLE="kue")
    app.config["KUE_DOWNLOADS"] = downloads
    app.json, app.response_class = SafeJson(app), SafeResponse
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    app.jinja_env.globals["link"] = link
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    security.install(app)
    flask_wsgi = app.wsgi_app
    socketio = SocketIO(
        app,
        async_mode=async_mode or ("eventlet" if green.enabled() else "threading"),
        # In order, one at a time per client: `watch` after `start` is answered after it, and no client can start a
        # thousand handlers at the same time.
        async_handlers=False,
        serializer=ClientPacket,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        cors_allowed_origins=security.origins.for_sockets(),
        manage_session=False,
        logger=_quiet_logger("kue.web.socketio"),
        engineio_logger=_quiet_logger("kue.web.engineio"),
    )
    take_long_payloads(socketio)
    if socketio.async_mode == "threading":
        web_sockets_of_threads(socketio, MAX_MESSAGE_BYTES)
        app.wsgi_app = refuse_unsupported(app.wsgi_app)  # type: ignore[method-assign]
    else:
        write_together(socketio)
    client_script.install(app, flask_wsgi)
    _tolerate_capitals(app)
    app.wsgi_app = security.guard_socket(app.wsgi_app)  # type: ignore[method-assign]
    app.wsgi_app = bounded(app.wsgi_app, unbounded="/socket.io/")  # type: ignore[method-assign]
    app.wsgi_app = with_length(app.wsgi_app, _body_limit)  # type: ignore[method-assign]
    app.extensions["kue"] = Monitor(socketio, queue, security, settings.all_download_allow)
    errors.install(app)
    actions = (job_actions, bulk, limits, type_limits, url_list)
    for blueprint in (api, health, openapi, schedules_api, webhooks_api, *PAGES, *actions, *more_pages):
        app.register_blueprint(blueprint)
    return app, socketio


def _tolerate_capitals(app: Flask) -> None:
    """Treat `/STATS` as `/stats`, like Node Kue."""
    behind = app.wsgi_app

    def around(environ: dict[str, Any], start_response: Any) -> Any:
        environ["PATH_INFO"] = lower_case_words(environ.get("PATH_INFO", ""))
        return behind(environ, start_response)

    app.wsgi_app = around  # type: ignore[method-assign]
