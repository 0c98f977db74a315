"""Attempts: how the handler of a reserved job is called, and what its end means."""
