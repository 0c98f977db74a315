"""Queries and operations on a queue."""
