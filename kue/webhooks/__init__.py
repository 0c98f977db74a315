"""Webhooks: events of a queue, sent to URLs by jobs of their own."""

from .definition import Webhook
from .deliveries import Delivery

__all__ = ["Delivery", "Webhook"]
