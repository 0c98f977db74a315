"""Reaching any Redis, and staying connected."""
