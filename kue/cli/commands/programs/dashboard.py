"""``kue dashboard``: the monitor for an existing queue, without workers or an embedded Redis."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import click

from ....process.startup import lasting_imports
from ....settings import Settings, SettingsError
from ...green_start import start_web
from ...options import Place, open_queue, with_place


@click.command(short_help="Serve the monitor for an existing queue.")
@click.option("-p", "--port", default=3050, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option(
    "--host", metavar="ADDRESS", help="Address to listen on; other than loopback requires --auth.  [127.0.0.1]"
)
@click.option("--auth", metavar="USER:PASSWORD", help="Credentials for the pages and the API.  [KUE_AUTH]")
@click.option("--allow-anonymous", is_flag=True, help="Allow access from other machines without a password.")
@click.option("--cors-origins", metavar="LIST", help="Other origins allowed to connect.  [KUE_CORS_ORIGINS]")
@with_place
def dashboard(place: Place, port: int, allow_anonymous: bool, **given: Any) -> None:
    """Serve the monitor and Kue's JSON API for any Kue queue, including Node's. It runs no jobs except
    webhook deliveries.

    \b
    kue dashboard -p 3050 -r redis://127.0.0.1:6379/0 -q q
    kue dashboard --host 0.0.0.0 --auth ada:secret

    The environment variables of `python app.py` that concern the monitor apply here too.
    """
    url, prefix = place.with_environment()
    flags = ["--workers", "0", "--port", str(port), "--prefix", prefix, *(["--redis-url", url] if url else [])]
    for name, value in given.items():
        if value is not None:
            flags += [f"--{name.replace('_', '-')}", value]
    if allow_anonymous:
        flags += ["--allow-anonymous", "1"]
    try:
        settings = Settings.load(os.environ, flags)
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None
    start_web(what="the dashboard")
    serve(settings, place)


def serve(settings: Settings, place: Place) -> None:
    """Serve until a signal arrives, in a patched process."""
    with lasting_imports():
        from ....app.monitor_process import MonitorServer
        from ....app.webhooks import WebhookFollower, listen_to_node
        from ....web import create_app

    queue = open_queue(place)
    program = MonitorServer(settings, queue)
    program.listen()
    if not program.wait_for_redis():
        return
    queue.alert_rules(replace(settings.alert_rules, disk_free=None))  # it downloads nothing
    WebhookFollower(queue).start()
    listen_to_node(queue)
    program.run(*create_app(settings, queue, downloads=False))
