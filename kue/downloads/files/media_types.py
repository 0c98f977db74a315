"""File name extensions of media types."""

from __future__ import annotations

import mimetypes

#: Only the built-in table: the system's own differs between machines.
_TYPES = mimetypes.MimeTypes()
_OFFICE, _OPEN = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
#: Types that the built-in table does not know, or has another extension for than people expect.
_EXTENSIONS = {
    "application/octet-stream": "", "text/plain": ".txt", "image/jpeg": ".jpg", "image/jpg": ".jpg",
    "image/pjpeg": ".jpg",
    "image/webp": ".webp", "image/avif": ".avif", "image/heic": ".heic", "image/jxl": ".jxl", "image/x-png": ".png",
    "image/tiff": ".tif", "image/vnd.microsoft.icon": ".ico", "image/x-icon": ".ico", "image/svg+xml": ".svg",
    "application/gzip": ".gz", "application/x-gzip": ".gz", "application/x-compressed-tar": ".tar.gz",
    "application/x-gtar-compressed": ".tar.gz", "application/x-tgz": ".tgz", "application/x-bzip2": ".bz2",
    "application/x-bzip": ".bz2", "application/x-xz": ".xz", "application/x-lzma": ".lzma", "application/zstd": ".zst",
    "application/x-7z-compressed": ".7z", "application/x-zip-compressed": ".zip", "application/x-zip": ".zip",
    "application/vnd.rar": ".rar", "application/x-rar-compressed": ".rar", "application/x-rar": ".rar",
    "application/x-iso9660-image": ".iso", "application/x-apple-diskimage": ".dmg", "application/java-archive": ".jar",
    "application/vnd.android.package-archive": ".apk", "application/vnd.debian.binary-package": ".deb",
    "application/x-debian-package": ".deb", "application/x-rpm": ".rpm", "application/x-redhat-package-manager": ".rpm",
    "application/x-msdownload": ".exe", "application/x-msdos-program": ".exe", "application/x-msi": ".msi",
    "application/x-bittorrent": ".torrent", "application/x-pdf": ".pdf", "application/epub+zip": ".epub",
    "application/rtf": ".rtf", "application/x-sqlite3": ".sqlite", "application/vnd.sqlite3": ".sqlite",
    "application/vnd.apache.parquet": ".parquet", "application/geo+json": ".geojson", "application/x-ndjson": ".ndjson",
    "application/yaml": ".yaml", "application/x-yaml": ".yaml", "application/toml": ".toml", "text/markdown": ".md",
    "text/x-python": ".py", "application/xml": ".xml", "application/atom+xml": ".atom", "application/rss+xml": ".rss",
    "application/vnd.google-earth.kml+xml": ".kml", "application/vnd.google-earth.kmz": ".kmz",
    "application/x-msexcel": ".xls", "application/msexcel": ".xls", "application/vnd.ms-word": ".doc",
    f"{_OFFICE}wordprocessingml.document": ".docx", f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
    f"{_OFFICE}presentationml.presentation": ".pptx", f"{_OPEN}text": ".odt", f"{_OPEN}spreadsheet": ".ods",
    f"{_OPEN}presentation": ".odp", "font/woff": ".woff", "font/woff2": ".woff2", "font/ttf": ".ttf",
    "font/otf": ".otf",
    "audio/mp4": ".m4a", "audio/x-m4a": ".m4a", "audio/ogg": ".ogg", "audio/flac": ".flac", "audio/x-flac": ".flac",
    "audio/wav": ".wav", "audio/webm": ".webm", "video/webm": ".webm", "video/ogg": ".ogv", "video/x-matroska": ".mkv",
    "video/x-m4v": ".m4v", "video/mp2t": ".ts", "application/vnd.apple.mpegurl": ".m3u8", "text/calendar": ".ics",
    "text/vcard": ".vcf", "message/rfc822": ".eml", "application/x-x509-ca-cert": ".crt", "application/x-sh": ".sh",
}  # fmt: skip


def media_type(header: str | None) -> str:
    """Return the media type of a Content-Type header, lower case, without parameters."""
    return (header or "").partition(";")[0].strip().lower()


def extension_of(header: str | None) -> str:
    """Return the usual extension of a Content-Type, or ""."""
    kind = media_type(header)
    if kind in _EXTENSIONS:
        return _EXTENSIONS[kind]
    return _TYPES.guess_extension(kind) or ""
