"""Typed tasks: functions whose arguments are a job's data."""

from .task import Declare, FunctionTask, Task, TypedJob

__all__ = ["Declare", "FunctionTask", "Task", "TypedJob"]
