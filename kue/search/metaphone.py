"""The sound code of Node Kue's search: the Metaphone variant of npm ``natural`` 0.2.1.

Python packages give different codes for a sixth of ordinary words (SHIP is "SHP" here, "XP" elsewhere; digits stay), so
the rules are implemented here, in the original order.
"""

from __future__ import annotations

import re

#: (pattern, replacement, maximum count; 0: all). Rules apply in order to the result of the previous one.
_RULES = [
    (re.compile(pattern), replacement, count)
    for pattern, replacement, count in [
        (r"([^c])\1", r"\1", 0),  # doubled letters once
        (r"^(?:k(?=n)|g(?=n)|p(?=n)|a(?=e)|w(?=r))", "", 0),  # silent at the beginning
        (r"mb$", "m", 0),
        (r"ck", "k", 0),
        (r"([^s]|^)ch", r"\1xh", 0),
        (r"cia", "xia", 0),
        (r"c(?=[iey])", "s", 0),
        (r"c", "k", 0),
        (r"d(?=g[eyi])", "j", 0),
        (r"d", "t", 0),
        (r"gh([^aeiou])", r"h\1", 0),
        (r"g(?=(?:n|ned)$)", "", 0),
        (r"gh", "f", 0),
        (r"([^g]|^)g([iey])", r"\1j\2", 0),
        (r"gg?", "k", 0),
        (r"([aeiou])h([^aeiou]|$)", r"\1\2", 0),
        (r"ph", "f", 0),
        (r"q", "k", 0),
        (r"s(?=h|io|ia)", "x", 0),
        (r"^x", "s", 0),
        (r"x", "ks", 0),
        (r"t(?=ia|io)", "x", 0),
        (r"th", "0", 1),
        (r"tch", "ch", 0),
        (r"v", "f", 0),
        (r"^wh", "w", 0),
        (r"w([^aeiou]|$)", r"\1", 0),
        (r"y([^aeiou]|$)", r"\1", 0),
        (r"z", "s", 1),
        (r"(?<!^)[aeiou]", "", 0),
    ]
]


def code(stem: str) -> str:
    """Return the code of an ASCII stem: capitals, digits and underscores; empty for a few (``wh``)."""
    sound = stem.lower()
    for pattern, replacement, count in _RULES:
        sound = pattern.sub(replacement, sound, count=count)
    return sound.upper()
