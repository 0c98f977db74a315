"""Process isolation: attempts in child processes. Parent side: pools, handles, supervision; child side: ``child.py``.

Built on ``posix_spawn`` and a socket pair, since neither pebble nor loky supports all of: a memory limit, the tail of a
child's stderr, requests during an attempt, children that end with their parent, and a parent patched by eventlet.
"""
