"""URLs as people paste them, and the request target that must arrive."""

from __future__ import annotations

from collections.abc import Callable

from tests.downloads.hostile import Request, Script, Wire

from .cases import Case
from .redirects import FILE


def only(*targets: str) -> Script:
    """Return a script that serves these request targets alone."""

    def script(request: Request, wire: Wire) -> None:
        if request.path in targets:
            FILE(request, wire)
        else:
            wire.head("403 x", {"Content-Length": 0})

    return script


def _pasted(before: str = "", after: str = "") -> Callable[[str], str]:
    return lambda server: f"{before}{server}/a.zip{after}"


_AROUND = {
    "a blank behind": ("", " "),
    "blanks around": ("  ", "  "),
    "a line break behind": ("", "\n"),
    "a tab before": ("\t", ""),
    "CR LF": ("", "\r\n"),
    "angle brackets": ("<", ">"),
    "quotes": ('"', '"'),
    "single quotes": ("'", "'"),
    "curly quotes": ("“", "”"),
    "guillemets": ("«", "»"),
    "low quotes": ("„", "“"),
    "single guillemets": ("‹", "›"),
    "a no-break space": ("", "\u00a0"),
    "a zero-width space": ("", "\u200b"),
    "a byte order mark": ("\ufeff", ""),
    "a soft hyphen": ("", "\u00ad"),
    "parentheses": ("(", ")"),
    "URL:": ("URL:", ""),
    "URL: and brackets": ("<URL:", ">"),
    "a word joiner": ("\u2060", ""),
    "an ideographic space": ("", "\u3000"),
    "direction marks": ("\u202a", "\u202c"),
    "backquotes": ("`", "`"),
    "CJK brackets": ("「", "」"),
    "CJK double brackets": ("《", "》"),
    "markdown": ("[a file](", ")"),
    "markdown with a title": ("[a](", ' "title")'),
    "a reference": ("[1]: ", ""),
    "a bullet": ("- ", ""),
    "a bullet sign": ("• ", ""),
    "a fragment": ("", "#top"),
    "view-source": ("view-source:", ""),
    "the end of a sentence": ("(", ")."),
    "a quoted list": ('"', '",'),
    "a quotation of e-mail": ("> ", ""),
    "emphasis": ("**", "**"),
    "a link of Slack": ("<", "|a file>"),
    "full-width parentheses": ("（", "）"),
    "colors of a terminal": ("\x1b[36m", "\x1b[0m"),
}
_PATHS = {
    "a blank": ("/a b", "/a%20b"),
    "non-ASCII": ("/ü", "/%C3%BC"),
    "a blank in the query": ("/a?b c", "/a?b%20c"),
    "escapes": ("/%7Ea%2db?s=%2d%7e", "/%7Ea%2db?s=%2d%7e"),
    "a bar": ("/a|b", "/a|b"),
    "a bar in the query": ("/a?b|c", "/a?b|c"),
    "a caret": ("/a^b", "/a%5Eb"),
    "a caret in the query": ("/a?b^c", "/a?b^c"),
    "braces": ("/a{b}", "/a%7Bb%7D"),
    "braces in the query": ("/a?{b}", "/a?{b}"),
    "brackets": ("/a[b]", "/a[b]"),
    "brackets in the query": ("/a?b[c]=d", "/a?b[c]=d"),
    "a backquote": ("/a`b", "/a%60b"),
    "a quote": ('/a"b', "/a%22b"),
    "an apostrophe": ("/a'b", "/a'b"),
    "an apostrophe in the query": ("/a?b='c'", "/a?b='c'"),
    "a signature": ("/a?X-Amz-Signature=ab%2Fcd+ef%20g&x=%2f", "/a?X-Amz-Signature=ab%2Fcd+ef%20g&x=%2f"),
    "a plus": ("/a+b", "/a+b"),
    "a lone percent": ("/100%", "/100%25"),
    "a percent at the end of the query": ("/a?b=100%", "/a?b=100%25"),
    "percent u": ("/%u00fc", "/%25u00fc"),
    "a backslash": ("/a\\b", "/a/b"),
    "dots": ("/x/../a", "/a"),
    "escaped dots": ("/x/%2e%2E/a", "/a"),
    "too many dots": ("/../../a", "/a"),
    "a double slash": ("//a//b", "//a//b"),
    "no path": ("", "/"),
    "a query alone": ("?q", "/?q"),
    "an empty query": ("/a?", "/a?"),
    "two question marks": ("/a?b?c", "/a?b?c"),
    "a fragment": ("/a#b", "/a"),
    "a fragment before a query": ("/a#b?c", "/a"),
    "a semicolon": ("/a;b?c;d", "/a;b?c;d"),
    "a URL in the query": ("/a?u=http://x/y?z", "/a?u=http://x/y?z"),
    "a URL in the path": ("/http://x/y", "/http://x/y"),
    "an emoji": ("/😀", "/%F0%9F%98%80"),
    "decomposed": ("/u\u0308", "/u%CC%88"),
    "a tab inside": ("/a\tb", "/ab"),
    "a line break inside": ("/a\nb", "/ab"),
    "a soft wrap": ("/a\n  b", "/a%20%20b"),
    "at": ("/@a/b@c", "/@a/b@c"),
    "a colon": ("/a:1", "/a:1"),
    "a tilde": ("/~a", "/~a"),
    "a dollar": ("/$a&b!c*d", "/$a&b!c*d"),
    "an escaped NUL": ("/a%00b", "/a%00b"),
    "an escaped line break": ("/a%0ab", "/a%0ab"),
    "less than": ("/a<b>", "/a%3Cb%3E"),
    "zero-width inside": ("/a\u200bb", "/a%E2%80%8Bb"),
    "long": ("/" + "a" * 7000, "/" + "a" * 7000),
    "DEL": ("/a\x7fb", "/a%7Fb"),
}
_SERVERS: dict[str, Callable[[str], str]] = {
    "upper-case scheme": lambda server: server.replace("http", "HTTP") + "/a.zip",
    "no scheme": lambda server: server[7:] + "/a.zip",
    "//host": lambda server: server[5:] + "/a.zip",
    "http:/host": lambda server: server.replace("//", "/") + "/a.zip",
    "http:host": lambda server: server.replace("//", "") + "/a.zip",
    "http:///host": lambda server: server.replace("//", "///") + "/a.zip",
    "backslashes": lambda server: server.replace("//", "\\\\") + "\\a.zip",
    "http//host": lambda server: server.replace("://", "//") + "/a.zip",
    "http;//host": lambda server: server.replace("://", ";//") + "/a.zip",
    "hxxp": lambda server: server.replace("http", "hxxp") + "/a.zip",
    "http://http://": lambda server: "http://" + server + "/a.zip",
    "localhost": lambda server: server.replace("127.0.0.1", "localhost") + "/a.zip",
    "upper-case host": lambda server: server.replace("127.0.0.1", "LOCALHOST") + "/a.zip",
    "decimal address": lambda server: server.replace("127.0.0.1", "2130706433") + "/a.zip",
    "octal address": lambda server: server.replace("127.0.0.1", "0177.0.0.01") + "/a.zip",
    "hexadecimal address": lambda server: server.replace("127.0.0.1", "0x7f.0.0.1") + "/a.zip",
    "short address": lambda server: server.replace("127.0.0.1", "127.1") + "/a.zip",
    "full-width digits": lambda server: server.replace("127.0.0.1", "１２７.0.0.1") + "/a.zip",
    "an escaped host": lambda server: server.replace("127.0.0.1", "%31%32%37.0.0.1") + "/a.zip",
    "a port with zeros": lambda server: server.replace("127.0.0.1:", "127.0.0.1:0") + "/a.zip",
    "an empty user": lambda server: server.replace("//", "//@") + "/a.zip",
    "a user": lambda server: server.replace("//", "//u@") + "/a.zip",
    "two ats": lambda server: server.replace("//", "//u:p@q@") + "/a.zip",
    "mapped IPv6": lambda server: server.replace("127.0.0.1", "[::ffff:127.0.0.1]") + "/a.zip",
    "a trailing comma": lambda server: server + "/a.zip,",
    "a trailing full stop": lambda server: server + "/a.zip.",
}

#: The error proposes a URL: which one is meant is not for a program to guess.
REFUSED = {
    "pasted: view-source": "another scheme",
    **{
        f"server: {name}": "proposes a URL"
        for name in ("no scheme", "//host", "http//host", "http;//host", "hxxp", "http://http://")
    },
}

_ALL = [
    *(Case(f"pasted: {name}", only("/a.zip"), url=_pasted(*around)) for name, around in _AROUND.items()),
    *(
        Case(f"target: {name}", only(sent), url=lambda server, path=path: server + path)
        for name, (path, sent) in _PATHS.items()
    ),  # type: ignore[misc]
    *(Case(f"server: {name}", only("/a.zip", "/a.zip,", "/a.zip."), url=url) for name, url in _SERVERS.items()),
]
URLS = [case._replace(refused=REFUSED.get(case.name)) for case in _ALL]
