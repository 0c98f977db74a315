"""Querying a queue, and operating on it."""
