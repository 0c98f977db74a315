"""Alerts on a queue's conditions, without Prometheus."""

from .evaluation import Alert
from .rules import AlertRules

__all__ = ["Alert", "AlertRules"]
