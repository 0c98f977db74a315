"""Framing: Content-Length and Transfer-Encoding, right, odd, contradictory and broken."""

from __future__ import annotations

import gzip
import zlib

from .cases import BODY, Case, chunked, raw

OK, CHUNKED = "HTTP/1.1 200 OK\n", "Transfer-Encoding: chunked\n"
WIRED = chunked(BODY)
GZIPPED = gzip.compress(BODY)
CUT = BODY[:3000]

#: With a body of 5000 plain bytes; then the connection is closed.
_LENGTHS = {
    "none": "",
    "twice": "Content-Length: 5000\nContent-Length: 5000",
    "in one line": "Content-Length: 5000, 5000",
    "padded": "Content-Length: \t 5000 \t ",
    "zeros": "Content-Length: 0005000",
    "no blank": "Content-Length:5000",
    "upper case": "CONTENT-LENGTH: 5000",
    "blank before the colon": "Content-Length : 5000",
    "folded": "Content-Length:\n 5000",
    "a plus": "Content-Length: +5000",
    "empty": "Content-Length:",
    "empty and a good one": "Content-Length:\nContent-Length: 5000",
    "a comma behind": "Content-Length: 5000,",
    "a semicolon behind": "Content-Length: 5000;",
    "bytes behind": "Content-Length: 5000 bytes",
    "decimals": "Content-Length: 5000.0",
    "quoted": 'Content-Length: "5000"',
    "in hex": "Content-Length: 0x1388",
    "in words": "Content-Length: five thousand",
    "negative": "Content-Length: -1",
    "minus 5000": "Content-Length: -5000",
    "undefined": "Content-Length: undefined",
    "null": "Content-Length: null",
    "enormous": "Content-Length: " + "9" * 30,
    "one and a wrong one": "Content-Length: 5000\nContent-Length: 6000",
    "a wrong one first": "Content-Length: 4000\nContent-Length: 5000",
    "differing in one line": "Content-Length: 5000, 4000",
    "zero and a good one": "Content-Length: 0\nContent-Length: 5000",
    "three, one differs": "Content-Length: 5000\nContent-Length: 5000\nContent-Length: 1",
    "thousands separators": "Content-Length: 5,000",
    "underscores": "Content-Length: 5_000",
    "a NUL": "Content-Length: 5000\0",
    "a bare CR": "Content-Length: 5000\rX: y",
    "garbled name": "Content Length: 5000",
    "no colon": "Content-Length 5000",
    "quoted name": '"Content-Length": 5000',
    "identity": "Transfer-Encoding: identity\nContent-Length: 5000",
    "identity alone": "Transfer-Encoding: identity",
    "empty transfer coding": "Transfer-Encoding:\nContent-Length: 5000",
    "transfer coding none": "Transfer-Encoding: none\nContent-Length: 5000",
    "binary transfer coding": "Transfer-Encoding: binary\nContent-Length: 5000",
    "Content-Transfer-Encoding": "Content-Transfer-Encoding: binary\nContent-Length: 5000",
    "8bit": "Transfer-Encoding: 8bit\nContent-Length: 5000",
}

_CHUNKS = {
    "chunked": (CHUNKED, WIRED),
    "upper case": ("TRANSFER-ENCODING: CHUNKED\n", WIRED),
    "in two lines": (CHUNKED * 2, WIRED),
    "chunked, chunked": ("Transfer-Encoding: chunked, chunked\n", WIRED),
    "identity, chunked": ("Transfer-Encoding: identity, chunked\n", WIRED),
    "chunked, identity": ("Transfer-Encoding: chunked, identity\n", WIRED),
    "a comma behind": ("Transfer-Encoding: chunked,\n", WIRED),
    "a comma before": ("Transfer-Encoding: ,chunked\n", WIRED),
    "quoted": ('Transfer-Encoding: "chunked"\n', WIRED),
    "a parameter": ("Transfer-Encoding: chunked;q=1\n", WIRED),
    "a semicolon": ("Transfer-Encoding: chunked;\n", WIRED),
    "a vertical tab": ("Transfer-Encoding: \x0bchunked\n", WIRED),
    "a tab": ("Transfer-Encoding:\tchunked\n", WIRED),
    "blank before the colon": ("Transfer-Encoding : chunked\n", WIRED),
    "folded": ("Transfer-Encoding:\n chunked\n", WIRED),
    "xchunked": ("Transfer-Encoding: xchunked\n", WIRED),
    "a right length of the file": (f"Content-Length: 5000\n{CHUNKED}", WIRED),
    "a right length of the wire": (f"{CHUNKED}Content-Length: {len(WIRED)}\n", WIRED),
    "a wrong length": (f"Content-Length: 5\n{CHUNKED}", WIRED),
    "two wrong lengths": (f"Content-Length: 5\nContent-Length: 6\n{CHUNKED}", WIRED),
    "a length of zero": (f"Content-Length: 0\n{CHUNKED}", WIRED),
    "a length in words": (f"Content-Length: five\n{CHUNKED}", WIRED),
    "upper-case hex": (CHUNKED, chunked(BODY, 0xABC, b"%X")),
    "leading zeros": (CHUNKED, chunked(BODY, 1000, b"0000%x")),
    "many leading zeros": (CHUNKED, chunked(BODY, 1000, b"0" * 30 + b"%x")),
    "extensions": (CHUNKED, chunked(BODY, 1000, b'%x;a="b;c";d')),
    "blanks behind the size": (CHUNKED, chunked(BODY, 1000, b"%x   ")),
    "blank before the size": (CHUNKED, chunked(BODY, 1000, b" %x")),
    "trailers": (CHUNKED, WIRED[:-2] + b"A: b\r\nC: d\r\n\r\n"),
    "a malformed trailer": (CHUNKED, WIRED[:-2] + b"nonsense\r\n\r\n"),
    "no last CRLF": (CHUNKED, WIRED[:-2]),
    "no last CRLF, closed behind 0": (CHUNKED, WIRED[:-4]),
    "bytes behind": (CHUNKED, WIRED + b"more"),
    "line feeds only": (CHUNKED, WIRED.replace(b"\r\n", b"\n") if b"\r\n" not in BODY else WIRED),
    "chunks of one byte": (CHUNKED, chunked(BODY, 1)),
    "one chunk": (CHUNKED, chunked(BODY, 5000)),
    "with 0x": (CHUNKED, chunked(BODY, 1000, b"0x%x")),
    "last chunk with an extension": (CHUNKED, WIRED[:-5] + b"0;x=y\r\n\r\n"),
    "last chunk 000": (CHUNKED, WIRED[:-5] + b"000\r\n\r\n"),
    "but plain bytes": (CHUNKED, BODY),
    "extra CRLF between": (CHUNKED, WIRED.replace(b"\r\n3e8\r\n", b"\r\n\r\n3e8\r\n")),
    "gzip, chunked": ("Transfer-Encoding: gzip, chunked\n", chunked(GZIPPED), GZIPPED),
    "gzip alone": ("Transfer-Encoding: gzip\n", GZIPPED, GZIPPED),
    "deflate, chunked": ("Transfer-Encoding: deflate, chunked\n", chunked(zlib.compress(BODY)), zlib.compress(BODY)),
    "x-gzip, chunked in two lines": (
        "Transfer-Encoding: x-gzip\nTransfer-Encoding: chunked\n",
        chunked(GZIPPED),
        GZIPPED,
    ),
}

