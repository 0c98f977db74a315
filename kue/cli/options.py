"""Options that several commands share: the queue's location, ids, durations, ``--json``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import click

from ..config import parsers
from ..errors import InvalidJob
from ..queue import Queue
from ..storage.keys import check_id

F = TypeVar("F", bound=Callable[..., Any])


class Place(NamedTuple):
    """The queue's location as given on the command line; the environment supplies the rest."""

    url: str | None = None
    prefix: str | None = None

    def over(self, other: Place) -> Place:
        """Return this place, with missing values taken from another."""
        return Place(self.url or other.url, self.prefix or other.prefix)

    def with_environment(self) -> tuple[str | None, str]:
        """Return the URL (None: kue.connection.locate finds one) and the prefix, with defaults from the environment."""
        url = self.url or _checked(parsers.redis_url, "REDIS_URL")
        return url, self.prefix or _checked(parsers.prefix, "KUE_PREFIX") or "q"


def _checked(parse: Callable[[str], str | None], variable: str) -> str | None:
    try:
        return parse(os.environ.get(variable, "").strip())
    except ValueError as exc:
        raise click.UsageError(f"{variable}: {exc}") from None


class Checked(click.ParamType):  # type: ignore[type-arg]
    """A value validated by one of the settings' parsers."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def job_id(text: str) -> int | str:
    value: int | str = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    try:
        check_id(value)
    except InvalidJob as exc:
        raise ValueError(str(exc)) from None
    return value


URL = Checked("url", parsers.redis_url)
PREFIX = Checked("prefix", parsers.prefix)
DURATION = Checked("duration", parsers.duration_ms)
ID = Checked("id", job_id)


def place_options(fn: F) -> F:
    """Add ``-r`` and ``-q``, as ``url`` and ``prefix``."""
    for option in (
        click.option(
            "-q", "--prefix", type=PREFIX, metavar="PREFIX", help="Key prefix of the queue  [KUE_PREFIX; default: q]"
        ),
        click.option(
            "-r",
            "--redis",
            "url",
            type=URL,
            metavar="URL",
            help="Redis URL, such as redis://host:6379/0, or embedded://  [REDIS_URL; default: the local one]",
        ),
    ):
        fn = option(fn)
    return fn


def with_place(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-r`` and ``-q`` to a command, and pass the resulting Place as first argument."""

    @place_options
    @click.pass_context
    @wraps(fn)
    def command(ctx: click.Context, /, *args: Any, url: str | None, prefix: str | None, **kwargs: Any) -> Any:
        outer = ctx.obj if isinstance(ctx.obj, Place) else Place()
        return ctx.invoke(fn, Place(url, prefix).over(outer), *args, **kwargs)

    return command


def with_queue(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Like ``with_place``, but the first argument is the open queue, which is closed afterwards."""

    @with_place
    @click.pass_context
    @wraps(fn)
    def command(ctx: click.Context, place: Place, /, *args: Any, **kwargs: Any) -> Any:
        if sys.stderr.isatty() and not kwargs.get("as_json"):
            _tell_where()
        queue = open_queue(place)
        ctx.call_on_close(queue.close)
        return ctx.invoke(fn, queue, *args, **kwargs)

    return command


def _tell_where() -> None:
    """Print a note on stderr if the jobs are in an embedded server: the user may expect another Redis."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: "embedded" in record.getMessage() and record.levelno == logging.INFO)
    handler.setFormatter(logging.Formatter("kue: %(message)s"))
    logging.getLogger("kue").addHandler(handler)
    logging.getLogger("kue").setLevel(logging.INFO)


def open_queue(place: Place, **options: Any) -> Queue:
    url, prefix = place.with_environment()
    try:
        return Queue(url, prefix, **options)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None


def json_option(fn: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(fn)
