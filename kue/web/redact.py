"""What must not be shown: passwords and signatures in URLs, wherever a job holds one. Pure.

Everything that leaves the web part goes through here: JSON answers as a whole (`Json` is the app's provider), rows,
the page of a job, and what plain Socket.IO clients are told.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from flask.json.provider import DefaultJSONProvider

from kue.downloads.urls import redact_url

T = TypeVar("T")

#: A URL inside a text ends where no URL goes on; the marks of the sentence around it are not part of it.
_URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s"'<>\\^`{|}]+""")
_MARKS = ".,;:!?)]"
_CREDENTIALS = re.compile(r"://[^/?#]*@")


def _one(match: re.Match[str]) -> str:
    url = match.group().rstrip(_MARKS)
    rest = match.group()[len(url) :]
    shown = redact_url(url)
    # Only what has something to hide is written anew: that also drops fragments and changes the case of hosts.
    return (shown if _CREDENTIALS.search(url) or shown.count("***") > url.count("***") else url) + rest


def safe_text(text: str) -> str:
    """Return a text without the passwords and signatures of the URLs in it."""
    if "://" not in text or ("@" not in text and "=" not in text):
        return text
    return _URL.sub(_one, text)


def safe(value: T) -> T:
    """Return a value of JSON with every text in it made safe; the value itself if there was nothing to hide."""
    made: Any = value
    if isinstance(value, str):
        made = safe_text(value)
    elif isinstance(value, dict):
        made = {safe_text(key) if isinstance(key, str) else key: safe(each) for key, each in value.items()}
    elif isinstance(value, (list, tuple)):
        made = [safe(each) for each in value]
    return value if made == value else made


def restore(shown: Any, kept: Any) -> Any:
    """Return what somebody edited, ``shown``, with what he was not shown put back from ``kept``, the value before.

    A text that still reads as it was shown is as it was again, so a job with a password in its url can run as new.
    """
    if isinstance(shown, str) and isinstance(kept, str):
        return kept if shown == safe_text(kept) else shown
    if isinstance(shown, dict) and isinstance(kept, dict):
        return {key: restore(value, kept.get(key)) for key, value in shown.items()}
    if isinstance(shown, list) and isinstance(kept, list):
        return [restore(value, kept[at] if at < len(kept) else None) for at, value in enumerate(shown)]
    return shown


class Json(DefaultJSONProvider):
    """The app's JSON: compact, in Kue's order of members, and safe to show."""

    sort_keys = False
    ensure_ascii = False
    compact = True

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        text = super().dumps(obj, **kwargs)
        return text if "://" not in text or text == safe_text(text) else super().dumps(safe(obj), **kwargs)
