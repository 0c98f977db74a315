"""Whether this process is a worker's child, which runs one attempt at a time for its parent."""

from __future__ import annotations

#: Whether this process is a worker's child.
is_child = False
#: Whether it is importing its handler's modules: program-wide side effects are left to the parent.
is_importing = False
