"""Alerts: conditions of a queue that somebody should know of, found without Prometheus."""

from .evaluation import Alert
from .rules import AlertRules

__all__ = ["Alert", "AlertRules"]
