"""A child process: import the handler and run one attempt after another until the parent closes the socket."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any, NamedTuple, cast

import setproctitle

from .... import child_process, logs
from ....base_job import JobOwner
from ....concurrency import green
from ....errors import WorkerStopping
from ....job import Job
from ....middleware import acompose
from ...attempts.execution import Context
from ...attempts.handler import Handler, is_async, read_handler
from ...attempts.handler_call import call
from ...attempts.outcomes import completed, describe, has_lost_job
from ...isolation.options import Isolation, exceeded
from ...isolation.target import Target
from ..memory import limit_data
from ..messages import CONTROL_FD, SOCKET_FD, Message
from . import recording
from .async_job import async_job
from .channel import Channel
from .interrupts import Interrupts
from .job_owner import RemoteOwner

#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
#: Interval of checking that the parent lives, where the kernel does not report its end, ms.
LOOK_MS = 1000


class Loaded(NamedTuple):
    """The handler that the child runs."""

    handler: Handler
    owner: JobOwner[Any]


def run_child(setup: dict[str, Any]) -> None:
    """Run as the child that ``setup`` describes, until the parent closes the socket."""
    end_with_parent(setup["parent"])
    faulthandler.enable(all_threads=False)
    interrupts = Interrupts(CONTROL_FD)
    channel = Channel(SOCKET_FD, interrupts)
    title = f"kue worker child {setup['type']}"
    setproctitle.setproctitle(f"{title} [starting]")
    try:
        loaded = load(setup, channel)
    except BaseException as exc:
        channel.send({"unusable": _why(exc)})
        raise
    gc.freeze()  # what is imported lives as long as the child
    gc.enable()
    limit_bytes = setup["memory_limit_bytes"]
    if limit_bytes is not None:
        limit_data(limit_bytes)
    channel.send({"ready": True})
    setproctitle.setproctitle(f"{title} [idle]")
    while (message := channel.receive()) is not None:
        setproctitle.setproctitle(f"{title} [busy job {message['id']}]" if "run" in message else title)
        if "run" in message:
            channel.send(run_attempt(message, loaded, channel, interrupts, limit_bytes))
            setproctitle.setproctitle(f"{title} [idle]")


def load(setup: dict[str, Any], channel: Channel) -> Loaded:
    """Import the handler without running its main module's guarded code."""
    target, prefix, job_type = Target(**setup["target"]), setup["prefix"], setup["type"]
    child_process.is_child = child_process.is_importing = True
    modules = {target.registered_in, target.module}
    if "__main__" in modules:  # under another name, like multiprocessing, so that its guarded code does not run
        spawn.prepare({name: value for name, value in target.preparation.items() if name.startswith("init_main")})
    for name in sorted(modules - {"__main__"}):
        importlib.import_module(name)
    module = "__mp_main__" if target.module == "__main__" else target.module
    fn, owner = _find(prefix, job_type, module, target.qualname)
    child_process.is_importing = False
    if setup["logging"] is not None:
        _configure_logging(**setup["logging"])
    return Loaded(read_handler(fn, target, Isolation()), cast(JobOwner[Any], RemoteOwner(channel, owner)))


def _configure_logging(json: bool = False, **options: Any) -> None:
    """Log as the parent does, unless an imported module has said how."""
    if json:
        output = logging.StreamHandler()
        output.setFormatter(logs.JsonFormatter())
        options["handlers"] = [output]
    logging.basicConfig(**options)


def _find(prefix: str, job_type: str, module: str, qualname: str) -> tuple[Callable[..., Any], JobOwner[Any] | None]:
    """Return the handler, and its queue's JobOwner if an imported module created the queue."""
    recorded = recording.handler_of(prefix, job_type, module, qualname)
    if recorded is not None:
        return recorded.fn, recorded.owner
    value: Any = sys.modules[module]
    for name in qualname.split("."):
        value = getattr(value, name)
    task_handler = getattr(value, "handler", None)
    if callable(task_handler):  # a task only declares its handler
        return task_handler, value._owner
    return value, recording.owner_of(prefix)


def _why(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def run_attempt(
    message: Message, loaded: Loaded, channel: Channel, interrupts: Interrupts, limit_bytes: int | None
) -> Message:
    """Run the handler; return how the attempt ended."""
    run = channel.run = message["run"]
    job: Job | None = None
    try:
        job = Job.from_hash(loaded.owner, message["id"], message["fields"])
        job.state, job.started_at, job._token = "active", message["started_at"], message["token"]
        job.worker_id = message["worker_id"]
        cast(RemoteOwner, loaded.owner).running_id = job.id
        try:
            interrupts.begin(run, job)
            with logs.in_context_of(job):
                result = _call(loaded.handler, job, channel, interrupts)
        finally:
            interrupts.end()
        outcome = completed(job, result)
        return {"ended": run, "verb": outcome.verb, "values": outcome.values}
    except BaseException as exc:
        if isinstance(exc, WorkerStopping):
            return {"ended": run, "verb": "stopped"}
        if job is not None and has_lost_job(job, exc):
            return {"ended": run, "verb": "lost"}
        failure = describe(exc)
        if isinstance(exc, MemoryError) and limit_bytes is not None:
            why = exceeded(limit_bytes)
            failure = failure._replace(error=f"{why}\n{failure.error}", line=why, message=why)
        return {"ended": run, "failure": failure, "spent": isinstance(exc, MemoryError)}


def _call(handler: Handler, job: Job, channel: Channel, interrupts: Interrupts) -> Any:
    if is_async(handler.fn):
        return asyncio.run(_await(handler, job, interrupts))
    return call(handler, job, Context(lambda: channel.ask("pause"), lambda: channel.ask("resume")))


async def _await(handler: Handler, job: Job, interrupts: Interrupts) -> Any:
    """Await an async handler inside the middleware. Stopping it cancels it, as on a worker's event loop."""
    task = asyncio.ensure_future(acompose(handler.fn, job._owner.middlewares)(async_job(job)))
    loop = asyncio.get_running_loop()
    interrupts.stop_task = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise job._interrupt or asyncio.CancelledError from None
    finally:
        interrupts.stop_task = None


def end_with_parent(parent: int) -> None:
    """End this process immediately when the parent ends for whatever reason."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the prctl call
        os._exit(0)
    green.original("threading").Thread(target=_watch, args=(parent,), name="kue parent", daemon=True).start()


def _watch(parent: int) -> None:
    """End the process when the parent closes the control pipe, or the parent process id changes."""
    select = green.original("select")
    poll = select.poll()
    poll.register(CONTROL_FD, 0)  # a hang-up is always reported
    while not poll.poll(LOOK_MS) and os.getppid() == parent:
        pass
    os._exit(0)
