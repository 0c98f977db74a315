"""Delivering to webhooks: the handler of their jobs. It uses the downloader's guard and connections."""

from .handler import DeliveryHandler, delivery_handler

__all__ = ["DeliveryHandler", "delivery_handler"]
