"""Redirects: forms of Location, statuses, cookies on the way, loops, credentials."""

from __future__ import annotations

from tests.downloads.hostile import Request, Script, Wire

from .cases import BODY, Case, raw

FILE = raw("HTTP/1.1 200 OK\nContent-Length: {N}\n\n")


def to(location: str | bytes, status: str = "302 Found", more: str = "", body: bytes = b"") -> Script:
    """Return a script that redirects; ``{server}`` and ``{port}`` in the location are the server's."""

    def script(request: Request, wire: Wire) -> None:
        target = location.encode() if isinstance(location, str) else location
        target = target.replace(b"{server}", wire.server.url("")[7:].encode()).replace(
            b"{port}", str(wire.server.port).encode()
        )
        head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n".encode()
        wire.send(head + b"Location: " + target + b"\r\n\r\n" + body)

    return script


def from_to(first: Script, path: str, then: Script = FILE) -> Script:
    """Return a script that answers ``/file.bin`` with ``first``, ``path`` with ``then``, and others with 404."""

    def script(request: Request, wire: Wire) -> None:
        if request.path == "/file.bin":
            first(request, wire)
        elif request.path == path:
            then(request, wire)
        else:
            wire.head("404 Not Found", {"Content-Length": 0, "X-Path": request.path.encode().hex()})

    return script


#: Location, and the target that must be asked for.
_LOCATIONS: dict[str, tuple[str | bytes, str]] = {
    "absolute": ("http://{server}/a", "/a"),
    "path": ("/a", "/a"),
    "relative": ("a", "/a"),
    "dot relative": ("./a", "/a"),
    "up": ("../a", "/a"),
    "protocol-relative": ("//{server}/a", "/a"),
    "query": ("?q=1", "/file.bin?q=1"),
    "fragment behind": ("/a#f", "/a"),
    "fragment of a relative": ("a#f?x", "/a"),
    "upper-case scheme": ("HTTP://{server}/a", "/a"),
    "blanks around": ("  /a  ", "/a"),
    "a blank in the path": ("/a b", "/a%20b"),
    "a blank in the query": ("/a?b c", "/a?b%20c"),
    "a tab inside": ("/a\tb", "/ab"),
    "UTF-8": ("/ü", "/%C3%BC"),
    "UTF-8 that ends in A0": ("/voilà", "/voil%C3%A0"),
    "Latin-1": (b"/\xfc", "/%FC"),
    "UTF-8 in the query": ("/a?q=ü", "/a?q=%C3%BC"),
    "escaped": ("/%c3%bc", "/%c3%bc"),
    "escaped slash": ("/a%2fb", "/a%2fb"),
    "a lone percent": ("/100%", "/100%25"),
    "a plus": ("/a+b?c+d", "/a+b?c+d"),
    "backslashes": ("\\a\\b", "/a/b"),
    "a bar": ("/a|b", "/a|b"),
    "a caret": ("/a^b", "/a%5Eb"),
    "braces": ("/a{b}", "/a%7Bb%7D"),
    "brackets": ("/a[b]", "/a[b]"),
    "quotes": ('/a"b', "/a%22b"),
    "a semicolon": ("/a;b=c", "/a;b=c"),
    "a colon": ("/a:b", "/a:b"),
    "a colon in a relative": ("./a:b", "/a:b"),
    "at": ("/a@b", "/a@b"),
    "dots": ("/x/../a/./b", "/a/b"),
    "escaped dots": ("/x/%2e%2e/a", "/a"),
    "dots in the query": ("/a?x=/../b", "/a?x=/../b"),
    "double slash inside": ("/a//b", "/a//b"),
    "triple slash": ("http:///{server}/a", "/a"),
    "one slash": ("http:/a", "/a"),
    "no slash": ("http:a", "/a"),
    "empty port": ("http://127.0.0.1:{port}/a", "/a"),
    "host alone": ("http://{server}", "/"),
    "host and query": ("http://{server}?q", "/?q"),
    "credentials": ("http://u:p@{server}/a", "/a"),
    "in angle brackets": ("</a>", "/%3C/a%3E"),
    "a signed query": ("/a?X-Sig=%2F%2b%20~&b=%7e", "/a?X-Sig=%2F%2b%20~&b=%7e"),
    "a comma": ("/a,b", "/a,b"),
    "long": ("/" + "a" * 4000, "/" + "a" * 4000),
    "very long": ("/" + "a" * 7500, "/" + "a" * 7500),
    "octal address": ("http://0177.0.0.1:{port}/a", "/a"),
    "short address": ("http://127.1:{port}/a", "/a"),
    "hexadecimal address": ("http://0x7f000001:{port}/a", "/a"),
    "localhost": ("http://localhost:{port}/a", "/a"),
    "GBK": ("/中".encode("gbk"), "/%D6%D0"),
    "GBK in the query": ("/a?q=中".encode("gbk"), "/a?q=%D6%D0"),
    "a mix of charsets": (b"/\xc3\xbc\xfc", "/%C3%BC%FC"),
    "an HTML entity": ("/a?b=1&amp;c=2", "/a?b=1&amp;c=2"),
    "escaped twice": ("/a%2520b", "/a%2520b"),
    "upper-case host": ("http://LOCALHOST:{port}/a", "/a"),
    "escaped host": ("http://%6Cocalhost:{port}/a", "/a"),
    "mapped IPv6": ("http://[::ffff:127.0.0.1]:{port}/a", "/a"),
    "an empty user": ("http://@{server}/a", "/a"),
    "no scheme, a host": ("127.0.0.1/a", "/127.0.0.1/a"),
    "padded with NBSP": ("/a\u00a0", "/a%C2%A0"),
}


