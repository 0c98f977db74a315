"""What a scripted handler does: tests/node/behavior.js, for Python handlers. The scripts are described there."""

from __future__ import annotations

import threading
import time
from typing import Any

Actions = list[list[Any]]
Script = list[Actions] | None


class Error(Exception):
    """Named as JavaScript's, so that "Error: text" is the first line of either side's stack."""


def attempt_of(script: Script, job: Any) -> Actions:
    """The actions for this attempt of the job; a script of None stands in the job's own data, under ``plan``."""
    attempts: list[Actions] = job.data["plan"] if script is None else script
    return attempts[min(job.attempts_made or 0, len(attempts) - 1)] if attempts else []


def run(actions: Actions, job: Any, done: Any, let_go: threading.Event) -> None:
    """Do the actions on the job and call ``done``. ``hang`` lasts until ``let_go`` is set."""
    for verb, *args in actions:
        if verb == "log":
            job.log(*args)
        elif verb == "progress":
            job.progress(*args)
        elif verb == "sleep":
            time.sleep(args[0] / 1000)
        elif verb == "hang":
            let_go.wait(timeout=30)
        elif verb == "return":
            done(None, args[0])
            return
        elif verb == "fail":
            raise Error(args[0])
        elif verb == "fail text":
            done(args[0])
            return
        else:
            raise AssertionError(f"no such action: {verb}")
    done()
