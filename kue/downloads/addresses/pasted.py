"""URLs as people paste them: what surrounds them, and what was probably meant by one that is none. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote

#: Most layers of brackets and the like that are taken off.
MAX_LAYERS = 40
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
#: Quotes and brackets around a URL, as they open and close.
_BRACKETS = (
    "<>", "“”", "‘’", "«»", "‹›", "「」", "『』", "《》", "〈〉", "【】", "〔〕", "（）", "＜＞", "｢｣", "⟨⟩", "„“", "»«"
)  # fmt: skip
_OPENING = frozenset("\"'`" + "".join(pair[0] for pair in _BRACKETS))
_CLOSING = frozenset("\"" + "".join(pair[1] for pair in _BRACKETS) + "”")
#: Those that a URL may end in, so they are taken off in pairs only.
_PAIRS = {"'": "'", "‘": "’", "`": "`", "(": ")", "[": "]", "{": "}"}
#: The end of a sentence behind a closing quote or bracket.
_SENTENCE = ".,;:!?…。，、"
#: What belongs to the text a URL was copied from: list bullets, quotation marks of e-mail, emphasis, Markdown links.
_BULLET = re.compile(r"(?:(?:[-*+•·–>]|\d{1,3}[.)])\s+)+(?=https?:)", re.IGNORECASE)
_EMPHASIS = re.compile(r"([*_~]{1,3})(https?:.*)\1", re.IGNORECASE | re.DOTALL)
_MARKDOWN = re.compile(r"!?\[[^\]]*\](?:\(\s*(\S+?)(?:\s+[\"'(].*)?\)|:\s+(\S+)(?:\s.*)?)", re.DOTALL)
_SLACK = re.compile(r"<(https?://[^|<>\s]+)\|[^<>]*>")
#: A URL as JSON or JavaScript write it, and the colors of a terminal.
_JSON = re.compile(r"(?i)https?:\\/\\/")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")

_SEVERAL = re.compile(r"(?i)\s(?:https?|ftp)://")
_TWICE = re.compile(r"(?i)https?:[/\\]*(?=(https?)://)")
_MISTYPED = re.compile(
    r"""(?ix)(?: (?:https?|htps?);? [/\\]{2,} | https?\s+:\s* [/\\]{2,} | https?:\s+ [/\\]{2,} | https?:[/\\]*:[:/\\]*
    | (?:hxxps?|htps?|htt|hhttps?|httpss|ttps?|tps?):[/\\]{2,} ) (?=[\w\[])"""
)
_ENCODED = re.compile(r"(?i)https?%3a(?:%2f|/){2}\S+")
_BARE_HOST = re.compile(r"(?i)(//)?([\w-]+(\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?([/?#]|$)")
_INSIDE = re.compile(r"(?i)https?://[^\s\"'<>`]+")
#: Schemes that are no host names, although a number may follow: ``tel:123``.
_NO_HOSTS = frozenset("about blob data ed2k file ftp javascript magnet mailto sftp sms tel thunder urn".split())


class Guess(NamedTuple):
    """What is wrong with a text, as a sentence, and the URL that was probably meant."""

    problem: str
    url: str


def clean_url(text: str) -> str:
    """Return a pasted URL without what surrounds it, and without line breaks and tabs, as browsers do.

    White space, invisible characters, quotes, brackets and Markdown around it are removed; control characters inside
    are percent-encoded.
    """
    text = re.sub(r"[\t\r\n]", "", _unwrapped(_COLORS.sub("", text)))
    return "".join(percent(char) if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)


def percent(text: str) -> str:
    """Percent-encode every byte of a text in UTF-8."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def are_several(text: str) -> bool:
    """Return whether a text is more than one URL."""
    return _SEVERAL.search(text.strip()) is not None and _SCHEME.match(text.strip()) is not None


def guess(url: str) -> Guess | None:
    """Return what was probably meant by a text that cannot be a URL; None if it may be one, or is none at all."""
    if twice := _TWICE.match(url):
        return Guess("The URL has its scheme twice.", url[twice.end() :])
    if mistyped := _MISTYPED.match(url):
        name = "https" if re.match(r"(?i)\w*s\b", mistyped[0]) or mistyped[0].lower().startswith("htps") else "http"
        return Guess(f"The URL must start with {name}://.", f"{name}://{url[mistyped.end() :]}")
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if name in ("http", "https"):
        return None
    if _ENCODED.fullmatch(url):
        return Guess("The URL is percent-encoded as a whole.", unquote(url))
    is_host = scheme is None or (name not in _NO_HOSTS and re.match(r"[0-9]{1,5}([/?#]|$)", url[scheme.end() :]))
    if is_host and _BARE_HOST.match(url):
        return Guess("The URL has no scheme.", f"https://{url.removeprefix('//')}")
    inside = _INSIDE.findall(url) if name not in _NO_HOSTS else []
    problem = f"URLs with {name[:20]}: cannot be downloaded." if scheme else "This is not a URL."
    return Guess(problem, clean_url(inside[0].rstrip("\\"))) if len(inside) == 1 else None


def _unwrapped(text: str) -> str:
    before = None
    for _ in range(MAX_LAYERS):
        if text == before:
            break
        before = text
        text = text.strip()
        while text and _is_invisible(text[0]):
            text = text[1:]
        while text and _is_invisible(text[-1]):
            text = text[:-1]
        if found := _SLACK.fullmatch(text):
            return found[1]
        text = _without_sentence(text)
        if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
            text = text[1:-1]
        if text.startswith("(") or text[:1] in _OPENING:
            text = text[1:]
        if text[-1:] in _CLOSING and not _is_balanced(text):
            text = text[:-1]
        if found := _MARKDOWN.fullmatch(text):
            text = found[1] or found[2]
        if found := _EMPHASIS.fullmatch(text):
            text = found[2]
        text = _BULLET.sub("", text, count=1) if _BULLET.match(text) else text
        if text[:4].upper() == "URL:" and _SCHEME.match(text[4:].lstrip()):
            text = text[4:]
        if _JSON.match(text):
            text = text.replace("\\/", "/").replace("\\u0026", "&")
    return text


def _without_sentence(text: str) -> str:
    """Return ``<URL>`` of ``<URL>.``, and the same for other quotes and brackets, and for Markdown links."""
    bare = text.rstrip(_SENTENCE)
    if bare == text or len(bare) < 2:
        return text
    closing = next((pair[1] for pair in _BRACKETS if pair[0] == text[0]), _PAIRS.get(text[0]) or text[0])
    is_quoted = (text[0] in _OPENING or text[0] in _PAIRS) and bare[-1] == closing
    return bare if is_quoted or _MARKDOWN.fullmatch(bare) else text


def _is_balanced(text: str) -> bool:
    """Return whether the bracket or quote at the end belongs to one inside the URL."""
    last = text[-1]
    if last == '"':
        return text.count(last) % 2 == 0
    return any(pair[1] == last and pair[0] in text for pair in _BRACKETS if pair not in ("»«", "„“"))


def _is_invisible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cf", "Cc", "Zs", "Zl", "Zp")
