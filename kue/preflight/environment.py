"""Checks of the settings: each on its own, all together, and variables that are not settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from ..config.parsers import Option, yes_or_no
from ..settings import OPTIONS, Settings, SettingsError
from .finding import Finding, error, ok, warning

#: Prefixes of this project's variables.
_OURS = ("KUE_", "DOWNLOAD_")
#: Read before there are settings: see kue/cli/green_start.py.
_EARLY = (Option("green", "KUE_GREEN", "", "1", "green threads or OS threads", yes_or_no),)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)")


def read_file(path: Path) -> dict[str, str]:
    """Return the variables of a file such as systemd's EnvironmentFile or a container's env_file.

    Raises OSError, and ValueError for a line that is not an assignment.
    """
    values = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise ValueError(f"line {number} is not of the form NAME=value")
        name, value = found.groups()
        quoted = re.fullmatch(r"\"(.*)\"|'(.*)'", value.strip())
        values[name] = value.strip() if quoted is None else quoted[1] or quoted[2] or ""
    return values


def check(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Return the settings without the invalid ones (None if that is impossible), and the findings."""
    found = list(_typing_errors(environ))
    usable = dict(environ)
    for option in (*OPTIONS, *_EARLY):
        text = environ.get(option.variable, "").strip()
        try:
            option.parse(text or option.default)
        except ValueError as exc:
            shown = option.variable if option.secret else f"{option.variable}={text}"
            found.append(error("settings", f"{shown} is invalid", f"{_sentence(str(exc))}."))
            del usable[option.variable]
    settings = None
    while settings is None:
        try:
            settings = Settings.load(usable)
        except SettingsError as exc:
            found.append(_misfit(str(exc).rstrip(".")))
            named = set(re.findall(r"[A-Z][A-Z_]+", str(exc))) & usable.keys()
            if not named:
                return None, found
            usable = {name: value for name, value in usable.items() if name not in named}  # to check the others
    if not found:
        count = sum(bool(environ.get(option.variable, "").strip()) for option in OPTIONS)
        found.append(ok("settings", f"{count} set, defaults for the others"))
    return settings, found


def _misfit(message: str) -> Finding:
    """Return the finding for conflicting settings, from one or two sentences, or from ``NAME: remedy``."""
    what, _, remedy = message.partition(". ")
    if not remedy and ": " in what:
        name, _, remedy = what.partition(": ")
        what = f"{name} conflicts with other settings"
    return error("settings", what, f"{_sentence(remedy)}." if remedy else "Set all of them, or none.")


def _typing_errors(environ: Mapping[str, str]) -> list[Finding]:
    known = [option.variable for option in (*OPTIONS, *_EARLY)]
    unknown = sorted(name for name in environ if name.startswith(_OURS) and name not in known)
    found = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, 1)
        remedy = f"Did you mean {near[0]}?" if near else "Remove it, or check its name in the reference of settings."
        found.append(warning("settings", f"{name} is not a setting and has no effect", remedy))
    return found


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
