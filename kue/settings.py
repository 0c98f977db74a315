"""The program's settings: each is an environment variable, and a flag that overrides it."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .alerts.rules import AlertRules
from .config.access_options import ACCESS_OPTIONS
from .config.parsers import (
    MAX_CONCURRENCY,
    Option,
    directory,
    existing_path,
    host_name,
    hosts,
    number_or_all,
    number_or_none,
    one_of,
    prefix,
    proxy,
    redis_url,
    size_bytes,
    size_or_none,
    whole_number,
    yes_or_no,
)
from .config.webhook_options import WEBHOOK_OPTIONS
from .errors import KueError


class SettingsError(KueError, ValueError):
    """A setting that cannot be used; the message names it and says what to write instead."""


@dataclass(frozen=True)
class Settings:
    """The settings of ``app.py`` and ``kue serve``; ``Settings.load()`` reads and checks them."""

    host: str
    port: int
    #: None: a Redis on 127.0.0.1:6379 if one answers, else the embedded server.
    redis_url: str | None
    prefix: str
    data_dir: Path
    concurrency: int
    workers: int
    #: Number of finished jobs to keep, and days to keep them; None: no limit.
    keep_complete: int | None
    keep_failed: int | None
    keep_days: int | None
    download_dir: Path
    download_allow: tuple[str, ...]
    download_max_bytes: int
    download_min_free: int | None
    #: Bytes per second, and concurrent downloads per host; None: no limit. So for the free space above.
    download_rate: int | None
    download_per_host: int | None
    #: URL of a proxy, a file or folder of further CA certificates, a PEM file with a client certificate and its key.
    download_proxy: str | None
    download_ca_bundle: Path | None
    download_client_cert: Path | None
    #: "user:password"
    auth: str | None
    #: The same with read-only access.
    auth_readonly: str | None
    #: Access tokens for ``Authorization: Bearer``; the second one is read-only.
    token: str | None
    token_readonly: str | None
    allow_anonymous: bool
    #: Empty: the page's own origin only.
    cors_origins: tuple[str, ...]
    #: The number of reverse proxies, or their networks, whose ``X-Forwarded-*`` headers are trusted.
    trusted_proxies: int | tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = 0
    #: "/kue", or empty.
    base_path: str = ""
    #: Host names that the server accepts, besides addresses and its own names.
    allowed_hosts: tuple[str, ...] = ()
    #: "http://web:3000": where workers elsewhere reach the server. Its port is always there.
    internal_url: str | None = None
    #: The header in which a proxy names the user, and the users with their roles, "write" or "read"; "*" is all others.
    auth_header: str | None = None
    auth_header_users: tuple[tuple[str, str], ...] = ()
    #: The header in which it names the user's groups, and the groups with their roles.
    auth_groups_header: str | None = None
    auth_header_groups: tuple[tuple[str, str], ...] = ()
    #: The file of further users: see users_file.py.
    users_file: Path | None = None
    #: Seconds from a login to the end of its session.
    session_lifetime: float = 7 * 24 * 3600
    #: "text" or "json"
    log_format: str = "text"
    #: A webhook, and the addresses besides public ones that webhooks may use.
    webhook_url: str | None = None
    webhook_events: tuple[str, ...] = ("failed", "alert")
    webhook_types: tuple[str, ...] = ()
    webhook_secret: str | None = None
    webhook_format: str = "standard"
    webhook_allow: tuple[str, ...] = ()
    webhook_proxy: str | None = None
    #: Thresholds of alerts: percent, ms and bytes; None: off.
    alert_failure_rate: float | None = None
    alert_queue_time: int | None = None
    alert_no_worker: int | None = None
    alert_redis_memory: float | None = None
    alert_disk_free: int | None = None

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] = os.environ,
        argv: Sequence[str] | None = None,
        program_name: str = "python app.py",
    ) -> Settings:
        """Read the flags in ``argv`` (None: no flags), the environment and the defaults, in this order of precedence.

        Raises SettingsError for a value that cannot be used. ``--help`` and unknown flags exit, as usual.
        """
        flags = vars(parser(program_name).parse_args(argv)) if argv is not None else {}
        values = {}
        for option in OPTIONS:
            name, text = option.flag, flags.get(option.field)
            if text is None:
                # An empty variable counts as unset: a shell or a compose file cannot always omit one.
                name, text = option.variable, environ.get(option.variable, "").strip() or option.default
            try:
                values[option.field] = option.parse(text.strip())
            except ValueError as exc:
                shown = name if option.secret else f"{name}={text}"
                raise SettingsError(f"{shown}: {exc}.") from None
        settings = cls(**values)
        settings._check_exposure()
        settings._check_accounts()
        return settings

    @property
    def keep_ms(self) -> int | None:
        """How long finished jobs are kept, ms."""
        return None if self.keep_days is None else self.keep_days * 24 * 3600 * 1000

    @property
    def all_download_allow(self) -> tuple[str, ...]:
        """``download_allow``, and the addresses at which browsers and workers reach this server."""
        hosts = dict.fromkeys((self.host, "localhost", "127.0.0.1", "[::1]"))
        own = [f"{host}:{self.port}" for host in hosts]
        if self.internal_url is not None:
            own.append(self.internal_url.partition("//")[2])
        return (*self.download_allow, *own)

    @property
    def alert_rules(self) -> AlertRules:
        """The rules of alerts that a process with these settings evaluates."""
        return AlertRules(
            self.alert_failure_rate, self.alert_queue_time, self.alert_no_worker, self.alert_redis_memory,
            self.alert_disk_free, self.download_dir,
        )  # fmt: skip

    def _check_exposure(self) -> None:
        tokens = self.token or self.token_readonly
        locked = self.auth or self.auth_readonly or tokens or self.auth_header or self.users_file
        if not locked and not self.allow_anonymous and not is_loopback(self.host):
            raise SettingsError(
                f"HOST={self.host} accepts connections from other machines, and anyone who connects can start and "
                "delete jobs. Set KUE_AUTH=user:password (--auth), or KUE_ALLOW_ANONYMOUS=1 (--allow-anonymous) to "
                "allow access without a password."
            )

    def _check_accounts(self) -> None:
        if self.auth and self.auth_readonly and self.auth.partition(":")[0] == self.auth_readonly.partition(":")[0]:
            raise SettingsError("KUE_AUTH_READONLY: use a different user name than in KUE_AUTH.")
        if self.token and self.token == self.token_readonly:
            raise SettingsError("KUE_TOKEN_READONLY: use a different token than in KUE_TOKEN.")

        if self.auth_header and not isinstance(self.trusted_proxies, tuple):
            # With a number, every client that reaches the port counts as the proxy, and could name any user.
            raise SettingsError(
                "KUE_AUTH_HEADER: set KUE_TRUSTED_PROXIES to the addresses of the proxies, such as 127.0.0.1; only "
                "they may name a user."
            )
        if bool(self.auth_groups_header) != bool(self.auth_header_groups):
            raise SettingsError("KUE_AUTH_GROUPS_HEADER and KUE_AUTH_HEADER_GROUPS must be set together.")
        if bool(self.auth_header) != bool(self.auth_header_users or self.auth_header_groups):
            raise SettingsError(
                "KUE_AUTH_HEADER and KUE_AUTH_HEADER_USERS must be set together, or KUE_AUTH_HEADER, "
                "KUE_AUTH_GROUPS_HEADER and KUE_AUTH_HEADER_GROUPS."
            )

    def __repr__(self) -> str:
        """Like a dataclass's, but without secrets, since logs and tracebacks may show it."""
        secrets = ("auth", "auth_readonly", "token", "token_readonly", "webhook_url", "webhook_secret")
        hidden: dict[str, Any] = {name: "***" if getattr(self, name) else None for name in secrets}
        for name in ("redis_url", "download_proxy", "webhook_proxy"):
            hidden[name] = _without_password(getattr(self, name))
        shown = (f"{field.name}={hidden.get(field.name, getattr(self, field.name))!r}" for field in fields(self))
        return f"Settings({', '.join(shown)})"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a server that listens on ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parser(program_name: str = "python app.py") -> argparse.ArgumentParser:
    """Return the parser of the flags; a flag that is not given is None."""
    result = argparse.ArgumentParser(
        prog=program_name,
        allow_abbrev=False,
        description="Run the job monitor and the download workers.",
        epilog="Each flag can also be given as the environment variable in brackets; the flag takes precedence.",
    )
    for option in OPTIONS:
        default = f"; default {option.default}" if option.default else ""
        switch: dict[str, Any] = {"nargs": "?", "const": "1"} if option.parse is yes_or_no else {}
        text = f"{option.help} [{option.variable}{default}]".replace("%", "%%")
        result.add_argument(option.flag, dest=option.field, metavar=option.metavar, help=text, **switch)
    return result


