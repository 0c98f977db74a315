"""From what a job, a server and a URL say, to one safe name for a file. Pure."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote, unquote_to_bytes, urlsplit

#: Longest name of a file, bytes in UTF-8; file systems take 255. The stamp and the job's id come on top.
MAX_NAME_BYTES = 180
#: An ending longer than this is not taken for an extension, bytes.
MAX_EXTENSION_BYTES = 20
FALLBACK = "download"

_WINDOWS_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$")
#: What no file system or shell should have to meet: separators, and what Windows forbids.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*;\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
#: Only the built-in table: the system's own would give another name on another machine.
_TYPES = mimetypes.MimeTypes()
_EXTENSIONS = {"application/octet-stream": "", "application/x-gzip": ".gz", "text/plain": ".txt", "image/jpeg": ".jpg"}


def choose_name(asked: str | None, disposition: str | None, url: str, content_type: str | None = None) -> str:
    """Return a safe name: the job's own, else the server's, else the URL's last part, else ``download``."""
    for candidate in (asked, name_from_disposition(disposition)):
        name = safe_name(candidate or "")
        if name:
            return name
    name = safe_name(unquote(urlsplit(url).path.rsplit("/", 1)[-1], errors="replace")) or FALLBACK
    if "." not in name:
        name += _extension_of(content_type)
    return name


def final_name(name: str, job_id: object, now_s: float) -> str:
    """Return ``YYYYMMDDHHMMSS-ID-name``, in local time: sorted by age, unique by id."""
    tag = re.sub(r"[^0-9A-Za-z_]", "_", str(job_id))[:40]
    return f"{datetime.fromtimestamp(now_s):%Y%m%d%H%M%S}-{tag}-{name}"


def numbered(name: str, number: int) -> str:
    """Return ``name`` with `` (number)`` before its extension, for a name that is taken."""
    stem, extension = split_extension(name)
    return f"{stem} ({number}){extension}"


def safe_name(text: str) -> str:
    """Reduce ``text`` to one harmless path component, or "" if nothing is left.

    Only what follows the last slash or backslash counts. Control and invisible characters, among them those that
    reverse the direction of writing, are dropped; leading dots go, over-long names keep their extension.
    """
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = re.split(r"[/\\]", text.rstrip("/\\ "))[-1]
    text = "".join(char for char in text if char.isprintable() or unicodedata.category(char) == "Zs")
    text = _FORBIDDEN.sub("_", " ".join(text.split()))
    text = text.lstrip(". ").rstrip(". ")
    if _WINDOWS_RESERVED.match(text.split(".", 1)[0].rstrip()):
        text = f"_{text}"
    return _shorten(text)


def split_extension(name: str) -> tuple[str, str]:
    """Split ``name`` before its extension; ``.tar.gz`` and its like are one."""
    match = re.search(r"(?i)(?<=.)(\.tar)?\.[^. ]+$", name)
    if match is None or len(match[0].encode()) > MAX_EXTENSION_BYTES:
        return name, ""
    return name[: match.start()], match[0]


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, extension = split_extension(name)
    room = MAX_NAME_BYTES - len(extension.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + extension


def _extension_of(content_type: str | None) -> str:
    kind = (content_type or "").split(";", 1)[0].strip().lower()
    if kind in _EXTENSIONS:
        return _EXTENSIONS[kind]
    return _TYPES.guess_extension(kind) or ""


def name_from_disposition(header: str | None) -> str | None:
    """Return the file name of a ``Content-Disposition`` header (RFC 6266): ``filename*`` (RFC 8187), then ``filename``.

    ``header`` is as http.client gives it: bytes read as Latin-1. Unreadable headers give None.
    """
    if not header or len(header) > 8192:
        return None
    # Some servers leave the type out and begin with the name.
    kind, semicolon, rest = header.partition(";")
    parameters = f";{rest}" if semicolon and "=" not in kind else f";{header}"
    plain: str | None = None
    extended: str | None = None
    for match in _PARAMETER.finditer(parameters):
        key, quoted, bare = match[1].lower(), match[2], match[3]
        value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else (bare or "").strip()
        if key == "filename*" and extended is None:
            extended = _decode_extended(value)
        elif key == "filename" and plain is None:
            plain = _decode_plain(value, quoted)
    return extended or plain or None


def _decode_extended(value: str) -> str | None:
    charset, quote, rest = value.partition("'")
    _language, quote2, encoded = rest.partition("'")
    if not quote or not quote2 or charset.lower() not in ("utf-8", "iso-8859-1", "us-ascii"):
        return None
    try:
        return unquote_to_bytes(encoded.encode("latin-1")).decode(charset)
    except (UnicodeError, LookupError):
        return None


def _decode_plain(value: str, quoted: str | None) -> str:
    # In a quoted name a backslash may be an escape, or the separator of a Windows path sent without escaping.
    if quoted is not None and re.search(r"\\[^\\\"]", quoted):
        value = quoted
    try:
        value = value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass  # then it really is Latin-1
    if "=?" in value:
        try:
            value = str(make_header(decode_header(value)))
        except (HeaderParseError, LookupError, UnicodeError, ValueError):
            pass
    return value
