"""The settings of webhooks and alerts."""

from __future__ import annotations

from ..errors import InvalidJob
from ..webhooks.definition import DELIVERY_TYPE, EVENTS, FORMATS, check_url
from ..webhooks.signature import check_secret
from .parsers import Option, comma_list, duration_or_off, hosts, percent_or_off, proxy, size_or_off


def webhook_url(text: str) -> str | None:
    """The URL of a webhook. The message does not repeat it, since it may be a secret."""
    try:
        return check_url(text) if text else None
    except InvalidJob:
        raise ValueError("write a URL such as https://example.com/hook, without user, password or fragment") from None


def webhook_types(text: str) -> tuple[str, ...]:
    """Job types, comma-separated."""
    types = comma_list(text)
    if DELIVERY_TYPE in types:
        raise ValueError(f"jobs of type {DELIVERY_TYPE} deliver to webhooks; write other types")
    return types


def webhook_secret(text: str) -> str | None:
    if not text:
        return None
    try:
        return check_secret(text)
    except InvalidJob as exc:
        raise ValueError(str(exc)) from None


def webhook_events(text: str) -> tuple[str, ...]:
    """Event names, comma-separated, such as ``failed,failed attempt,alert``."""
    events = tuple(filter(None, (each.strip() for each in text.split(","))))
    for event in events:
        if event not in EVENTS:
            raise ValueError(f"there is no event {event!r}; write one or more of {', '.join(EVENTS)}")
    return events


def webhook_format(text: str) -> str:
    if text not in FORMATS:
        raise ValueError(f"write one of {', '.join(FORMATS)}")
    return text


WEBHOOK_OPTIONS = (
    Option(
        "webhook_url",
        "KUE_WEBHOOK_URL",
        "",
        "URL",
        "where to send events of jobs, and alerts; add more webhooks with `kue webhook add`",
        webhook_url,
        secret=True,
    ),
    Option(
        "webhook_events",
        "KUE_WEBHOOK_EVENTS",
        "failed,alert",
        "LIST",
        "events to send to KUE_WEBHOOK_URL, comma-separated",
        webhook_events,
    ),
    Option(
        "webhook_types",
        "KUE_WEBHOOK_TYPES",
        "",
        "LIST",
        "job types whose events are sent, comma-separated; default: all",
        webhook_types,
    ),
    Option(
        "webhook_secret",
        "KUE_WEBHOOK_SECRET",
        "",
        "SECRET",
        "secret that signs messages to KUE_WEBHOOK_URL: whsec_ and base64; generated if unset",
        webhook_secret,
        secret=True,
    ),
    Option(
        "webhook_format",
        "KUE_WEBHOOK_FORMAT",
        "standard",
        "FORMAT",
        "message format: standard (Standard Webhooks), slack or ntfy",
        webhook_format,
    ),
    Option(
        "webhook_allow",
        "KUE_WEBHOOK_ALLOW",
        "",
        "LIST",
        "private hosts and networks that webhooks may use, such as 'intranet,10.0.0.0/8'",
        hosts,
    ),
    Option(
        "webhook_proxy",
        "KUE_WEBHOOK_PROXY",
        "",
        "URL",
        "proxy for webhooks: http://, https://, socks5:// or socks5h://host:port",
        proxy,
        secret=True,
    ),
    Option(
        "alert_failure_rate",
        "KUE_ALERT_FAILURE_RATE",
        "50%",
        "PERCENT",
        "alert if a higher percentage of the last 5 minutes' attempts failed (with at least 10 attempts); or off",
        percent_or_off,
    ),
    Option(
        "alert_queue_time",
        "KUE_ALERT_QUEUE_TIME",
        "off",
        "TIME",
        "alert if the oldest waiting job has waited longer, such as 15m; or off",
        duration_or_off,
    ),
    Option(
        "alert_no_worker",
        "KUE_ALERT_NO_WORKER",
        "5m",
        "TIME",
        "alert if a type has waiting jobs but no worker for longer, such as 5m; or off",
        duration_or_off,
    ),
    Option(
        "alert_redis_memory",
        "KUE_ALERT_REDIS_MEMORY",
        "90%",
        "PERCENT",
        "alert if Redis uses more than this percentage of its memory limit; or off",
        percent_or_off,
    ),
    Option(
        "alert_disk_free",
        "KUE_ALERT_DISK_FREE",
        "1G",
        "SIZE",
        "alert if less disk space is free in the download folder, such as 2G; or off",
        size_or_off,
    ),
)
