"""``kue check``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...preflight import examine
from ...preflight.environment import read_file
from ..options import Place, json_option, with_place
from ..output import paint, plain, print_json

COLORS = {"error": "red", "warning": "yellow", "ok": "green"}
#: Exit code if Redis is unreachable, as for all commands.
UNREACHABLE = 3


@click.command(short_help="Check settings, Redis and this machine before a deployment.")
@click.option(
    "--env-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Read variables from a file, such as systemd's EnvironmentFile. They override those of the environment.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--quiet", is_flag=True, help="Print problems only.")
@json_option
@with_place
def check(place: Place, env_file: Path | None, strict: bool, quiet: bool, as_json: bool) -> int:
    """Check settings, Redis, folders, users and proxies before a deployment.

    Each finding is one line: its level (error, warning or ok), its subject, the problem, and the remedy. Run it as the
    system user that runs the programs, with their environment:

    \b
    sudo -u kue kue check --env-file /etc/kue.env

    Checks the values of all settings, and variables that are not settings; Redis' version, memory policy, persistence,
    role, Cluster and permissions (by trying each command on separate keys); the download folder and disk space;
    certificates, proxies, the port, and the users file.

    \b
    Exit codes: 0 no errors; 1 errors (with --strict: or warnings); 2 usage error; 3 Redis is unreachable
    or refuses the connection.
    """
    environ = dict(os.environ)
    if env_file is not None:
        try:
            environ |= read_file(env_file)
        except (OSError, ValueError) as exc:
            raise click.UsageError(f"{env_file}: {exc}") from None
    for name, value in (("REDIS_URL", place.url), ("KUE_PREFIX", place.prefix)):
        if value is not None:
            environ[name] = value
    found, unreachable = [], False
    for finding, is_outage in examine(environ):
        found.append(finding)
        unreachable = unreachable or is_outage
        if not as_json and not (quiet and finding.level == "ok"):
            level = paint(f"{finding.level:<7}", COLORS[finding.level])
            print(f"{level}  {finding.about}: {plain(finding.what)}. {plain(finding.remedy)}".rstrip(), flush=True)
    errors = sum(each.level == "error" for each in found)
    warnings = sum(each.level == "warning" for each in found)
    if as_json:
        print_json([each._asdict() for each in found])
    elif errors or warnings or not quiet:
        print(f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}")
    if unreachable:
        return UNREACHABLE
    return 1 if errors or (strict and warnings) else 0
