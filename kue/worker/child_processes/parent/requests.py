"""Requests of a handler in a child process, executed by its parent, which holds the job."""

from __future__ import annotations

from .... import errors
from ....errors import KueError
from ...attempts.execution import Execution
from ..messages import Message


def answer(execution: Execution, message: Message) -> Message:
    """Execute a request and return the reply. Never raises; calls Redis."""
    try:
        return {"answer": message["ask"], "value": _do(execution, message["what"], message["arguments"])}
    except (KueError, errors.JobInterrupt) as exc:
        return _failure(message, type(exc).__name__, str(exc), execution)
    except Exception as exc:
        return _failure(message, "KueError", f"{type(exc).__name__}: {exc}", execution)


def _do(execution: Execution, what: str, arguments: list[object]) -> object:
    job = execution.job
    owner, job_id = job._owner, job._saved_id()
    if what == "log":
        owner.log(job_id, job._token, str(arguments[0]))
    elif what == "progress":
        percent, data, keep = arguments
        owner.progress(job, job._token, percent, data, keep)  # type: ignore[arg-type]
    elif what == "read":
        return owner.read(job_id)
    elif what == "children":
        return owner.children_page(*arguments)  # type: ignore[arg-type]
    elif what == "hashes":
        return owner.hashes(arguments[0])  # type: ignore[arg-type]
    elif what == "remove":
        owner.remove(job_id)
    elif what == "cancel":
        owner.cancel(job_id)
    elif what == "pause":
        execution.context.pause()
    elif what == "resume":
        execution.context.resume()
    else:
        raise KueError(f"unknown request of a child process: {what!r}")
    return None


def _failure(message: Message, kind: str, text: str, execution: Execution) -> Message:
    return {"answer": message["ask"], "error": kind, "text": text, "job_id": execution.job.id}
