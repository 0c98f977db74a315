"""Compute the index terms of a text exactly like npm ``reds`` 0.2.5, which Node Kue uses for search."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from . import metaphone, porter

#: Stop words, which are not indexed. Compared exactly: "The" is indexed, "the" is not.
STOP_WORDS = frozenset(
    """
    about after all also am an and another any are as at be because been before being between both but by came can come
    could did do each for from get got has had he have her here him himself his how if in into is it like make many me
    might more most much must my never now of on only or other our out over said same see should since some still such
    take than that the their them then there these they this those through to too under up very was way we well were
    what where which while who with would you your
    a b c d e f g h i j k l m n o p q r s t u v w x y z $ 1 2 3 4 5 6 7 8 9 0 _
    """.split()
)

#: Stemming and coding take about 25 µs per word. Texts repeat words, except long ones, which are data.
_CACHE_SIZE, _CACHED_MAX = 20_000, 64

#: JavaScript lists an object's members that look like array indexes first, in numeric order.
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_ARRAY_INDEX_MAX = 2**32 - 2


def words(text: str) -> list[str]:
    """Return the ASCII words of a text; other letters separate words (``héllo`` is ``h`` and ``llo``)."""
    return re.findall(r"[A-Za-z0-9_]+", text)


_known_stem = lru_cache(_CACHE_SIZE)(porter.stem)
_known_code = lru_cache(_CACHE_SIZE)(metaphone.code)


def stem(word: str) -> str:
    """Return the stem of an ASCII word: ``Welcomes`` -> ``welcom``."""
    return _known_stem(word) if len(word) <= _CACHED_MAX else porter.stem(word)


def code(stem: str) -> str:
    """Return the sound code of a stem: ``welcom`` -> ``WLKM``."""
    return _known_code(stem) if len(stem) <= _CACHED_MAX else metaphone.code(stem)


def index_terms(text: str) -> dict[str, tuple[str, int]]:
    """Return {stem: (code, count)}, in the order in which Node writes them.

    The order matters if two stems have the same code: they share an index entry, and the later count wins.
    """
    counts: dict[str, int] = {}
    for word in words(text):
        if word not in STOP_WORDS:
            root = stem(word)
            counts[root] = counts.get(root, 0) + 1
    return {kept: (code(kept), counts[kept]) for kept in _in_javascript_order(counts)}


def query_codes(text: str) -> list[str]:
    """Return the codes that a job must all have to be found by the text; none for a text without words."""
    return list(dict.fromkeys(code(stem(word)) for word in words(text) if word not in STOP_WORDS))


def _in_javascript_order(names: Iterable[str]) -> list[str]:
    names = list(names)
    if not any(name[:1].isdigit() for name in names):
        return names

    def is_index(name: str) -> bool:
        return _ARRAY_INDEX.fullmatch(name) is not None and int(name) <= _ARRAY_INDEX_MAX

    return sorted(names, key=lambda name: (0, int(name)) if is_index(name) else (1, 0))
