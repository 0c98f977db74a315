"""``kue serve``: the app, like ``python app.py``, also from an installed package."""

from __future__ import annotations

import click

from ....errors import KueError
from ....settings import SettingsError
from ...green_start import start_web
from ...options import Place, with_place


@click.command(
    short_help="Serve the monitor and run download workers.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
@with_place
def serve(place: Place, flags: tuple[str, ...]) -> int:
    """Serve the monitor on http://localhost:3000 and run download workers. Takes the flags of `python app.py`.

    Without a Redis it starts an embedded Valkey, which stores the jobs in .kue and stops with the program.
    """
    start_web("certifi", "idna", what="kue serve")
    from ....app.serving import serve as run

    given = (("--redis-url", place.url), ("--prefix", place.prefix))
    words = [word for name, value in given if value is not None for word in (name, value)]
    try:
        run([*words, *flags], "kue serve")
    except SystemExit as exc:  # argparse has printed its message
        return exc.code if isinstance(exc.code, int) else 2
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None
    except KueError as exc:
        raise click.ClickException(str(exc)) from None
    return 0
