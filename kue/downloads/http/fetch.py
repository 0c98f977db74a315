"""Request a URL and follow its redirects, each hop checked, until there is a response with a body."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping

from .. import messages
from ..addresses.urls import Url, host_label, join_url, redact_url, split_url
from ..errors import DownloadError, DownloadFailed, DownloadPostponed, InvalidUrl
from ..request import DownloadRequest
from .connection import Network
from .cookies import Cookies
from .proxy import Proxy, environment_proxy, parse_proxy, refusal
from .response import Response

MAX_REDIRECTS = 20
#: Statuses, besides 5xx, that may not occur again in another attempt.
TEMPORARY = frozenset({202, 408, 425, 429})
#: Longest wait that a server's Retry-After may ask for, seconds.
MAX_RETRY_AFTER_S = 6 * 3600
USER_AGENT = "kue-download/1"
PROXY_AUTHENTICATION = 407
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
#: The job's own headers that every server of a redirect chain gets; all others may hold secrets.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})


class Source:
    """Where one download comes from.

    Credentials, cookies and headers of the job go to the server of its URL only: same scheme, host and port, or the
    same host after a redirect from http on port 80 to https on port 443.
    """

    def __init__(
        self,
        request: DownloadRequest,
        network: Network,
        log: Callable[[str], None],
        *,
        proxy: Proxy | None = None,
        env_proxies: bool = False,
    ) -> None:
        self._first = split_url(request.url, network.guard.allow)
        self._request, self._network, self._log = request, network, log
        self._proxy = proxy if request.proxy is None else parse_proxy(request.proxy)
        self._env_proxies = env_proxies
        self._final: Url | None = None
        self._redirects = 0
        self._cookies = Cookies(request.cookies or "")
        #: Credentials that a redirect's Location had, by origin.
        self._credentials: dict[tuple[str, str, int], tuple[str, str]] = {}
        self._reported: set[str] = set()
        #: How If-Range is sent: 0 with the validator, 1 with the date, 2 not at all.
        self.range_style = 0
        #: Range responses that were shorter than worthwhile.
        self.small_pieces = 0

    def for_thread(self, tick: Callable[[], None]) -> Source:
        """Return the same source for another thread, which checks for interrupts in another way."""
        other = copy.copy(self)
        other._network = self._network.with_tick(tick)
        other._log = lambda line: None
        return other

    @property
    def host(self) -> str:
        """The host of the job's URL, for display and for the limit per host."""
        return host_label(self._first)

    def open(self, headers: Mapping[str, str] | None = None, *, from_final: bool = False) -> Response:
        """Send a GET request and return the response: a success with a body, or 416. Raises DownloadError otherwise.

        ``from_final``: start at the final URL of the last chain of redirects, as additional connections do.
        """
        parts = self._final if from_final and self._final is not None else self._first
        hops = self._redirects if from_final and self._final is not None else 0
        while True:
            response = self._ask(parts, headers or {}, hops)
            target = next(filter(None, response.header_lines("Location")), None)
            if response.status not in _REDIRECTS or response.is_whole or (response.status == 300 and not target):
                break
            response.close()
            if hops >= MAX_REDIRECTS:
                raise DownloadFailed(
                    f"{host_label(self._first)} redirected more than {MAX_REDIRECTS} times", url=response.url
                )
            parts = self._next(parts, target, response.status)
            hops += 1
            if not from_final:
                self._log(f"Redirected to {redact_url(str(parts))}")
        # The body of a 3xx is no reason to discard the part that is there.
        would_discard = response.status >= 300 and "Range" in (headers or {})
        if (response.is_whole and not would_discard) or response.status in (206, 416):
            response.check_framing()
            self._final, self._redirects = parts, hops
            if 300 <= response.status < 400:
                self._report(f"{response.host} answered {messages.status(response.status)} with a body and no Location")
            for doubt in response.doubts:
                self._report(f"{response.host} sent {doubt}")
            return response
        response.close()
        raise self._refusal(response)

    def _next(self, parts: Url, target: str | None, status: int) -> Url:
        shown = host_label(parts)
        if not target:
            raise DownloadFailed(f"{shown} sent a redirect without a Location header", status=status)
        # A header arrives as Latin-1; bytes that are not ASCII are meant as UTF-8, or as they are.
        data = target.encode("latin-1")
        try:
            target = data.decode("utf-8")
        except UnicodeError:
            target = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in data)
        try:
            found = join_url(parts, target, self._network.guard.allow)
        except InvalidUrl as exc:
            where = "a forbidden address" if exc.code == "forbidden_address" else "an invalid URL"
            raise DownloadFailed(f"{shown} redirected to {where}. {exc.message}", status=status) from None
        if found.credentials is not None:
            self._credentials[found.origin] = found.credentials
        return found._replace(credentials=None)

    def _ask(self, parts: Url, headers: Mapping[str, str], hops: int) -> Response:
        shown = redact_url(str(parts))
        is_own_server = self._is_own_server(parts)
        sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
        _merge(sent, self._own_headers(parts, is_own_server))
        sent.update(headers)
        proxy = self._proxy
        try:
            if proxy is None and self._env_proxies:
                proxy = environment_proxy(parts)
            sent = {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in sent.items()}
            head, stream = self._network.request(parts, sent, proxy, is_own_server)
            if head.status == PROXY_AUTHENTICATION and proxy is not None:
                stream.close()
                raise refusal(proxy, head.status)
        except DownloadError as exc:
            exc.url = exc.url or shown
            raise
        except ValueError as exc:
            raise DownloadFailed(str(exc), url=shown) from None
        self._cookies.keep(parts, head.headers.get("set-cookie", []))
        for line in head.skipped:
            self._report(f"Ignored a malformed header line from {host_label(parts)}: {line}")
        return Response(head, stream, shown, host_label(parts), hops)

    def _report(self, line: str) -> None:
        """Log what is wrong with a response, once for all attempts and connections of a download."""
        if line not in self._reported:
            self._reported.add(line)
            self._log(line)

    def _own_headers(self, parts: Url, is_own_server: bool) -> dict[str, str]:
        """Return what the job wants to be sent, as far as this server may see it."""
        wanted = self._request
        found = {n: v for n, v in wanted.headers.items() if is_own_server or n.lower() in _HARMLESS}
        if wanted.user_agent:
            found["User-Agent"] = wanted.user_agent
        if wanted.referer and (is_own_server or "@" not in wanted.referer):
            found["Referer"] = wanted.referer
        cookie = self._cookies.header(parts, is_own_server)
        if cookie:
            found["Cookie"] = cookie
        credentials = self._credentials.get(parts.origin) or (self._first.credentials if is_own_server else None)
        if credentials and not any(name.lower() == "authorization" for name in found):
            found["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode("utf-8")).decode("ascii")
        return found

    def _is_own_server(self, parts: Url) -> bool:
        first, now = self._first.origin, parts.origin
        return now == first or (first[1] == now[1] and first[::2] == ("http", 80) and now[::2] == ("https", 443))

    def _refusal(self, response: Response) -> DownloadError:
        message = f"{response.host} answered {messages.status(response.status)}"
        if response.status == 202:
            message += ": the file is not ready yet"
        wait_s = response.retry_after_s()
        if wait_s is None or response.status < 200:
            is_temporary = response.status in TEMPORARY or response.status >= 500
            kind = DownloadError if is_temporary else DownloadFailed
            return kind(message, url=response.url, status=response.status)
        wait_s = min(max(wait_s, 1.0), MAX_RETRY_AFTER_S)
        return DownloadPostponed(
            int(wait_s * 1000),
            f"{message}; retry in {messages.duration(wait_s)}",
            url=response.url,
            status=response.status,
        )


def _merge(headers: dict[str, str], more: Mapping[str, str]) -> None:
    """Add ``more``, each instead of a header of the same name in whatever case."""
    for name, value in more.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        headers[name] = value
