"""Checks of the machine: folders, disk space, certificates, the port, packages, the system user."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ..process import descriptors
from ..settings import Settings
from ..text.humanize import size_text
from .finding import Finding, error, ok, warning

#: A lower limit of open files is soon reached by connections and downloads.
FILES_FEW = 1024
#: Timeout of a connection to a proxy, seconds.
CONNECT_S = 3.0
#: The packages of the extra `web`.
_WEB = ("flask", "flask_socketio", "prometheus_client", "certifi", "idna")
#: Default ports of proxies by scheme.
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


def check(settings: Settings) -> Iterator[Finding]:
    """Yield findings about this machine, as the system user that runs the check."""
    yield from _download_folder(settings)
    yield from _certificates(settings)
    yield from _proxy("DOWNLOAD_PROXY", settings.download_proxy)
    yield from _proxy("KUE_WEBHOOK_PROXY", settings.webhook_proxy)
    yield from _port(settings)
    yield from _packages()
    yield from _process()


def folder_problem(folder: Path) -> str | None:
    """Return why a folder cannot be written to or created; None if it can."""
    present = folder.absolute()
    while not present.exists():
        present = present.parent
    if not present.is_dir():
        return f"{present} is a file"
    try:
        with tempfile.TemporaryFile(dir=present):
            return None
    except OSError as exc:
        where = "" if present == folder.absolute() else f", in which {folder} would be created,"
        return f"{present}{where} is not writable for this user ({exc.strerror or exc})"


def _download_folder(settings: Settings) -> Iterator[Finding]:
    about, folder = "download folder", settings.download_dir.absolute()
    if problem := folder_problem(folder):
        yield error(about, problem, "Make it writable for the workers' user, or set DOWNLOAD_DIR.")
        return
    present = folder
    while not present.exists():
        present = present.parent
    free, reserve = shutil.disk_usage(present).free, settings.download_min_free or 0
    amount = f"{folder} has {size_text(free)} free"
    if free < reserve:
        yield error(
            about, f"{amount}, less than DOWNLOAD_MIN_FREE ({size_text(reserve)}): downloads would wait",
            "Free some space, or lower DOWNLOAD_MIN_FREE.",
        )  # fmt: skip
    elif free - reserve < settings.download_max_bytes:
        yield warning(
            about, f"{amount}, but one file may be {size_text(settings.download_max_bytes)}",
            "Free some space, or lower DOWNLOAD_MAX_BYTES.",
        )  # fmt: skip
    else:
        yield ok(about, amount)


def _certificates(settings: Settings) -> Iterator[Finding]:
    context = ssl.create_default_context()
    if bundle := settings.download_ca_bundle:
        try:
            if bundle.is_dir():
                context.load_verify_locations(capath=bundle)
            else:
                context.load_verify_locations(cafile=bundle)
        except (OSError, ssl.SSLError) as exc:
            yield error("certificates", f"DOWNLOAD_CA_BUNDLE {bundle} cannot be loaded ({exc})", "Use a PEM file.")
    if certificate := settings.download_client_cert:
        try:
            context.load_cert_chain(certificate)
        except (OSError, ssl.SSLError) as exc:
            yield error(
                "certificates", f"DOWNLOAD_CLIENT_CERT {certificate} cannot be loaded ({exc})",
                "Put the certificate and its key, without a password, into one PEM file readable for the workers.",
            )  # fmt: skip


def _proxy(variable: str, url: str | None) -> Iterator[Finding]:
    if not url:
        return
    about = variable.removeprefix("KUE_").lower().replace("_", " ")
    parts = urlsplit(url)
    where = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    try:
        socket.create_connection(where, CONNECT_S).close()
        yield ok(about, f"{where[0]}:{where[1]} accepts connections")
    except OSError as exc:
        yield error(
            about, f"cannot connect to {where[0]}:{where[1]} ({exc.strerror or exc})",
            f"Correct {variable}, or start the proxy.",
        )  # fmt: skip


def _port(settings: Settings) -> Iterator[Finding]:
    about, where = "port", f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((settings.host, settings.port))
        yield ok(about, f"{where} is free")
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            yield warning(about, f"{where} is in use", "If that is not the page itself, choose another PORT.")
        elif isinstance(exc, PermissionError):
            yield error(about, f"this user may not listen on {where}", "Choose a PORT of 1024 or more.")
        else:
            yield error(about, f"cannot listen on {where} ({exc.strerror or exc})", "Set HOST to one of its addresses.")


def _packages() -> Iterator[Finding]:
    missing = [name for name in _WEB if importlib.util.find_spec(name) is None]
    if missing:
        yield warning(
            "packages", f"the page and the download workers need {', '.join(missing)}",
            "pip install 'kue[web]', unless only your own workers run here.",
        )  # fmt: skip


def _process() -> Iterator[Finding]:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield warning(
            "system user", "running as root, which may write everywhere",
            "Run the programs and this check as a dedicated user.",
        )  # fmt: skip
    limit = descriptors.raise_limit()
    if limit < FILES_FEW:
        yield warning(
            "open files", f"a process may open {limit} files", "Raise the limit (LimitNOFILE=, ulimit -n) to 4096."
        )