def _without_password(url: str | None) -> str | None:
    return url if url is None else re.sub(r"(//[^:@/]*:)[^/]*@", r"\1***@", url)


OPTIONS = (
    Option(
        "host", "HOST", "127.0.0.1", "ADDRESS", "address to listen on; anything but loopback requires --auth", host_name
    ),
    Option("port", "PORT", "3000", "N", "port to listen on", whole_number(1, 65535)),
    Option(
        "redis_url",
        "REDIS_URL",
        "",
        "URL",
        "Redis URL; if unset, a Redis on 127.0.0.1:6379, else the embedded server",
        redis_url,
        secret=True,
    ),
    Option("prefix", "KUE_PREFIX", "q", "WORD", "key prefix; processes with the same prefix share a queue", prefix),
    Option("data_dir", "KUE_DATA_DIR", ".kue", "DIR", "data directory of the embedded server", directory),
    Option("concurrency", "KUE_CONCURRENCY", "1", "N", "concurrent downloads", whole_number(1, MAX_CONCURRENCY)),
    Option("workers", "KUE_WORKERS", "1", "N", "0: serve the pages only, run no jobs", whole_number(0, 1)),
    Option("keep_complete", "KUE_KEEP_COMPLETE", "10000", "N", "completed jobs to keep, or all", number_or_all),
    Option("keep_failed", "KUE_KEEP_FAILED", "10000", "N", "failed jobs to keep, or all", number_or_all),
    Option("keep_days", "KUE_KEEP_DAYS", "30", "N", "days to keep finished jobs, or all; files stay", number_or_all),
    Option("download_dir", "DOWNLOAD_DIR", "downloads", "DIR", "download directory", directory),
    Option(
        "download_allow",
        "DOWNLOAD_ALLOW",
        "",
        "LIST",
        "private hosts and networks to allow, such as 'intranet,10.0.0.0/8'",
        hosts,
    ),
    Option(
        "download_max_bytes",
        "DOWNLOAD_MAX_BYTES",
        "10G",
        "SIZE",
        "largest file: bytes, or with a unit: 500M, 10G",
        size_bytes,
    ),
    Option(
        "download_min_free",
        "DOWNLOAD_MIN_FREE",
        "256M",
        "SIZE",
        "minimum free disk space; a download that does not fit above it waits",
        size_or_none,
    ),
    Option(
        "download_rate",
        "DOWNLOAD_RATE",
        "",
        "SIZE",
        "total bandwidth of all processes, bytes/s, such as 5M; default: no limit",
        size_or_none,
    ),
    Option(
        "download_per_host",
        "DOWNLOAD_PER_HOST",
        "",
        "N",
        "concurrent downloads per host, in all processes; default: no limit",
        number_or_none,
    ),
    Option(
        "download_proxy",
        "DOWNLOAD_PROXY",
        "",
        "URL",
        "proxy for downloads: http://, https://, socks5:// or socks5h://host:port",
        proxy,
        secret=True,
    ),
    Option(
        "download_ca_bundle",
        "DOWNLOAD_CA_BUNDLE",
        "",
        "FILE",
        "additional CA certificates (PEM) to trust",
        existing_path,
    ),
    Option(
        "download_client_cert",
        "DOWNLOAD_CLIENT_CERT",
        "",
        "FILE",
        "client certificate and its key (PEM), for servers that require one",
        existing_path,
    ),
    *ACCESS_OPTIONS,
    Option("log_format", "KUE_LOG_FORMAT", "text", "FORMAT", "log lines: text, or json", one_of("text", "json")),
    *WEBHOOK_OPTIONS,
)
