"""A task: a function that can be called as usual, or run as a job."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from ..base_job import BaseJob, JobOwner
from ..errors import InvalidJob, UnrecoverableError
from ..job import Job
from ..worker.attempts.handler import is_async
from .signature import Signature

if TYPE_CHECKING:
    from ..async_client.typed_job import AsyncTypedJob

P = ParamSpec("P")
R = TypeVar("R")
J = TypeVar("J", bound=BaseJob)
F = TypeVar("F", bound=Callable[..., Any])


class TypedJob(Job, Generic[R]):
    """A job of a task: ``wait`` returns a value of the task function's return type."""

    def __init__(self, owner: JobOwner[Any], job_type: str, data: Any, read_result: Callable[[Any], R]) -> None:
        super().__init__(owner, job_type, data)
        self._read_result = read_result

    def wait(self, timeout_s: float | timedelta | None = None) -> R:
        """Wait until the job has finished, and return its result in the declared type.

        Raises the same errors as ``Job.wait``, and InvalidJob if another worker's result is not of that type.
        """
        return self._read_result(super().wait(timeout_s))


class Task(Generic[P, R]):
    """A declared task, created by ``queue.task``. ``P``: the parameters of its jobs; ``R``: their result.

    It is only a declaration: nothing runs in this process before ``queue.work()`` or ``kue worker``.
    """

    #: The type of its jobs.
    name: str
    #: Maximum number of its jobs that run at once in a process.
    concurrency: int
    #: Further options of ``queue.process``.
    process_options: Mapping[str, Any]
    #: The handler: a coroutine function if the task's function is one.
    handler: Callable[[Any], Any]

    def __init__(
        self,
        owner: JobOwner[Any],
        fn: Callable[..., Any],
        name: str,
        concurrency: int,
        options: Mapping[str, Any],
        process_options: Mapping[str, Any],
    ) -> None:
        self.name, self.concurrency, self.process_options = name, concurrency, process_options
        self._owner, self._fn, self._options = owner, fn, options
        self._known: Signature | None = None
        self.handler = self._new_handler()
        update_wrapper(cast(Any, self), fn)
        Job.from_options(owner, name, None, options)
        with suppress(NameError):  # an annotation refers to a name defined later in the module
            self._known = Signature(name, fn)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def create(self, *args: P.args, **kwargs: P.kwargs) -> TypedJob[R]:
        """Return a new job for a call with these arguments, to be saved with ``save()``.

        Its data is the JSON object of the arguments. Raises InvalidJob, which names the parameter, for one that is
        missing, unknown or of the wrong type.
        """
        return self._new_job(args, kwargs)

    async def acreate(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTypedJob[R]:
        """Create and save a job for a call with these arguments, without blocking the event loop; return the job.

        It is saved by the ``kue.aio.Queue`` that the task was declared on. For a task of a ``kue.Queue``, each event
        loop has its own connections, which are closed when ``asyncio.run`` ends.
        """
        from ..async_client.typed_job import (
            AsyncTypedJob,  # imported here: programs without an event loop do not need it
        )

        signature = self._signature
        data = signature.data(args, kwargs)
        owner = await self._owner.queue._loop_store()
        job: AsyncTypedJob[R] = AsyncTypedJob(owner, self.name, data, signature.decode_result)
        job.set_options(self._options)
        return await job.save()

    def create_many(self, calls: Iterable[Mapping[str, Any] | TypedJob[R]]) -> list[TypedJob[R]]:
        """Save a job for each mapping of arguments or unsaved job, in pipelined calls; return the jobs in order.

        All are validated before the first is saved.
        """
        made = []
        for each in calls:
            if isinstance(each, TypedJob):
                made.append(each)
            elif isinstance(each, Mapping):
                made.append(self._new_job((), each))
            else:
                raise InvalidJob(f'task "{self.name}": create_many takes mappings of arguments, not {each!r}')
        self._owner.queue.create_many(made)
        return made

    def _new_job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TypedJob[R]:
        signature = self._signature
        job: TypedJob[R] = TypedJob(self._owner, self.name, signature.data(args, kwargs), signature.decode_result)
        job.set_options(self._options)
        return job

    @property
    def _signature(self) -> Signature:
        if self._known is None:
            try:
                self._known = Signature(self.name, self._fn)
            except NameError as exc:
                raise InvalidJob(f'task "{self.name}": an annotation cannot be resolved: {exc}') from None
        return self._known

    def _arguments(self, job: Any) -> tuple[list[Any], dict[str, Any]]:
        try:
            return self._signature.arguments(job)
        except InvalidJob as exc:
            raise UnrecoverableError(str(exc)) from None

    def _result(self, value: Any) -> Any:
        try:
            return self._signature.encode_result(value)
        except InvalidJob as exc:
            raise UnrecoverableError(str(exc)) from None

    def _new_handler(self) -> Callable[[Any], Any]:
        fn = self._fn

        def handler(job: Any) -> Any:
            args, kwargs = self._arguments(job)
            return self._result(fn(*args, **kwargs))

        async def async_handler(job: Any) -> Any:
            args, kwargs = self._arguments(job)
            return self._result(await fn(*args, **kwargs))

        made = async_handler if is_async(fn) else handler
        # Located like the task, so that another process finds it. It keeps its own signature: it takes the job.
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(fn, name):
                setattr(made, name, getattr(fn, name))
        return made


class FunctionTask(Task[P, R], Generic[P, R, F]):
    """A task with the signature of its function ``F``: calling it calls the function directly."""

    if TYPE_CHECKING:
        __call__: F
    else:

        def __call__(self, *args, **kwargs):
            return self._fn(*args, **kwargs)


class _Anything:
    """Stands for a first parameter of any type, including the job."""


class Declare(Protocol):
    """The decorator returned by ``queue.task``: makes a function a task.

    A first parameter annotated as ``kue.Job`` is the running job, and not a parameter of ``create``.
    """

    @overload
    def __call__(
        self, fn: Callable[Concatenate[_Anything, ...], Coroutine[Any, Any, R]], /
    ) -> FunctionTask[..., R, Callable[..., Coroutine[Any, Any, R]]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[_Anything, ...], R], /
    ) -> FunctionTask[..., R, Callable[..., R]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[J, P], Coroutine[Any, Any, R]], /
    ) -> FunctionTask[P, R, Callable[Concatenate[J, P], Coroutine[Any, Any, R]]]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> FunctionTask[P, R, Callable[P, Coroutine[Any, Any, R]]]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[J, P], R], /
    ) -> FunctionTask[P, R, Callable[Concatenate[J, P], R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> FunctionTask[P, R, Callable[P, R]]: ...
