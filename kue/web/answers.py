"""The app's responses: strict JSON without secrets, and text that can always be encoded."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.json.provider import DefaultJSONProvider

from kue.storage.json_text import printable, strict_json
from kue.text.redaction import safe


class SafeJson(DefaultJSONProvider):
    """The app's JSON: strict, compact ASCII, with members in Kue's order, and without secrets in URLs."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return strict_json(safe(obj), self.default)


class SafeResponse(Response):
    """A response whose text can always be encoded: lone surrogates are sent as U+FFFD."""

    def __init__(self, response: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(printable(response) if isinstance(response, str) else response, *args, **kwargs)
