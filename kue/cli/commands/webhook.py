"""``kue webhook``: list, add, remove, test, enable and disable webhooks."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...errors import InvalidJob
from ...queue import Queue
from ...storage.epoch_time import now_ms
from ...webhooks.definition import EVENTS, FORMATS
from ..options import json_option, with_queue
from ..output import ago, duration, plain, print_json, table

NAME = click.argument("name", metavar="NAME")


@click.group(short_help="List, add, remove and test webhooks.")
def webhook() -> None:
    """Send job events and alerts to URLs. Any running worker process delivers them.

    \b
    kue webhook add https://example.com/hook -e failed -e alert
    kue webhook add https://hooks.slack.com/services/… -e alert --format slack
    kue webhook ls
    kue webhook test example.com-1b2c3d
    """


@webhook.command(short_help="List webhooks.")
@json_option
@with_queue
def ls(queue: Queue, as_json: bool) -> None:
    """List webhooks. Secrets are not shown, nor the paths of Slack and ntfy URLs."""
    found = queue.webhooks()
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    rows = [
        (
            each.name,
            "disabled" if each.disabled_at else "failing" if each.failing_since else "enabled",
            each.delivered,
            each.failed,
            ",".join(each.events),
            ",".join(each.types) or "all",
            each.format,
            each.shown_url,
        )
        for each in found
    ]
    table(
        ("NAME", "STATE", "DELIVERED", "FAILED", "EVENTS", "TYPES", "FORMAT", "URL"), rows, right="DELIVERED FAILED"
    )


@webhook.command(short_help="Add a webhook, or replace the one of that name.")
@click.argument("target", metavar="URL")
@click.option(
    "-e",
    "--event",
    "events",
    multiple=True,
    default=("failed", "alert"),
    show_default="failed, alert",
    type=click.Choice(EVENTS),
    metavar="EVENT",
    help=f"One of {', '.join(EVENTS)}; may be repeated.",
)
@click.option("-t", "--type", "types", multiple=True, metavar="TYPE", help="Only jobs of this type; may be repeated.")
@click.option("--name", metavar="NAME", help="Name.  [default: derived from the URL]")
@click.option("--format", default=FORMATS[0], show_default=True, type=click.Choice(FORMATS), help="Message format.")
@click.option("--secret", metavar="SECRET", envvar="KUE_WEBHOOK_SECRET", help="Signing secret.  [default: generated]")
@json_option
@with_queue
def add(
    queue: Queue,
    target: str,
    events: Sequence[str],
    types: Sequence[str],
    name: str | None,
    format: str,
    secret: str | None,
    as_json: bool,
) -> None:
    """Send EVENTs to URL, or replace the webhook of that name. Prints the signing secret, which is shown only once.

    \b
    kue webhook add https://example.com/hook
    kue webhook add https://example.com/hook -e failed -e complete -t bill
    kue webhook add https://ntfy.sh/my-topic -e alert --format ntfy
    """
    try:
        made = queue.webhook(events, target, name=name, types=types, secret=secret, format=format)
    except InvalidJob as exc:
        raise click.UsageError(str(exc)) from None
    if as_json:
        print_json({**made.to_dict(), "secret": made.secret})
        return
    print(f"webhook {plain(made.name)} receives {', '.join(made.events)}")
    if format == FORMATS[0] and secret is None:
        print(f"its messages are signed with {made.secret}")


@webhook.command(short_help="Remove webhooks.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@with_queue
def rm(queue: Queue, names: Sequence[str]) -> int:
    """Remove webhooks. Pending deliveries are dropped."""
    missing = 0
    for name in names:
        if queue.remove_webhook(name):
            print(f"webhook {plain(name)} removed")
        else:
            click.echo(f"kue: webhook {plain(name)!r} does not exist", err=True)
            missing = 1
    return missing


@webhook.command(short_help="Send a test message to a webhook.")
@NAME
@json_option
@with_queue
def test(queue: Queue, name: str, as_json: bool) -> None:
    """Send a test message through a worker. Prints the id of the delivery job."""
    job = queue.test_webhook(name)
    print_json({"id": job.id}) if as_json else print(job.id)


@webhook.command(short_help="Enable a disabled webhook.")
@NAME
@with_queue
def enable(queue: Queue, name: str) -> None:
    """Enable a webhook that was disabled by hand, by a 410 response, or after five days of failures."""
    print(f"webhook {plain(name)} {'enabled' if queue.enable_webhook(name) else 'was already enabled'}")


@webhook.command(short_help="Disable a webhook.")
@NAME
@with_queue
def disable(queue: Queue, name: str) -> None:
    """Disable a webhook until `kue webhook enable`."""
    print(f"webhook {plain(name)} {'disabled' if queue.disable_webhook(name) else 'was already disabled'}")


@webhook.command(name="log", short_help="Show a webhook's last deliveries.")
@NAME
@json_option
@with_queue
def deliveries(queue: Queue, name: str, as_json: bool) -> None:
    """Show a webhook's last delivery attempts, newest first."""
    queue.get_webhook(name)
    found = queue.deliveries(name)
    if as_json:
        print_json(found)
        return
    now = now_ms()
    rows = [
        (
            ago(each["at"], now),
            each["event"],
            each["job"],
            f"{each['attempt']} of {each['attempts']}",
            each["status"],
            duration(each["duration_ms"]),
            each["message"],
            each["error"],
        )
        for each in found
    ]
    table(
        ("AGO", "EVENT", "JOB", "ATTEMPT", "STATUS", "TIME", "MESSAGE", "ERROR"), rows, right="AGO JOB STATUS TIME"
    )
