"""Schedules: jobs that are created at given times, once for each time."""

from .definition import Schedule
from .saved import SavedSchedule

__all__ = ["SavedSchedule", "Schedule"]
