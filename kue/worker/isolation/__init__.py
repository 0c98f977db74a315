"""Attempts in child processes. The parent's part: pools, handles, supervision; the child's: ``child.py`` and below.

Built here on ``posix_spawn`` and a socket pair, since neither pebble nor loky has all of a memory limit, the end of a
child's stderr, requests in mid-attempt, children that end with their parent, and a parent patched by eventlet.
"""
