"""Hide secrets: passwords, tokens and signatures in URLs, and headers and cookies of downloads.

A URL in a text has no definite end, and a secret in it may contain spaces, quotes and braces. When in doubt, text is
hidden. No function raises, and each takes time proportional to the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Any, TypeVar
from urllib.parse import quote, unquote

T = TypeVar("T")

#: Names of parameters that contain a secret: as the whole name, or as its last part (`X-Amz-Credential`, `user_key`).
_SECRET_WORD = re.compile(
    r"(?:^|[-_.\[\]])(?:access|accesskeyid|auth|authorization|bearer|code|cred|credentials?|csrf|hdnea|hdntl|hdnts|hmac|"
    r"jwt|key|key-pair-id|nonce|otp|pass|passcode|pin|policy|pw|pwd|session|sid|sig|sign|st|ticket)\]*$",
    re.IGNORECASE,
)
#: These as the end of a name, however it is written (`accessToken`, `awssecretkey`, `publicKey`).
_SECRET_END = re.compile(
    r"(?:token|secret|secretkey|password|passwd|passphrase|signature|api[-_]?key|access[-_]?key|auth[-_]?key|"
    r"private[-_]?key|session[-_]?id|sessid|hash)s?\]*$",
    re.IGNORECASE,
)
_SECRET_CAMEL = re.compile(r"[a-z0-9](?:Key|Sig|Auth|Pwd|Pass|Sid|Code)\]*$")

#: Where a URL in a text definitely ends: at a closing quote or bracket.
_CLOSED = re.compile(r"""["'`](?=[\s,;:}\])]|$)|[>)\]}](?=\s|$)|(?<=\s)[-–]\s""")
#: A parameter in a query, in a fragment, or after a semicolon in a path, up to its equals sign.
_PARAMETER = re.compile(r"[?&;#]([^=&?#;\s]{1,200})=")
#: Another parameter after a space: then the space was part of a value.
_GOES_ON = re.compile(r"&[\w.%\[\]-]{1,200}=")
#: A URL inside a parameter of another: its colon and slashes are percent-encoded, once or more.
_ENCODED = re.compile(r"[^\s&=\"'<>]*%(?:25)*3A%(?:25)*2F%(?:25)*2F[^\s&\"'<>]*", re.IGNORECASE)
_STARTS_AS_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:)?//\S")
#: The rest of a URL up to its fragment, and the fragment, which is useless without the rest.
_TO_FRAGMENT = re.compile(r"((?:(?!//)[^\s#])*)#[^\s\"'<>]*")
_DELIMITER, _BLANK = re.compile(r"[/?#]"), re.compile(r"\s")
#: A scheme with other slashes than two before credentials: ``http:/user:password@host``, as browsers take it, too.
_ODD_SLASHES = re.compile(r"(?i)\b(https?:)(?!//[^/\\])[/\\]*(?=[^\s/\\?#@]{1,300}@)")
#: Punctuation of the sentence around a URL.
_MARKS = ".,;:!?)]}>\"'"
#: Longest authority, and longest password with a slash, that is recognized, characters.
AUTHORITY_MAX, PASSWORD_MAX = 10_000, 1_000
#: Maximum number of times that a percent-encoded URL is decoded.
_DECODINGS = 5

HIDDEN = "***"
#: Headers of a download whose values are shown.
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "referer", "user-agent"})


def safe_text(text: str) -> str:
    """Return a text without the passwords, tokens and signatures of the URLs in it."""
    if "@" in text:
        text = _ODD_SLASHES.sub(r"\1//", text)
    if "//" not in text and "=" not in text and "%" not in text:
        return text
    if "\n" in text:
        return "\n".join(safe_text(line) for line in text.split("\n"))
    text = _without_encoded(text)
    text = _without_credentials(text)
    return _without_secret_parameters(text)


def safe(value: T) -> T:
    """Return a JSON value with secrets hidden in all of its strings; the value itself if there was nothing to hide."""
    if isinstance(value, str):
        return safe_text(value)  # type: ignore[return-value]
    root: list[Any] = [None]
    left: list[tuple[Any, Any, Any]] = [(value, root, 0)]
    changed = False
    while left:
        each, parent, place = left.pop()
        made: Any = each
        if isinstance(each, str):
            made = safe_text(each)
            changed = changed or made != each
        elif isinstance(each, dict):
            made = {}
            is_request = isinstance(each.get("url"), str)
            for key, inner in each.items():
                shown = safe_text(key) if isinstance(key, str) else key
                if is_request and key in ("headers", "cookies") and inner:
                    made[shown] = _without_values(inner, key == "headers")
                    changed = True
                    continue
                if is_request and key == "proxy" and isinstance(inner, str):
                    made[shown] = _shown_proxy(inner)
                    changed = changed or made[shown] != inner
                    continue
                changed = changed or shown != key
                made[shown] = None  # keeps the order
                left.append((inner, made, shown))
        elif isinstance(each, (list, tuple)):
            made = [None] * len(each)
            left += [(inner, made, at) for at, inner in enumerate(each)]
        parent[place] = made
    return root[0] if changed else value


def restore(shown: Any, kept: Any) -> Any:
    """Return ``shown``, an edited value, with hidden parts restored from ``kept``, the original.

    Unedited strings are restored completely, so a job with a password in its URL can be run as a new one.
    """
    root: list[Any] = [None]
    left: list[tuple[Any, Any, Any, Any]] = [(shown, kept, root, 0)]
    while left:
        new, old, parent, place = left.pop()
        made: Any = new
        if isinstance(new, str) and isinstance(old, str):
            made = old if new in (safe_text(old), HIDDEN, _without_value(old, True), _shown_proxy(old)) else new
        elif isinstance(new, dict) and isinstance(old, dict):
            made = dict.fromkeys(new)
            left += [(inner, old.get(key), made, key) for key, inner in new.items()]
        elif isinstance(new, list) and isinstance(old, list):
            made = [None] * len(new)
            left += [(inner, old[at] if at < len(old) else None, made, at) for at, inner in enumerate(new)]
        parent[place] = made
    return root[0]


