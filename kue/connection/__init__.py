"""Connecting to any kind of Redis, and staying connected."""
