"""Read the file name of a Content-Disposition header as browsers do (RFC 6266, RFC 8187, and what servers send)."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote, unquote_to_bytes

#: Longest header that is read, characters.
MAX_LENGTH = 8192
_QUOTED = r'"(?:[^"\\]|\\.)*"'
#: A quoted string with quotes in it that should have been escaped: "My "best" file.txt".
_UNESCAPED = r'"[^;]*"(?=\s*(?:;|$))'
#: A parameter with a file name, also behind a comma or a blank instead of a semicolon; or any other quoted string.
_FILENAME = re.compile(
    rf"(?:^|[;,\s])(filename(?:\*?|\*[0-9]{{1,2}}\*?))\s*=\s*({_QUOTED}(?=\s*(?:[;,]|$))|{_UNESCAPED}|{_QUOTED}|[^;]*)|{_QUOTED}",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
#: Charsets that are decoded, as Python spells them; windows-125x and iso-8859-x beside them. Those that web pages
#: call Latin-1 or ASCII are windows-1252.
_CHARSETS = {
    "": "utf-8", "utf8": "utf-8", "usascii": "cp1252", "ascii": "cp1252", "latin1": "cp1252", "iso88591": "cp1252",
    "gbk": "gb18030", "xgbk": "gb18030", "cp936": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030",
    "big5": "big5hkscs", "big5hkscs": "big5hkscs", "xxbig5": "big5hkscs", "cp950": "cp950",
    "shiftjis": "cp932", "sjis": "cp932", "xsjis": "cp932", "windows31j": "cp932", "cp932": "cp932", "ms932": "cp932",
    "mskanji": "cp932", "eucjp": "euc_jp", "iso2022jp": "iso2022_jp",
    "euckr": "cp949", "ksc5601": "cp949", "ksc56011987": "cp949", "cp949": "cp949", "windows949": "cp949",
    "koi8r": "koi8_r", "koi8u": "koi8_u", "ibm866": "cp866", "cp866": "cp866", "tis620": "cp874", "windows874": "cp874",
    "macintosh": "mac_roman", "xmaccyrillic": "mac_cyrillic",
}  # fmt: skip


def name_from_disposition(header: str | None, charset: str | None = None) -> str | None:
    """Return the file name of a header: ``filename*`` first, then ``filename``. None if there is none.

    ``header`` holds bytes read as Latin-1; ``charset`` is that of the Content-Type, for raw bytes that are not UTF-8.
    """
    if not header or len(header) > MAX_LENGTH:
        return None
    plain = extended = lenient = None
    pieces: dict[int, tuple[bool, str]] = {}
    for match in _FILENAME.finditer(header):
        if match[1] is None:
            continue
        key, raw = match[1].lower(), match[2].strip(" \t\r\n")
        is_quoted = len(raw) > 1 and raw[0] == raw[-1] == '"'
        value = _unquote(raw) if is_quoted else raw.replace('\\"', '"').strip('"')
        if key == "filename":
            plain = plain or _decode_plain(value, charset)
        elif key == "filename*":
            extended = extended or _decode_extended(value)
            lenient = lenient or _decode_lenient(value)
        else:
            number = int(re.sub(r"\D", "", key))
            pieces.setdefault(number, (key.endswith("*"), value))
    return extended or plain or _joined(pieces) or lenient or None


def _unquote(raw: str) -> str:
    value = raw[1:-1]
    # A backslash is an escape, or the separator of a Windows path sent without escaping.
    if any(char not in '\\"' for char in re.findall(r"\\(.)", value, re.DOTALL)):
        return value
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def _python_charset(name: str) -> str | None:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _CHARSETS:
        return _CHARSETS[plain]
    match = re.fullmatch(r"(?:windows|cp)(125[0-8])|iso8859([0-9]{1,2})", plain)
    return None if match is None else f"cp{match[1]}" if match[1] else f"iso8859_{match[2]}"


def _decode(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except (UnicodeError, LookupError):
        return None


def decode_legacy(data: bytes, charset: str | None) -> str | None:
    """Decode bytes in the charset that a header names, or return None."""
    known = _python_charset(charset) if charset else None
    return _decode(data, known) if known else None


def _decode_extended(value: str) -> str | None:
    """Decode ``charset'language'percent-encoded``."""
    match = re.fullmatch(r"([^']*)'[^']*'(.*)", value, re.DOTALL)
    charset = _python_charset(match[1].strip()) if match else None
    if match is None or charset is None:
        return None
    return _decode(unquote_to_bytes(match[2].strip(" \t").encode("latin-1", "replace")), charset)


def _decode_lenient(value: str) -> str | None:
    """Decode a ``filename*`` without, or with half of, the charset."""
    if value.count("'") > 1:
        return None
    return _decode(unquote_to_bytes(value.rpartition("'")[2].encode("latin-1", "replace")), "utf-8")


def _decode_plain(value: str, charset: str | None) -> str:
    if re.match(r"(?i)[\w-]+'[\w-]*'", value) and (found := _decode_extended(value)):
        return found
    data = value.encode("latin-1", "replace")
    known = _python_charset(charset) if charset else None
    for each in ("utf-8", known, "cp1252", "latin-1"):
        decoded = _decode(data, each) if each else None
        if decoded is not None:
            value = decoded
            break
    if "=?" in value:
        value = _decode_words(value)
    if _ESCAPE.search(value):
        try:
            return unquote(value, errors="strict")
        except UnicodeError:
            return (known and _decode(unquote_to_bytes(value), known)) or value
    return value


def _decode_words(value: str) -> str:
    """Decode encoded words (RFC 2047), which do not belong here and are sent all the same."""
    try:
        pieces: list[tuple[bytes | str, str | None]] = decode_header(value)
    except HeaderParseError:
        return value
    found = []
    for piece, charset in pieces:
        if isinstance(piece, bytes):
            known = _python_charset(charset.partition("*")[0]) if charset else "raw_unicode_escape"
            text = _decode(piece, known) if known else None
            if text is None:
                return value
            piece = text
        found.append(piece)
    return "".join(found)


def _joined(pieces: dict[int, tuple[bool, str]]) -> str | None:
    """Return the name that is spread over filename*0, filename*1 … (RFC 2231)."""
    if 0 not in pieces:
        return None
    charset, found = "utf-8", b""
    for number in range(len(pieces)):
        if number not in pieces:
            break
        is_encoded, value = pieces[number]
        if number == 0 and is_encoded and (match := re.match(r"([^']*)'[^']*'", value)):
            charset, value = _python_charset(match[1]) or "utf-8", value[match.end() :]
        data = value.encode("latin-1", "replace")
        found += unquote_to_bytes(data) if is_encoded else data
    return _decode(found, charset) or _decode(found, "latin-1")
