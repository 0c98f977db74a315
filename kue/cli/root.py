"""The command group. Errors become one line on stderr and an exit code that scripts can use."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import NoReturn

import click
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.sentinel import MasterNotFoundError

from .. import __version__
from ..errors import KueError, QueueUnavailable
from ..process.startup import started
from .options import Place, place_options

OK, FAILED, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130

EPILOG = """\b
Exit codes: 0 success; 1 job not found, in the wrong state or failed, or the doctor or the check found problems;
2 usage error; 3 Redis is unreachable or refused the command."""


#: Each command's module, in the order of the help.
MODULES = {
    **{name: f"programs.{name}" for name in ("serve", "dashboard", "worker", "download")},
    **{"stats": "jobs.stats", "ls": "jobs.show", "show": "jobs.show", "tree": "jobs.tree"},
    **{"log": "jobs.show", "create": "jobs.create"},
    **{name: name for name in ("schedule", "webhook", "alerts")},
    **{name: "jobs.actions" for name in ("retry", "rm", "promote", "cancel", "pause", "resume")},
    **{"limit": "limit", "clean": "jobs.actions"},
    **{name: name for name in ("doctor", "check", "user", "bench", "completion")},
}


class Commands(Mapping[str, click.Command]):
    """The commands by name, imported on demand: most need modules that others do not."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(import_module(f".commands.{MODULES[name]}", __package__), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class Root(click.Group):
    """List commands in the order of the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Root,
    commands=Commands(),
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="kue %(version)s")
@place_options
@click.pass_context
def cli(ctx: click.Context, url: str | None, prefix: str | None) -> None:
    """Inspect, operate and run workers for a queue of kue or of Node's Kue.

    \b
    kue stats                       jobs by type and state, and the workers
    kue ls failed                   list failed jobs
    kue retry --type email          retry all failed jobs of a type
    kue serve                       serve the monitor and run download workers
    kue download URL                download a file, without a server
    kue schedule ls                 list schedules
    kue webhook add URL             send events and alerts to a URL
    kue dashboard -p 3050           serve the monitor for an existing queue
    kue worker app:queue            run the handlers of app.py
    kue check                       check settings and Redis before a deployment

    -r and -q work before or after the command.
    """
    ctx.obj = Place(url, prefix)

#: Why the output cannot be written, other than that its reader has gone. Such an error names no file.
OUTPUT_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with an exit code."""
    started()
    # eventlet warns at import that it is deprecated. The user of a command cannot do anything about it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = run(args)
    wrong = _flush_stdout()
    sys.exit(_say(f"cannot write the output: {wrong.strerror}", FAILED) if wrong else code)


def run(args: Sequence[str] | None) -> int:
    """Run one command and return its exit code."""
    try:
        code = cli.main(args=args, prog_name="kue", complete_var="_KUE_COMPLETE", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.UsageError as exc:
        where = exc.ctx.command_path if exc.ctx is not None else "kue"
        return _say(f"{exc.format_message().rstrip('.')}; see {where} --help", USAGE)
    except click.ClickException as exc:
        return _say(exc.format_message(), exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _say("stopped", INTERRUPTED)
    except SystemExit:  # click exits like this when the reader closed the pipe
        _forget_stdout()
        return OK
    except QueueUnavailable as exc:
        return _say(f"Redis is unreachable: {_reason(exc)}", UNAVAILABLE)
    except KueError as exc:
        return _say(str(exc), FAILED)
    except RedisError as exc:
        return _say(f"Redis refused the command: {exc}", UNAVAILABLE)
    except OSError as exc:
        if exc.errno not in OUTPUT_ERRORS or exc.filename is not None:
            raise
        _forget_stdout()
        return _say(f"cannot write the output: {exc.strerror}", FAILED)


def _reason(exc: QueueUnavailable) -> str:
    cause = exc.reason or exc
    if isinstance(cause, MasterNotFoundError):  # its text repeats every connection object
        return "no Sentinel that responded knows the primary"
    if type(cause) in (ConnectionError, TimeoutError) and "REDIS_URL" not in str(cause):
        return f"{str(cause).rstrip('.')}. Start it, or give the URL of another one with -r or REDIS_URL"
    return str(cause)


def _say(message: str, code: int) -> int:
    print("kue:", " ".join(message.split()), file=sys.stderr)
    return code


def _flush_stdout() -> OSError | None:
    """Write what is left of the output; return why that is impossible, except that its reader has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError as exc:
        _forget_stdout()
        return exc
    return None


def _forget_stdout() -> None:
    """Keep Python from reporting the failure again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
