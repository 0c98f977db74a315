"""Choose a safe file name from what the job, the server and the URL say. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

from kue.text.redaction import is_secret_name

from .disposition import decode_legacy, name_from_disposition
from .media_types import extension_of, media_type

#: Longest file name, bytes in UTF-8; file systems allow 255. Date and job id are added to it.
MAX_NAME_BYTES, MAX_COMPONENT_BYTES = 180, 255
#: A longer ending is not an extension, bytes.
MAX_EXTENSION_BYTES = 20
FALLBACK = "download"

_WINDOWS_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$")
#: Path separators, and what Windows forbids.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
#: Extensions of programs that produce other files, and types that say nothing about the file.
_SCRIPTS = frozenset("php php3 php5 phtml asp aspx ashx jsp jspx cgi pl py do action cfm dll exe fcgi".split())
_VAGUE_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/download"})
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
#: Last parts of a path that name an action rather than a file.
_ACTIONS = frozenset("download downloads get file files raw dl view export content attachment fetch latest".split())
#: Query parameters that hold file names; the best come first.
_NAME_PARAMETERS = ("filename", "attname", "file_name", "fname", "file", "name", "fn", "download", "saveas", "title")
#: Session identifiers that servers append to paths, and parameters behind an extension.
_SESSION = re.compile(r"(?i);(?:jsessionid|phpsessid|sid)=[^/]*$|(?<=\.)([a-z0-9]{1,8});[\w-]+=[^/]*$")
_FILE_LIKE = re.compile(r"[^/\\?&=]+\.(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{1,12}$")


def choose_name(asked: str | None, disposition: str | None, url: str, content_type: str | None = None) -> str:
    """Return a safe name: the job's own, else the server's, else one from the URL, else ``download``."""
    found = re.search(r"(?i);\s*charset\s*=\s*\"?([\w.:-]+)", content_type or "")
    charset = found[1] if found else None
    name = safe_name(asked or "")
    if name:
        return name
    name = safe_name(name_from_disposition(disposition, charset) or "") or _name_from_url(url, content_type, charset)
    name = name or FALLBACK
    return name if "." in name else name + extension_of(content_type)


def _name_from_url(url: str, content_type: str | None, charset: str | None) -> str:
    """Return the last part of the path, or what is better than an action or a script there; or ""."""
    parts = urlsplit(url)
    path = [safe_name(_SESSION.sub(r"\1", _unescaped(part, charset))) for part in parts.path.split("/")]
    name = path[-1]
    stem, extension = split_extension(name)
    kind = media_type(content_type)
    is_script = extension[1:].lower() in _SCRIPTS and kind not in _PAGE_TYPES
    if extension and not is_script:
        return name
    found = _name_from_query(parts.query)
    if found:
        return found
    before = path[-2] if len(path) > 1 else ""
    if name.lower() in _ACTIONS | {""} and _FILE_LIKE.match(before) and split_extension(before)[1]:
        return before
    if is_script and kind not in _VAGUE_TYPES and (other := extension_of(content_type)):
        return stem if stem.lower().endswith(other) else stem + other
    return name


def _unescaped(part: str, charset: str | None) -> str:
    """Decode percent escapes as UTF-8, else in the response's charset; else leave them."""
    try:
        return unquote(part, errors="strict")
    except UnicodeError:
        return decode_legacy(unquote_to_bytes(part), charset) or part


def _name_from_query(query: str) -> str:
    """Return the value of a parameter that is a file name with an extension, or ""."""
    try:
        found = parse_qsl(query, keep_blank_values=True, max_num_fields=200, errors="replace")
    except ValueError:
        return ""
    # A parameter without a value may be the name itself: ?report.pdf
    pairs = [(key.lower(), value) if value else ("", key) for key, value in found]
    pairs.sort(key=lambda pair: _NAME_PARAMETERS.index(pair[0]) if pair[0] in _NAME_PARAMETERS else 99)
    for key, value in pairs:
        # Object stores have parameters such as response-content-disposition.
        if key.endswith(("disposition", "rscd")):
            value = name_from_disposition(value.encode().decode("latin-1")) or ""
        name = safe_name(value)
        if is_secret_name(key) or "://" in value or not _FILE_LIKE.match(name):
            continue
        if split_extension(name)[1][1:].lower() not in _SCRIPTS | {"com", "net", "org", "html", "htm"}:
            return name
    return ""


def final_name(name: str, job_id: object, now_s: float) -> str:
    """Return ``YYYYMMDDHHMMSS-ID-name``, in UTC: sorted by age, unique by id."""
    tag = re.sub(r"[^0-9A-Za-z_]", "_", str(job_id))[:40]
    return f"{datetime.fromtimestamp(now_s, UTC):%Y%m%d%H%M%S}-{tag}-{name}"


def plain_name(name: str) -> str:
    """Return a finished file's name without the date and the job id that ``final_name`` put before it."""
    return re.sub(r"^[0-9]{14}-[0-9A-Za-z_]{1,40}-(?=.)", "", name)


def numbered(name: str, number: int) -> str:
    """Return ``name`` with `` (number)`` before its extension, for a name that is taken."""
    stem, extension = split_extension(name)
    return suffixed(stem, f" ({number}){extension}")


def suffixed(name: str, suffix: str) -> str:
    """Return ``name`` with a suffix, cut to what file systems allow."""
    room = MAX_COMPONENT_BYTES - len(suffix.encode())
    return name.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "ignore") + suffix


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
