"""A task's signature: the arguments in a job's data, and the function's return type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_type_hints

from ..base_job import WAIT, BaseJob
from ..errors import InvalidJob
from .conversion import Converter, Mismatch, Unsupported

_EMPTY = inspect.Parameter.empty
#: Kue stores a job's title in its data, next to the arguments.
TITLE = "title"


class Parameter(NamedTuple):
    """A parameter of a task. ``default`` is ``inspect.Parameter.empty`` if required."""

    name: str
    kind: Any
    default: Any
    converter: Converter


class Signature:
    """The parameters and the return type of one function.

    Raises InvalidJob, which names the task and the parameter, for types without a JSON form, and NameError for an
    annotation that cannot be resolved yet.
    """

    def __init__(self, task: str, fn: Callable[..., Any]) -> None:
        self._task = task
        hints = get_type_hints(_function_of(fn), include_extras=True)
        parameters = list(inspect.signature(fn).parameters.values())
        #: Whether the first parameter is the running job.
        self.takes_job = bool(parameters) and _is_job(hints.get(parameters[0].name))
        self._parameters: dict[str, Parameter] = {}
        self._others: Converter | None = None
        for each in parameters[self.takes_job :]:
            declared = hints.get(each.name, Any)
            if each.kind is each.VAR_POSITIONAL:
                raise InvalidJob(f'task "{task}": parameter "*{each.name}": arguments need names in the job\'s data')
            if _is_job(declared):
                raise InvalidJob(f'task "{task}": parameter "{each.name}": the job must be the first parameter')
            converter = self._converter(f'parameter "{each.name}"', declared)
            if each.kind is each.VAR_KEYWORD:
                self._others = converter
            else:
                self._parameters[each.name] = Parameter(each.name, each.kind, each.default, converter)
        self._positional = [each for each in self._parameters.values() if each.kind is not each.kind.KEYWORD_ONLY]
        self._result = self._converter("result", hints.get("return", Any))

    def data(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments as a JSON object, without omitted ones. Raises InvalidJob."""
        if len(args) > len(self._positional):
            raise self._error(f"it takes {len(self._positional)} positional arguments, not {len(args)}")
        given = {parameter.name: value for parameter, value in zip(self._positional, args, strict=False)}
        for name, value in kwargs.items():
            if name in given:
                raise self._error(f'parameter "{name}" is given twice')
            given[name] = value
        self._check_names(given)
        return {name: self._encode(name, value) for name, value in given.items()}

    def arguments(self, job: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and keyword arguments from a job's data. Raises InvalidJob."""
        data = job.data
        if not isinstance(data, dict):
            raise self._error(f"the data must be a JSON object of the arguments, not {type(data).__name__}")
        if TITLE in data and self._others is None and TITLE not in self._parameters:
            data = {name: value for name, value in data.items() if name != TITLE}
        self._check_names(data)
        kwargs = {name: self._decode(name, value) for name, value in data.items()}
        args = [job] if self.takes_job else []
        for each in self._positional:
            if each.kind is each.kind.POSITIONAL_ONLY:
                args.append(kwargs.pop(each.name, each.default))
        return args, kwargs

    def encode_result(self, value: Any) -> Any:
        """Return the JSON form of the function's return value, or ``WAIT``. Raises InvalidJob."""
        if value is WAIT:
            return value
        return self._convert("result", self._result.encode, value)

    def decode_result(self, value: Any) -> Any:
        """Return the result from a job's JSON. Raises InvalidJob."""
        return self._convert("result", self._result.decode, value)

    def _check_names(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self._parameters and self._others is None:
                names = ", ".join(self._parameters) or "none"
                raise self._error(f'there is no parameter "{name}"; the parameters are {names}')
        for each in self._parameters.values():
            if each.default is _EMPTY and each.name not in given:
                raise self._error(f'parameter "{each.name}" is missing')

    def _encode(self, name: str, value: Any) -> Any:
        return self._convert(f'parameter "{name}"', self._of(name).encode, value)

    def _decode(self, name: str, value: Any) -> Any:
        return self._convert(f'parameter "{name}"', self._of(name).decode, value)

    def _of(self, name: str) -> Converter:
        parameter = self._parameters.get(name)
        if parameter is not None:
            return parameter.converter
        assert self._others is not None
        return self._others

    def _converter(self, what: str, declared: Any) -> Converter:
        try:
            return Converter(declared)
        except Unsupported as exc:
            raise InvalidJob(f'task "{self._task}": {what}: {exc}') from None

    def _convert(self, what: str, convert: Callable[[Any], Any], value: Any) -> Any:
        try:
            return convert(value)
        except Mismatch as exc:
            raise self._error(f"{what}: {exc}") from None

    def _error(self, said: str) -> InvalidJob:
        return InvalidJob(f'task "{self._task}": {said}')


def _function_of(fn: Any) -> Any:
    """Return the annotated function: that of a partial, or the ``__call__`` of an object."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else type(fn).__call__


def _is_job(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, BaseJob)
