"""Assemble the Lua scripts that are sent to Redis.

Each call of a script defines all of its functions anew; Redis keeps nothing between calls. So a script contains only
the functions that it calls. Those that few calls need are defined on first use: the functions of an include that starts
with ``--- @lazy``, and those after such a line. In the files, they are called like any others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

LUA_DIR = Path(__file__).parent / "lua"
INCLUDE_DIR = LUA_DIR / "include"
LAZY = "--- @lazy\n"


class _Part(NamedTuple):
    """A top-level statement that begins with ``local``, with the lines after it."""

    text: str
    is_lazy: bool

    @property
    def function(self) -> str | None:
        """The name of the function that it defines, or ""."""
        match = re.match(r"local function (\w+)", self.text)
        return match and match.group(1)

    @property
    def constants(self) -> list[str]:
        """The names of the constants that it defines."""
        match = re.match(r"local ([A-Z_0-9, ]+) =", self.text)
        return match.group(1).split(", ") if match else []


@cache
def scripts() -> dict[str, Path]:
    """Return every script's file by its name, which is unique across all folders of ``lua/``."""
    return {path.stem: path for path in LUA_DIR.glob("*/*.lua") if path.parent != INCLUDE_DIR}


@cache
def source(name: str) -> str:
    """Return a script's text with its includes resolved, each once.

    The line ``--- @include "flows/parents"`` stands for the file ``include/flows/parents.lua``.
    """
    *included, body = _pieces(scripts()[name], set())
    parts = _without_unused([part for piece in included for part in piece] + body)
    body = parts[len(parts) - len(body) :]
    return _with_lazy(parts[: len(parts) - len(body)], body)


@cache
def sha(name: str) -> str:
    """Return the SHA-1 by which Redis identifies a script."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def _pieces(path: Path, seen: set[str]) -> Iterator[list[_Part]]:
    """Yield the parts of a file, with each include's parts in its place."""
    # Comments are removed: they would only use memory in Redis.
    text = re.sub(r"--\[\[.*?\]\]\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text, is_lazy = text.removeprefix(LAZY), text.startswith(LAZY)
    for at, piece in enumerate(re.split(r'^--- @include "([\w/]+)"\n', text, flags=re.MULTILINE)):
        if at % 2 == 0:
            code = re.sub(rf"^(?!{LAZY})[ \t]*--.*\n", "", piece, flags=re.MULTILINE)
            parts = re.split(rf"^(?=local |{LAZY})(?<!{LAZY})", code, flags=re.MULTILINE)
            yield [_Part(each.removeprefix(LAZY), is_lazy or each.startswith(LAZY)) for each in parts]
        elif piece not in seen:
            seen.add(piece)
            yield from _pieces(INCLUDE_DIR / f"{piece}.lua", seen)


def _words(text: str) -> set[str]:
    """Return the names in a text, except strings that consist of one."""
    return set(re.findall(r"(?<!['\w])[A-Za-z_]\w*(?!['\w])", text))


def _without_unused(parts: list[_Part]) -> list[_Part]:
    """Remove functions that are never called.

    A function spans from ``local function`` to ``end`` at the beginning of a line, or is on one line.
    """
    kept: list[_Part] = []
    behind: set[str] = set()
    for part in reversed(parts):  # callers come after the function
        head, _, rest = part.text.partition("\n")
        if not head.endswith(" end"):
            _, _, rest = f"\n{rest}".partition("\nend\n")
        if part.function and part.function not in behind | _words(rest):
            part = part._replace(text=rest)
        behind |= _words(part.text)
        kept.insert(0, part)
    return kept


def _with_lazy(included: list[_Part], body: list[_Part]) -> str:
    """Move the lazy functions, and those that only they call, into one function.

    This function, ``lazy``, defines them and returns those called from elsewhere.
    """
    eager: list[str] = []
    lazy: list[str] = []
    called: set[str] = set()
    needed = _words("".join(part.text for part in body))
    for part in reversed(included):
        names = [part.function] if part.function else part.constants
        is_needed = not names or not needed.isdisjoint(names)
        if is_needed and part.function and part.is_lazy:
            called.add(part.function)
        if is_needed and not (part.function and part.is_lazy):
            eager.insert(0, part.text)
            needed |= _words(part.text)
        else:
            lazy.insert(0, part.text)
    before, after = "".join(eager), "".join(part.text for part in body)
    if not called:
        return before + after
    call = re.compile(rf"(?<![\w.:'])({'|'.join(called)})\(")
    before, after = (call.sub(r"lazy().\1(", text) for text in (before, after))
    table = ", ".join(f"{name} = {name}" for name in sorted(called))
    definition = f"function lazy()\nif made then return made end\n{''.join(lazy)}made = {{{table}}}\nreturn made\nend\n"
    return f"local lazy, made\n{before}{definition}{after}"
