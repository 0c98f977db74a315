"""Webhooks: send a queue's events to URLs, by delivery jobs."""

from .definition import Webhook
from .deliveries import Delivery

__all__ = ["Delivery", "Webhook"]
