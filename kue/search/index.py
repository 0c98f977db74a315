"""The index entries of a job, and the lookups of a query: pure data for the Lua scripts.

There are two indexes with the same structure. Node's (``q:search:word:CODE``, ``q:search:object:ID``) has sound codes
of ASCII words, ours (``q:search:text:word:TERM``, ``q:search:text:object:ID``) the other words. A job's ``object``
lists its terms with counts; a ``word`` lists the jobs. Members are ids as strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import anyscript, terms
from .terms import STOP_WORDS, code, stem

#: A group of zsets, named without the queue's prefix.
Group = list[str]

#: Maximum number of characters indexed per job, and used of a query: processed in at most half a second.
TEXT_MAX, QUERY_MAX = 100_000, 2000

_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
#: An ASCII word after an escape: in JSON text, the escape's letter is joined to it.
_RUN_INTO = re.compile(r"\\[bfnrt]([A-Za-z0-9_]+)(?!\w)")


def found_by(
    data: Any,
    search_keys: Sequence[str] | None,
    to_json: Callable[[Any], str],
    shown: Callable[[str], str] = lambda text: text,
) -> str:
    """Return a job's entries for ``include/search.lua``: JSON, ``[[code, count, …], [term, count, …]]``.

    ``shown(text)`` returns the part of a text to index.
    """
    sounds: dict[str, int] = {}
    others: dict[str, int] = {}
    left = TEXT_MAX
    for whole, is_json in texts_of(data, search_keys, to_json):
        text = shown(whole)[:left]
        # As in Node, which writes each text separately and word by word, the later count wins.
        sounds.update(terms.index_terms(text).values())
        if is_json and "\\" in text:
            # Node splits the JSON text into words, so the first word of a line becomes "nword". Our index has the word
            # itself.
            others.update(dict.fromkeys((word.lower() for word in _RUN_INTO.findall(text)), 1))
            text = _ESCAPE.sub(" ", text)
        if not text.isascii():
            others.update(anyscript.index_terms(text))
        left -= len(whole)
        if left <= 0:
            break
    pairs = [[part for pair in each.items() for part in pair] for each in (sounds, others)]
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False)


def query(text: str) -> list[Group]:
    """Return the groups of zsets of a query: a job is found if it is in at least one of each group.

    Empty if the text has no words. Stop words count only if there are no others.
    """
    words = anyscript.words(text[:QUERY_MAX])
    return _groups(word for word in words if word not in STOP_WORDS) or _groups(words)


def node_query(text: str) -> list[Group]:
    """Return the groups of Node's own search: the ASCII parts of words, by sound code."""
    return [[f"search:word:{sound}"] for sound in terms.query_codes(text[:QUERY_MAX])]


def _groups(words: Iterable[str]) -> list[Group]:
    groups: list[Group] = []
    for word in words:
        if word.isascii():
            sound = [] if word in STOP_WORDS else [f"search:word:{code(stem(word))}"]
            groups.append([*sound, f"search:text:word:{word.lower()}"])
        else:
            groups += [[f"search:text:word:{term}"] for term in anyscript.query_terms(word)]
    return [list(group) for group in dict.fromkeys(map(tuple, groups))]


def texts_of(data: Any, search_keys: Sequence[str] | None, to_json: Callable[[Any], str]) -> Iterator[tuple[str, bool]]:
    """Return the texts to index for a job, and whether each is JSON: all its data, or the values of its search keys.

    A key is a path such as ``a.b[0]``; strings are indexed as is, anything else as JSON. A key that does not exist adds
    nothing (Node indexes the word "undefined" for it).
    """
    if search_keys is None:
        yield to_json(data), True
        return
    for key in search_keys:
        value = _at(data, key)
        if value is not _NOTHING:
            yield (value, False) if isinstance(value, str) else (to_json(value), True)


_NOTHING = object()


def _at(data: Any, path: str) -> Any:
    """Return the value at a lodash path; a member named like the whole path takes precedence."""
    if isinstance(data, dict) and path in data:
        return data[path]
    for quoted, plain in re.findall(r"""\[["'](.*?)["']\]|([^.\[\]]+)""", path):
        step = quoted or plain
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return _NOTHING
    return data
