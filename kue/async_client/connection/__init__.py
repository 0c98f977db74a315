"""Connections of an event loop to any Redis, as in ``kue/connection``."""
