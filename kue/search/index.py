"""What to send to Redis to index a job, to take it out of the index, and to find jobs: commands as data.

Two indexes of one shape lie side by side. Node's (``q:search:word:CODE``, ``q:search:object:ID``) holds sound codes of
ASCII words, ours (``q:search:text:word:TERM``, ``q:search:text:object:ID``) the other words. A job's ``object`` names
all it is found by, with counts; a ``word`` names the jobs. Members are ids as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import anyscript, terms
from .terms import STOP_WORDS, code, stem

#: A Redis command and its arguments, as for ``pipeline.execute_command(*command)``.
Command = tuple[str | int, ...]


class Index:
    """The search index of the queue with ``prefix``. Every method is pure: it gives names and commands."""

    def __init__(self, prefix: str = "q") -> None:
        self._sounds, self._texts = f"{prefix}:search", f"{prefix}:search:text"

    def objects(self, job_id: int | str) -> tuple[str, str]:
        """The two keys (zset, code or term -> count) that hold what a job is found by: Node's, ours."""
        return f"{self._sounds}:object:{job_id}", f"{self._texts}:object:{job_id}"

    def add(self, job_id: int | str, text: str) -> list[Command]:
        """The commands that index a text under a job; old words are not taken out, as in Node."""
        commands: list[Command] = []
        for sound, count in terms.index_terms(text).values():
            commands += _pair(self._sounds, job_id, sound, count)
        for term, count in anyscript.index_terms(text).items():
            commands += _pair(self._texts, job_id, term, count)
        return commands

    def remove(self, job_id: int | str, sounds: Iterable[str], texts: Iterable[str]) -> list[Command]:
        """The commands that take a job out; ``sounds`` and ``texts`` are the members of its two ``objects``."""
        commands: list[Command] = []
        for root, found_by in ((self._sounds, sounds), (self._texts, texts)):
            members = list(found_by)
            if members:
                commands.append(("DEL", f"{root}:object:{job_id}"))
                commands += [("ZREM", f"{root}:word:{member}", job_id) for member in members]
        return commands

    def query(self, text: str) -> list[list[str]]:
        """Groups of keys (zset, id -> count): a job is found if it is in at least one key of every group.

        Empty if the text has no word to look for. Stop words count only where there is nothing else.
        """
        words = anyscript.words(text)
        return self._groups(word for word in words if word not in STOP_WORDS) or self._groups(words)

    def _groups(self, words: Iterable[str]) -> list[list[str]]:
        groups: list[list[str]] = []
        for word in words:
            if word.isascii():
                sound = [] if word in STOP_WORDS else [f"{self._sounds}:word:{code(stem(word))}"]
                group = [*sound, f"{self._texts}:word:{word.lower()}"]
                groups.append(group)
            else:
                groups += [[f"{self._texts}:word:{term}"] for term in anyscript.query_terms(word)]
        return [list(group) for group in dict.fromkeys(map(tuple, groups))]


def union(group: Sequence[str]) -> Command:
    """The command that reads one group of ``Index.query``: its reply is [id, score, …], or pairs, for ``ranked``."""
    return ("ZUNION", len(group), *group, "WITHSCORES")


def ranked(groups: Sequence[dict[str, float]]) -> list[str]:
    """The ids that every group holds, from {id: count} of each: best sum first, equal ones in descending byte order."""
    if not groups:
        return []
    common = set.intersection(*(set(group) for group in groups))
    return sorted(common, key=lambda job_id: (sum(group[job_id] for group in groups), job_id.encode()), reverse=True)


def texts_of(data: Any, search_keys: Sequence[str] | None, to_json: Callable[[Any], str]) -> list[str]:
    """The texts to index for a job: the JSON of its data, or the values that its search keys name.

    A key is a path such as ``a.b[0]``; text is indexed as it is, anything else as JSON. A key that names nothing adds
    nothing (Node indexes the word "undefined" for it).
    """
    if search_keys is None:
        return [to_json(data)]
    found = [value for key in search_keys if (value := _at(data, key)) is not _NOTHING]
    return [value if isinstance(value, str) else to_json(value) for value in found]


_NOTHING = object()


def _at(data: Any, path: str) -> Any:
    """The value at a lodash path; a member whose name is the whole path comes first."""
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


def _pair(root: str, job_id: int | str, word: str, count: int) -> list[Command]:
    return [("ZADD", f"{root}:word:{word}", count, job_id), ("ZADD", f"{root}:object:{job_id}", count, word)]