def hops(count: int) -> Script:
    """Return a script that redirects ``count`` times, each with another cookie; the last needs them all."""

    def script(request: Request, wire: Wire) -> None:
        at = int(request.path[1:]) if request.path[1:].isdigit() else 0
        cookies = request.headers.get("cookie", "")
        if at < count:
            wire.head("302 x", {"Location": f"/{at + 1}", "Set-Cookie": f"c{at}=1; Path=/", "Content-Length": 0})
        elif all(f"c{number}=1" in cookies for number in range(count)):
            FILE(request, wire)
        else:
            wire.head("403 x", {"Content-Length": 0})

    return script


def cookie_gate(set_cookie: str, then: str = "/in", wanted: str = "pass=1") -> Script:
    """Return a script that sets a cookie, redirects, and wants the cookie back."""

    def script(request: Request, wire: Wire) -> None:
        if wanted in request.headers.get("cookie", ""):
            FILE(request, wire)
        elif request.number == 0:
            wire.head("302 x", {"Location": then, "Set-Cookie": set_cookie, "Content-Length": 0})
        else:
            wire.head("403 x", {"Content-Length": 0})

    return script


def two_locations(request: Request, wire: Wire) -> None:
    """Redirect twice at once."""
    wire.send(
        b"HTTP/1.1 302 x\r\nLocation: /a\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n" if request.path != "/a" else b""
    )
    if request.path == "/a":
        FILE(request, wire)


def basic(request: Request, wire: Wire) -> None:
    """Want the credentials u:p."""
    if request.headers.get("authorization") == "Basic dTpw":
        FILE(request, wire)
    else:
        wire.head("401 x", {"WWW-Authenticate": 'Basic realm="x"', "Content-Length": 0})


def slow_body(request: Request, wire: Wire) -> None:
    """Redirect with a body that is announced and never sent."""
    if request.path == "/a":
        FILE(request, wire)
    else:
        wire.head("302 x", {"Location": "/a", "Content-Length": 99})
        wire.server.stop.wait(8)


_COOKIES = {
    "plain": "pass=1",
    "a path": "pass=1; Path=/",
    "an own path": "pass=1; Path=/in",
    "HttpOnly": "pass=1; HttpOnly; SameSite=Lax",
    "a date": "pass=1; Expires=Wed, 01 Jan 2098 00:00:00 GMT",
    "max-age": "pass=1; Max-Age=60",
    "an own domain": "pass=1; Domain=127.0.0.1",
    "an odd date": "pass=1; expires=Wed, 01-Jan-2098 00:00:00 GMT",
    "a bad date": "pass=1; expires=soon",
    "version": "pass=1; Version=1",
    "quoted": 'pass=1; Comment="a, b"',
    "a bad max-age": "pass=1; Max-Age=abc",
    "a quoted max-age": 'pass=1; Max-Age="60"',
    "a max-age with decimals": "pass=1; Max-Age=60.5",
    "a bad version": "pass=1; Version=abc",
    "ports": 'pass=1; Port="80,8080"',
    "an empty domain": "pass=1; Domain=",
    "a path without value": "pass=1; Path",
    "a NUL": "pass=1\0; Path=/",
    "max-age beside a past date": "pass=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "partitioned": "pass=1; Partitioned; Priority=High",
}

