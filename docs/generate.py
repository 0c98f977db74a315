"""Writes the parts of docs/reference that follow from the code: `python -m docs.generate`, or `make reference`.

A page keeps such a part between ``<!-- generated: NAME -->`` and ``<!-- end -->``. A test compares them with the code.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

import kue.settings
from kue import errors
from kue.cli.root import cli
from kue.states import EVENTS, TRANSITIONS

DOCS = Path(__file__).parent
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(*rows: tuple[str, ...]) -> str:
    head, *rest = rows
    lines = [head, tuple("---" for _ in head), *rest]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


def command_line() -> str:
    """Return the help of each command, as it prints it."""
    with click.Context(cli, info_name="kue", **{**cli.context_settings, "terminal_width": 100}) as ctx:
        parts = [f"## kue\n\n```text\n{cli.get_help(ctx)}\n```\n"]
        for name, command in cli.commands.items():
            settings = dict(command.context_settings)
            settings.setdefault("max_content_width", 100)
            with click.Context(command, info_name=name, parent=ctx, terminal_width=100, **settings) as inner:
                parts.append(f"## kue {name}\n\n```text\n{command.get_help(inner)}\n```\n")
                if isinstance(command, click.Group):
                    parts += [_member(inner, name, member) for member in command.commands]
    return "\n".join(re.sub(r"[ \t]+$", "", part, flags=re.MULTILINE) for part in parts)


def _member(ctx: click.Context, group: str, name: str) -> str:
    """Return the help of a command of a group, such as `kue schedule add`."""
    assert isinstance(ctx.command, click.Group)
    command = ctx.command.commands[name]
    with click.Context(command, info_name=name, parent=ctx, terminal_width=100, max_content_width=100) as inner:
        return f"### kue {group} {name}\n\n```text\n{command.get_help(inner)}\n```\n"


def settings() -> str:
    """Return the settings of the app in a table."""
    rows = [
        (f"`{option.variable}`", f"`{option.flag}`", f"`{option.default}`" if option.default else "–", option.help)
        for option in kue.settings.OPTIONS
    ]
    return table(("variable", "flag", "default", "meaning"), *rows)


def http_api() -> str:
    """Return the paths of the HTTP API, with their answers."""
    from kue.web.api.routes import OPEN, ROUTES

    rows = []
    for route in ROUTES:
        query = ", ".join(f"`{name}`" for name in route.query.split()) or "–"
        answers = ", ".join(str(status) for status in route.answers)
        login = "no" if route.path in OPEN else "yes"
        rows.append((f"`{route.method.upper()} {route.path}`", route.summary, query, answers, login))
    return table(("path", "what it does", "query", "statuses", "login"), *rows)


def metrics() -> str:
    """Return the metrics in a table, from a queue that is never asked."""
    from kue.web.api.prometheus import QueueMetrics

    class Source(QueueMetrics):
        def __init__(self) -> None:
            self.queue, self.monitor = Stand(), Stand()  # type: ignore[assignment]

    found = sorted(Source().collect(), key=lambda metric: metric.name)
    rows = []
    for metric in found:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = getattr(metric, "_labelnames", ())
        label_text = "{" + ",".join(labels) + "}" if labels else ""
        rows.append((f"`{name}{label_text}`", metric.type, metric.documentation))
    return table(("metric", "kind", "meaning"), *rows)


class Stand:
    """Stands for a queue and its monitor where only the names of metrics are wanted: everything is empty or zero."""

    def __getattr__(self, name: str) -> object:
        return Stand()

    def __call__(self, *args: object) -> object:
        return Stand()

    def __getitem__(self, key: object) -> object:
        return Stand()

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())

    def __truediv__(self, other: object) -> float:
        return 0.0

    def __float__(self) -> float:
        return 0.0

    def __int__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False


def exceptions() -> str:
    """Return the exceptions, each with what it derives from and the first sentence of its docstring."""
    rows = []
    kinds = [each for each in vars(errors).values() if inspect.isclass(each) and each.__module__ == errors.__name__]
    for kind in kinds:
        bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        rows.append((f"`kue.{kind.__name__}`", bases, inspect.getdoc(kind) or ""))
    return table(("exception", "derives from", "meaning"), *rows)


def transitions() -> str:
    """Return the state machine as a table."""
    rows = []
    for step in TRANSITIONS:
        sources = "any" if len(step.sources) == 5 else ", ".join(step.sources) or "–"
        targets = "any" if len(step.targets) == 5 else ", ".join(step.targets) or "–"
        rows.append((f"`{step.script}`", sources, targets, ", ".join(f"`{each}`" for each in step.events), step.who))
    return table(("transition", "from", "to", "events", "who"), *rows)


def events() -> str:
    return ", ".join(f"`{name}`" for name in EVENTS) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "settings": settings,
    "http-api": http_api,
    "metrics": metrics,
    "exceptions": exceptions,
    "transitions": transitions,
    "events": events,
}


def renewed(text: str) -> str:
    """Return a page with its generated parts as the code has them."""
    return PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}", text)


def main() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        new = renewed(text)
        if new != text:
            page.write_text(new, "utf-8")
            print(page.relative_to(DOCS.parent))


if __name__ == "__main__":
    sys.exit(main())
