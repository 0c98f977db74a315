"""Internationalized host names, as browsers encode them (UTS 46, non-transitional)."""

from __future__ import annotations

import re
import unicodedata

try:
    import idna
except ImportError:  # a bare installation: the standard library's older tables
    idna = None  # type: ignore[assignment]

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\"#%/:<>?@\[\\\]^`{|}*]")


def ascii_host(host: str) -> str:
    """Return a host name in ASCII, lower case. Raises ValueError if no such name can exist."""
    if not host.isascii():
        host = _encode(host)
    host = host.lower()
    labels = (host[:-1] if host.endswith(".") else host).split(".")
    if _FORBIDDEN.search(host) or not all(0 < len(label) < 64 for label in labels) or len(host) > 254:
        raise ValueError("not a host name")
    return host


def _encode(host: str) -> str:
    if idna is not None:
        try:
            return idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            pass
        try:
            mapped = idna.uts46_remap(host, std3_rules=False)
        except (idna.IDNAError, UnicodeError):
            raise ValueError("not a host name") from None
    else:
        mapped = unicodedata.normalize("NFKC", host).casefold()
    # IDNA 2008 forbids symbols such as U+2603; browsers accept them.
    labels = re.split("[.\u3002\uff0e\uff61]", unicodedata.normalize("NFC", mapped))
    return ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in labels)
