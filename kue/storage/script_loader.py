"""The texts of the Lua scripts, as Redis gets them."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

LUA_DIR = Path(__file__).parent / "lua"


@cache
def scripts() -> dict[str, Path]:
    """Return every script's file by its name, which is unique over all folders of ``lua/``."""
    return {path.stem: path for path in LUA_DIR.glob("*/*.lua") if path.parent.name != "include"}


@cache
def source(name: str) -> str:
    """Return the text of a script with its ``--- @include "x"`` lines resolved, each include once."""
    seen: set[str] = set()

    def read(path: Path) -> str:
        def include(match: re.Match[str]) -> str:
            part = match.group(1)
            if part in seen:
                return ""
            seen.add(part)
            return read(LUA_DIR / "include" / f"{part}.lua")

        return re.sub(r'^--- @include "(\w+)"$', include, path.read_text(encoding="utf-8"), flags=re.MULTILINE)

    # Redis counts script memory by the text, and comments say nothing to it.
    text = re.sub(r"--\[\[.*?\]\]", "", read(scripts()[name]), flags=re.DOTALL)
    return _without_unused(re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE))


def _without_unused(text: str) -> str:
    """Leave out the functions that a script includes and does not call: each call makes every function of it anew.

    A function is what stands between ``local function`` and ``end`` at the beginning of a line, or on one line.
    """
    parts = re.split(r"^(?=local function )", text, flags=re.MULTILINE)
    for at in range(len(parts) - 1, 0, -1):  # from the last on: what calls a function stands behind it
        head, _, rest = parts[at].partition("\n")
        if not head.endswith(" end"):
            _, _, rest = rest.partition("\nend\n") if not rest.startswith("end\n") else ("", "", rest[4:])
        name = re.match(r"local function (\w+)", head)
        if name and not re.search(rf"(?<!['\w]){name.group(1)}(?!['\w])", "".join([rest, *parts[at + 1 :]])):
            parts[at] = rest
    return "".join(parts)


@cache
def sha(name: str) -> str:
    """Return the hash by which Redis knows a script."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()