def _without_values(value: Any, is_headers: bool) -> Any:
    """Return the headers or cookies of a request without their values: any of them may be a secret."""
    if isinstance(value, dict):
        return {
            safe_text(str(name)): safe(text) if is_headers and str(name).lower() in _HARMLESS_HEADERS else HIDDEN
            for name, text in value.items()
        }
    if is_headers and isinstance(value, (list, tuple)):
        return [_without_value(line, True) if isinstance(line, str) else HIDDEN for line in value]
    return HIDDEN


def _shown_proxy(proxy: str) -> str:
    """Return a proxy's URL without user and password, also one without a scheme (``user:password@host:3128``)."""
    return safe_text(proxy) if "//" in proxy else proxy.rpartition("@")[2]


def _without_value(line: str, is_headers: bool) -> str:
    name, colon, _text = line.partition(":")
    if is_headers and name.strip().lower() in _HARMLESS_HEADERS:
        return safe_text(line)
    return f"{name}: {HIDDEN}" if colon else HIDDEN


def is_secret_name(name: str) -> bool:
    """Return whether a parameter of this name holds a secret."""
    if "%" in name:
        name = unquote(name)
    return any(pattern.search(name) for pattern in (_SECRET_WORD, _SECRET_END, _SECRET_CAMEL))


def _without_encoded(text: str) -> str:
    """Hide secrets in a percent-encoded URL inside a parameter."""
    if "%" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        plain, times = match.group(), 0
        while "//" not in plain and times < _DECODINGS:
            plain, times = unquote(plain), times + 1
        shown = _without_secret_parameters(_without_credentials(_without_encoded(plain) if times else plain))
        if shown == plain:
            return match.group()
        for _ in range(times):
            shown = quote(shown, safe="*")
        return shown

    return _ENCODED.sub(replace, text)


def _without_credentials(text: str) -> str:
    """Hide the credentials before the ``@`` of a host."""
    last_at = text.rfind("@")
    if last_at < 0 or "//" not in text:
        return text
    closed = [match.start() for match in _CLOSED.finditer(text)]
    parts: list[str] = []
    done, at = 0, text.find("//")
    while 0 <= at < last_at:
        begin = at + 2
        place = bisect_left(closed, begin)
        end = closed[place] if place < len(closed) else len(text)
        host = _host_begins(text, begin, end)
        if host > begin:
            parts.append(text[done:begin])
            done = begin = host
            rest = _TO_FRAGMENT.match(text, host, end)
            if rest is not None:
                parts.append(rest.group(1))
                done = begin = rest.end()
        at = text.find("//", begin)
    return "".join([*parts, text[done:]]) if parts else text


def _host_begins(text: str, begin: int, end: int) -> int:
    """Return where the host begins in an authority that starts at ``begin``; ``begin`` without credentials."""
    end = min(end, begin + AUTHORITY_MAX)
    delimiter = _DELIMITER.search(text, begin, end)
    authority = text[begin : delimiter.start() if delimiter else end]
    if not authority or authority[0].isspace():
        return begin
    at = authority.rfind("@")
    user, colon, rest = authority.partition(":")
    looks_like_password = bool(colon) and not user.startswith("[") and not re.match(r"\d*(?:[\s/?#]|$)", rest)
    if at >= 0:
        words = authority[:at].split(None, 1)
        # A space belongs to the credentials only after a password's colon: "//host by anna@example.com" has none.
        if len(words) < 2 or (":" in words[0] and looks_like_password):
            return begin + at + 1
        return begin
    if looks_like_password:  # with a slash, a question mark or a hash in it
        end = min(end, begin + PASSWORD_MAX)
        blank = _BLANK.search(text, begin, end)
        found = text.rfind("@", begin, blank.start() if blank else end)
        return found + 1 if found >= 0 else begin
    return begin


def _without_secret_parameters(text: str) -> str:
    """Replace the values of secret parameters, recognized by name, by ``***``."""
    if "=" not in text:
        return text
    is_url = _STARTS_AS_URL.match(text) is not None
    closed = [] if is_url else [match.start() for match in _CLOSED.finditer(text)]
    parts: list[str] = []
    done = 0
    for match in _PARAMETER.finditer(text):
        if match.start() < done or not is_secret_name(match.group(1)):
            continue
        begin, end = match.end(), _value_ends(text, match.end(), is_url, closed)
        if not is_url:
            while end > begin and text[end - 1] in _MARKS:
                end -= 1
        if end > begin:
            parts += (text[done:begin], HIDDEN)
            done = end
    return "".join([*parts, text[done:]]) if parts else text


def _value_ends(text: str, begin: int, is_url: bool, closed: list[int]) -> int:
    """Return where the value of a parameter ends: at the next one, or with the URL."""
    further = text.find("&", begin)
    if is_url:
        return len(text) if further < 0 else further
    place = bisect_left(closed, begin)
    end = closed[place] if place < len(closed) else len(text)
    end = end if further < 0 else min(end, further)
    blank = _BLANK.search(text, begin, end)
    if blank is None:
        return end
    goes_on = end == further and "//" not in text[blank.start() : end] and _GOES_ON.match(text, end)
    return end if goes_on else blank.start()
