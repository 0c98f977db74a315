"""Attempts in child processes. What both sides use is here; ``parent/`` runs in the worker.

Built on ``posix_spawn`` and a socket pair, since neither pebble nor loky supports all of: a memory limit, the tail of a
child's stderr, requests during an attempt, children that end with their parent, and a parent patched by eventlet.
"""
