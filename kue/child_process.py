"""What this process is: a worker child, which runs one attempt at a time for its parent, or any other."""

from __future__ import annotations

#: Whether this process is a worker child.
is_child = False
#: Whether it imports the modules of its handler now: what they do for a whole program is left to the parent.
is_importing = False
