"""Schedules: create jobs at given times, exactly once per time."""

from .definition import Schedule
from .saved import SavedSchedule

__all__ = ["SavedSchedule", "Schedule"]