#: Nothing may arrive: the file is known to be incomplete, or it is not known what the file is.
_INCOMPLETE = {
    "a body that is too short": (f"{OK}Content-Length: 5000\n", CUT),
    "no body": (f"{OK}Content-Length: 5000\n", b""),
    "no final chunk": (OK + CHUNKED, WIRED[:-5]),
    "half a chunk": (OK + CHUNKED, WIRED[:3210]),
    "no chunk": (OK + CHUNKED, b""),
    "two lengths, short of both": (f"{OK}Content-Length: 5000\nContent-Length: 4000\n", CUT),
    "a 206 that is too short": ("HTTP/1.1 206 x\nContent-Range: bytes 0-4999/5000\nContent-Length: 5000\n", CUT),
    "a 206 from the middle": (
        "HTTP/1.1 206 x\nContent-Range: bytes 2000-4999/5000\nContent-Length: 3000\n",
        BODY[2000:],
    ),
    "a 206 of a part": ("HTTP/1.1 206 x\nContent-Range: bytes 0-2999/5000\nContent-Length: 3000\n", CUT),
    "a length of 5000 in 206, range longer": (
        "HTTP/1.1 206 x\nContent-Range: bytes 0-5999/6000\nContent-Length: 5000\n",
        BODY,
    ),
    "multipart/byteranges": (
        "HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=x\n",
        b"--x\r\nContent-Range: bytes 0-4/5000\r\n\r\nhello\r\n--x--",
    ),
    "a chunk that is longer": (OK + CHUNKED, b"5\r\nhello world\r\n0\r\n\r\n"),
    "a negative chunk": (OK + CHUNKED, b"-5\r\nhello\r\n0\r\n\r\n"),
    "an enormous chunk": (OK + CHUNKED, b"F" * 40 + b"\r\nhello"),
}

#: Cases in which others take the body, and why this program does not.
REFUSED = {
    **dict.fromkeys(
        ("length: a NUL", "length: a bare CR", "length: garbled name", "length: no colon", "length: quoted name"),
        "a malformed line that may be the length",
    ),
    "length: thousands separators": "5 is not the length",
    "chunks: xchunked": "the bytes may be chunks",
    "chunks: no last CRLF": "the end of the body is missing",
    "chunks: no last CRLF, closed behind 0": "the end of the body is missing",
    "chunks: but plain bytes": "these are no chunks",
    "chunks: extra CRLF between": "these are no chunks",
}

_ALL = [
    *(Case(f"length: {name}", raw(f"{OK}{line}\n\n" if line else f"{OK}\n")) for name, line in _LENGTHS.items()),
    Case("length: shorter than the body", raw(f"{OK}Content-Length: 4000\n\n"), BODY[:4000]),
    *(Case(f"chunks: {name}", raw(f"{OK}{head}\n", body), *files) for name, (head, body, *files) in _CHUNKS.items()),
    Case("chunks: HTTP/1.0", raw(f"HTTP/1.0 200 OK\n{CHUNKED}\n", WIRED)),
    Case("chunks: zero length", raw(f"{OK}{CHUNKED}\n", b"0\r\n\r\n"), b""),
    Case("chunks: line feeds", lambda request, wire: wire.send(f"{OK}{CHUNKED}\n".encode() + WIRED)),
    *(Case(f"incomplete: {name}", raw(f"{head}\n", body), None) for name, (head, body) in _INCOMPLETE.items()),
]
FRAMING = [case._replace(refused=REFUSED.get(case.name)) for case in _ALL]
