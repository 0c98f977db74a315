"""Checks of authentication and access: passwords, the users file, reverse proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..config.users_file import exposure, read
from ..settings import Settings, is_loopback
from .finding import Finding, error, ok, warning

#: Minimum length of a password that is not easily guessed.
PASSWORD_MIN = 8


def check(settings: Settings) -> Iterator[Finding]:
    """Yield findings about access to the page."""
    if settings.users_file:
        yield from _users_file(settings.users_file, alone=not (settings.auth or settings.token or settings.auth_header))
    for name, text in (("KUE_AUTH", settings.auth), ("KUE_AUTH_READONLY", settings.auth_readonly)):
        if text and len(text.partition(":")[2]) < PASSWORD_MIN:
            yield warning("login", f"the password in {name} is short", f"Use at least {PASSWORD_MIN} characters.")
    is_open = not is_loopback(settings.host)
    if is_open and settings.allow_anonymous:
        yield warning(
            "login", "anyone who can connect may start and delete jobs (KUE_ALLOW_ANONYMOUS)", "Set KUE_AUTH instead."
        )
    if "*" in settings.cors_origins:
        yield warning(
            "login", "pages of any website may connect (KUE_CORS_ORIGINS=*)", "List only the origins that need it."
        )
    yield from _proxies(settings, is_open)


def _users_file(path: Path, alone: bool) -> Iterator[Finding]:
    about = "users file"
    try:
        users, problems = read(path)
        seen = exposure(path)
    except OSError as exc:
        what = f"{path} cannot be read by this user ({exc.strerror or exc})"
        yield error(about, what, "Create it with `kue user add NAME`, as the system user that runs the page.")
        return
    for problem in problems:
        yield error(about, f"{path}, {problem}", "Correct the line, or remove it.")
    if seen:
        what, _, remedy = seen.partition(": ")
        yield warning(about, f"{path}: {what}", f"{remedy[:1].upper()}{remedy[1:]}.")
    writers = sum(user.role == "write" for user in users.values())
    if not writers and alone:
        yield warning(about, f"no user in {path} has read-write access", "Add a user: `kue user add NAME`.")
    else:
        yield ok(about, f"{len(users)} users, {writers} with read-write access")


def _proxies(settings: Settings, is_open: bool) -> Iterator[Finding]:
    about, trusted = "proxies", settings.trusted_proxies
    if isinstance(trusted, int) and trusted and is_open:
        yield warning(
            about, f"KUE_TRUSTED_PROXIES={trusted} trusts every client of {settings.host}:{settings.port}",
            "Write the addresses of the proxies, or make the port reachable for them only.",
        )  # fmt: skip
    if not trusted and settings.base_path:
        yield warning(
            about, "KUE_BASE_PATH is set, but no proxy is trusted: all visitors share the proxy's address",
            "Set KUE_TRUSTED_PROXIES to the addresses of the proxies.",
        )  # fmt: skip
    if trusted and not settings.allowed_hosts:
        yield warning(
            about, "a proxy is trusted, but no public host name is set", "Set KUE_ALLOWED_HOSTS to the name that "
            "visitors use, unless it is this machine's own.",
        )  # fmt: skip
    if not trusted and is_open and not settings.allow_anonymous:
        yield warning(
            about, f"passwords are sent to {settings.host}:{settings.port} without TLS",
            "Use a reverse proxy with TLS, and set HOST=127.0.0.1 and KUE_TRUSTED_PROXIES.",
        )  # fmt: skip
