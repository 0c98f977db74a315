"""Counters of this process."""
