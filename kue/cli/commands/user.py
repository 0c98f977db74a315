"""``kue user``: the users of the monitor in their file, and their sessions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ...config.users_file import ROLES, FileUser, UsersFileError, check_name, editing, read
from ...queue import Queue
from ..green_start import need
from ..options import json_option, with_queue
from ..output import plain, print_json, table

#: Minimum length of a password.
PASSWORD_MIN = 8


@click.group(short_help="Manage the users of the monitor.")
def user() -> None:
    """Manage the users of the monitor, which are stored in a file with hashed passwords.

    Web processes read the file given by KUE_USERS_FILE, and notice changes immediately. Removing a user or changing the
    password ends the user's sessions everywhere. Run these commands as the system user that runs the monitor: only the
    owner can read the file.

    \b
    export KUE_USERS_FILE=/etc/kue/users
    kue user add anna
    kue user add eva --role read < password.txt
    """


def _with_file(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--file``; the first argument is the path."""

    @click.option("--file", "given", metavar="FILE", help="Users file  [KUE_USERS_FILE]")
    @wraps(fn)
    def command(*args: Any, given: str | None, **kwargs: Any) -> Any:
        path = given or os.environ.get("KUE_USERS_FILE", "").strip()
        if not path:
            raise click.UsageError("give the users file: --file FILE, or KUE_USERS_FILE")
        return fn(Path(path).expanduser(), *args, **kwargs)

    return command


@user.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="write", show_default=True, help="Access: write or read.")
@_with_file
def add(path: Path, name: str, role: str) -> None:
    """Add a user.

    Prompts for the password; if stdin is not a terminal, reads it from the first line.
    """
    check_name(name)
    if path.exists() and name in _read(path):  # before the password prompt
        raise _known(name)
    hashed, is_new = _hashed_password(), not path.exists()
    with editing(path) as users:
        if name in users:
            raise _known(name)
        users[name] = FileUser(name, role, hashed)
    print(f"{name} added, {role}")
    if is_new and hasattr(os, "geteuid") and os.geteuid() == 0:
        note = f"kue: {path} belongs to root, so only root can read it; chown it to the user that runs the page"
        print(note, file=sys.stderr)


@user.command()
@click.argument("name")
@_with_file
def passwd(path: Path, name: str) -> None:
    """Change a user's password and end all of their sessions. The password is read as for `kue user add`."""
    if name not in _read(path):
        raise _unknown(name)
    hashed = _hashed_password()
    with editing(path) as users:
        if name not in users:
            raise _unknown(name)
        users[name] = users[name]._replace(hash=hashed)
    print(f"{name}: password changed, all sessions ended")


@user.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@_with_file
def role(path: Path, name: str, role: str) -> None:
    """Change a user's access: write or read."""
    with editing(path) as users:
        if name not in users:
            raise _unknown(name)
        users[name] = users[name]._replace(role=role)
    print(f"{name}: {role}")


@user.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_with_file
def rm(path: Path, names: tuple[str, ...]) -> None:
    """Remove users and end their sessions."""
    with editing(path) as users:
        for name in names:
            if users.pop(name, None) is None:
                raise _unknown(name)
    for name in names:
        print(f"{name} removed")


@user.command()
@json_option
@_with_file
def ls(path: Path, as_json: bool) -> None:
    """List the users."""
    found = _read(path)
    if as_json:
        print_json([{"name": each.name, "role": each.role} for each in found.values()])
    else:
        table(("NAME", "ROLE"), [(each.name, each.role) for each in found.values()])


@user.command()
@click.argument("name", required=False)
@click.option("--all", "everybody", is_flag=True, help="End the sessions of all users.")
@with_queue
def logout(queue: Queue, name: str | None, everybody: bool) -> None:
    """End all sessions of a user in the monitor of a queue, in every browser. The user can log in again.

    Redis stores it, so specify the queue as for other commands. Open pages are disconnected within 10 seconds.
    """
    if bool(name) == everybody:
        raise click.UsageError("give a user name, or --all")
    queue.end_sessions_of(name)
    print("all sessions have ended" if everybody else f"the sessions of {plain(name)} have ended")


def _read(path: Path) -> dict[str, FileUser]:
    try:
        users, problems = read(path)
    except OSError as exc:
        raise UsersFileError(f"{path}: {exc.strerror or exc}") from exc
    for problem in problems:
        print(f"kue: {path}: {problem}", file=sys.stderr)
    return users


def _known(name: str) -> click.ClickException:
    return click.ClickException(f"user {name} already exists; `kue user passwd {name}` changes the password")


def _unknown(name: str) -> click.ClickException:
    return click.ClickException(f"user {plain(name)} does not exist; `kue user ls` lists all users")


def _hashed_password() -> str:
    """Read a password and return its hash."""
    need("werkzeug", extra="web", what="kue user")
    from werkzeug.security import generate_password_hash  # not needed by the other commands

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = sys.stdin.buffer.readline().decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise click.ClickException("the password on stdin is not UTF-8") from None
    if len(password) < PASSWORD_MIN:
        raise click.ClickException(f"the password is too short: use at least {PASSWORD_MIN} characters")
    return generate_password_hash(password)