#: Set-Cookie, and what must come back in Cookie.
_VALUES = {
    "equals signs": ("t=a=b==; Path=/", "t=a=b=="),
    "JSON": ('t={"a":1}; Path=/', 't={"a":1}'),
    "a blank": ("t=a b; Path=/", "t=a b"),
    "quotes": ('t="a"; Path=/', 't="a"'),
    "a comma": ("t=a,b; Path=/", "t=a,b"),
    "escapes": ("t=a%3Bb%20c; Path=/", "t=a%3Bb%20c"),
    "nothing": ("t=; Path=/", "t="),
    "UTF-8": ("t=\xc3\xbc\xe4\xb8\xad; Path=/", "t=\xc3\xbc\xe4\xb8\xad"),
    "Latin-1": ("t=\xfc; Path=/", "t=\xfc"),
    "a long value": ("t=" + "x" * 3900 + "; Path=/", "x" * 3900),
    "an odd name": ("a.b-c_d!=1; Path=/", "a.b-c_d!=1"),
    "blanks around": ("  t = a ; Path=/", "t=a"),
    "two in one line": ("t=a; Path=/\r\nSet-Cookie: u=b; Path=/", "u=b"),
    "no attributes": ("t=a", "t=a"),
    "upper-case attributes": ("t=a; PATH=/; EXPIRES=Wed, 01 Jan 2098 00:00:00 GMT", "t=a"),
    "a semicolon at the end": ("t=a;", "t=a"),
    "an odd weekday": ("t=a; Expires=Mon, 01-Jan-98 00:00:00 GMT; Max-Age=99", "t=a"),
    "a path without slash": ("t=a; Path=in", "t=a"),
}
#: Responses to the first request, and whether they lead to /a.
_HEADS = {
    "an empty Location and a good one": ("302 x\nLocation:\nLocation: /a\n", True),
    "a CR in Location": ("302 x\nLocation: /a\rX: y\n", True),
    "after a 103": ("103 x\nLocation: /b\n\nHTTP/1.1 302 x\nLocation: /a\n", True),
    "an unknown Transfer-Encoding": ("302 x\nLocation: /a\nTransfer-Encoding: x\n", True),
    "Refresh alone": ("302 x\nRefresh: 0; url=/a\n", False),
    "URI alone": ("302 x\nURI: /a\n", False),
    "304 with a Location": ("304 x\nLocation: /a\n", False),
}
REDIRECTS = [
    *(
        Case(f"redirect: {name}", from_to(raw(f"HTTP/1.1 {head}\n", b""), "/a"), BODY if leads else None)
        for name, (head, leads) in _HEADS.items()
    ),
    *(Case(f"cookie value: {name}", cookie_gate(value, wanted=wanted)) for name, (value, wanted) in _VALUES.items()),
    *(Case(f"location: {name}", from_to(to(location), path)) for name, (location, path) in _LOCATIONS.items()),
    *(Case(f"redirect: {status}", from_to(to("/a", f"{status} x"), "/a")) for status in (300, 301, 302, 303, 307, 308)),
    *(Case(f"cookie: {name}", cookie_gate(value)) for name, value in _COOKIES.items()),
    Case("cookie: to the same URL", cookie_gate("pass=1", "/file.bin")),
    Case("hops: 1", hops(1)),
    Case("hops: 6", hops(6)),
    Case("hops: 10", hops(10)),
    Case("hops: 19", hops(19)),
    Case("hops: 20", hops(20)),
    Case("hops: 21", hops(21), None, refused="more than 20 redirects"),
    Case("hops: for ever", to("/file.bin"), None, refused="a loop"),
    Case("redirect: two Locations", two_locations),
    Case("redirect: with a body", from_to(to("/a", body=b"moved"), "/a")),
    Case("redirect: with a body that never comes", slow_body),
    Case(
        "redirect: with a contradictory length",
        from_to(raw("HTTP/1.1 302 x\nLocation: /a\nContent-Length: 5\nContent-Length: 6\n\n", b""), "/a"),
    ),
    Case("redirect: HTTP/1.0", from_to(raw("HTTP/1.0 302 x\nLocation: /a\n\n", b""), "/a")),
    Case("redirect: lower-case header", from_to(raw("HTTP/1.1 302\nlocation:/a\n\n", b""), "/a")),
    Case("redirect: folded Location", from_to(raw("HTTP/1.1 302\nLocation:\n /a\n\n", b""), "/a")),
    Case("redirect: to a file scheme", to("file:///etc/passwd"), None, refused="another scheme"),
    Case("redirect: to data", to("data:text/plain,hello"), None, refused="another scheme"),
    Case("redirect: empty Location", to(""), None, refused="no target"),
    Case("redirect: fragment alone", from_to(to("#x"), "/x"), None, refused="a loop"),
    Case("credentials: in the Location", from_to(to("http://u:p@{server}/a"), "/a", basic)),
    Case("credentials: in the URL", basic, url=lambda server: server.replace("//", "//u:p@") + "/file.bin"),
    Case(
        "credentials: kept on the same server",
        from_to(to("/a"), "/a", basic),
        url=lambda server: server.replace("//", "//u:p@") + "/file.bin",
    ),
]
