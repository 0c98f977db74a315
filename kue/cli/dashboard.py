"""``kue dashboard``: the live page over a Kue that is there already, as app.py without its worker and its Redis."""

from __future__ import annotations

import os
from typing import Any

import click

from ..settings import Settings, SettingsError
from .green_start import ensure_patched, need
from .options import Place, open_queue, with_place


@click.command(short_help="Serve the live page over any Kue's Redis.")
@click.option("-p", "--port", default=3050, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; beyond loopback it needs --auth.  [127.0.0.1]")
@click.option("--auth", metavar="USER:PASSWORD", help="What the page and the API ask for.  [KUE_AUTH]")
@click.option("--allow-anonymous", is_flag=True, help="Let other machines in without a password.")
@click.option("--cors-origins", metavar="LIST", help="Other origins whose pages may connect.  [KUE_CORS_ORIGINS]")
@with_place
def dashboard(place: Place, port: int, allow_anonymous: bool, **given: Any) -> None:
    """Serve the live page and Kue's JSON API over the queue of any Kue, Node's too. It works on no jobs.

    \b
    kue dashboard -p 3050 -r redis://127.0.0.1:6379/0 -q q
    kue dashboard --host 0.0.0.0 --auth ada:secret

    The settings of `python app.py` that concern the page hold here too, as environment variables.
    """
    url, prefix = place.with_environment()
    need("flask", "flask_socketio", "eventlet", "prometheus_client", extra="web", what="the dashboard")
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
    ensure_patched()
    serve(settings, place)


def serve(settings: Settings, place: Place) -> None:
    """Serve until a signal comes, in a patched process."""
    from ..app.monitor_process import Program
    from ..web import create_app

    queue = open_queue(place)
    program = Program(settings, queue)
    program.listen()
    if not program.wait_for_redis():
        return
    program.run(*create_app(settings, queue, downloads=False))
