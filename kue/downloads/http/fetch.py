"""Ask for a URL and follow its redirects, each hop checked, until there is an answer with a body."""

from __future__ import annotations

import base64
import copy
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urljoin

import requests
import requests.cookies
import requests.utils
import urllib3.exceptions
from urllib3.util import Url

from .. import messages
from ..errors import DownloadError, DownloadFailed, DownloadPostponed, InvalidUrl
from .connection import Network
from .response import Answer
from .urls import credentials_of, host_label, origin_of, redact_url, split_url, without_credentials

MAX_REDIRECTS = 5
#: Statuses that another attempt may not meet again, beside all from 500 on.
PASSING = frozenset({408, 425, 429})
#: Longest wait that a server's Retry-After may ask for, seconds.
MAX_RETRY_AFTER_S = 6 * 3600
USER_AGENT = "kue-download/1"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Source:
    """Where one download comes from. ``url`` may hold credentials; they go to its own origin and nowhere else."""

    def __init__(
        self,
        url: str,
        network: Network,
        log: Callable[[str], None],
        *,
        verify: bool | str = True,
        env_proxies: bool = False,
    ) -> None:
        self._first = split_url(url, network.guard.allow)
        self._credentials = credentials_of(self._first)
        self._network, self._log = network, log
        self._verify, self._env_proxies = verify, env_proxies
        self._final: Url | None = None
        self._redirects = 0
        #: Some servers set a cookie with a redirect and ask for it behind it. Never shared between downloads.
        self._cookies = requests.cookies.RequestsCookieJar()

    def twin(self, tick: Callable[[], None]) -> Source:
        """Return the same source for another thread, which has its own way of looking for interrupts."""
        twin = copy.copy(self)
        twin._network = Network(self._network.guard, self._network.patience, tick)
        twin._log = lambda line: None
        return twin

    @property
    def host(self) -> str:
        """The host that was asked for, for people and for the slots."""
        return host_label(self._first)

    def open(self, headers: Mapping[str, str] | None = None, *, straight: bool = False) -> Answer:
        """Send a GET and return the answer: 200, 206 or 416. Every other status is raised as an error in words.

        ``straight``: begin where the last chain of redirects ended, as the further connections of one download do.
        """
        parts = self._final if straight and self._final is not None else self._first
        hops = self._redirects if straight and self._final is not None else 0
        while True:
            answer = self._ask(parts, headers or {}, hops)
            if answer.status not in _REDIRECTS:
                break
            target = answer.header("Location")
            answer.close()
            if hops >= MAX_REDIRECTS:
                raise DownloadFailed(
                    f"{host_label(self._first)} redirects more than {MAX_REDIRECTS} times", url=answer.url
                )
            parts = self._next(parts, target, answer.status)
            hops += 1
            if not straight:
                self._log(f"Redirected to {redact_url(without_credentials(parts))}")
        if answer.status in (200, 206, 416):
            self._final, self._redirects = parts, hops
            return answer
        answer.close()
        raise self._refusal(answer)

    def _next(self, parts: Url, target: str | None, status: int) -> Url:
        shown = host_label(parts)
        if not target:
            raise DownloadFailed(f"{shown} redirects without saying where to", status=status)
        # A header arrives as Latin-1; a path in it that is not ASCII was meant as UTF-8.
        try:
            target = target.encode("latin-1").decode("utf-8")
        except UnicodeError:
            pass
        try:
            return split_url(urljoin(without_credentials(parts), target.strip()), self._network.guard.allow)
        except InvalidUrl as exc:
            raise DownloadFailed(
                f"{shown} redirects to where nothing may be downloaded from. {exc.message}", status=status
            ) from None
        except ValueError:
            raise DownloadFailed(f"{shown} redirects to something that is not a URL", status=status) from None

    def _ask(self, parts: Url, headers: Mapping[str, str], hops: int) -> Answer:
        url, shown = without_credentials(parts), redact_url(without_credentials(parts))
        sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
        sent.update(headers)
        if self._credentials and origin_of(parts) == origin_of(self._first):
            pair = ":".join(self._credentials).encode("utf-8")
            sent["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        proxies = self._proxies(url)
        if proxies:
            # The proxy will look the name up again, so this check is only as good as the proxy.
            self._network.guard.addresses(parts.host or "", parts.port or 80)
        session = self._network.session(self._verify, proxies)
        session.cookies = self._cookies
        patience = self._network.patience
        try:
            response = session.get(
                url, headers=sent, stream=True, allow_redirects=False, timeout=(patience.connect_s, patience.idle_s)
            )
        except DownloadError as exc:
            exc.url = exc.url or shown
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as exc:
            error = explain(exc, host_label(parts))
            error.url = shown
        else:
            return Answer(response, response.raw.metered, shown, host_label(parts), hops)
        finally:
            session.close()
        raise error

    def _proxies(self, url: str) -> dict[str, str]:
        return dict(requests.utils.get_environ_proxies(url)) if self._env_proxies else {}

    def _refusal(self, answer: Answer) -> DownloadError:
        message = f"{answer.host} answered {messages.status(answer.status)}"
        if answer.status not in PASSING and answer.status < 500:
            return DownloadFailed(message, url=answer.url, status=answer.status)
        wait_s = answer.retry_after_s()
        if wait_s is None:
            return DownloadError(message, url=answer.url, status=answer.status)
        wait_s = min(max(wait_s, 1.0), MAX_RETRY_AFTER_S)
        return DownloadPostponed(
            int(wait_s * 1000),
            f"{message} and asks to try again in {messages.duration(wait_s)}",
            url=answer.url,
            status=answer.status,
        )


def explain(exc: BaseException, host: str) -> DownloadError:
    """Turn an error of the HTTP library into one in words, without its own text, which quotes the request."""
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DownloadFailed(f"The certificate of {host} is not valid: {cause.verify_message}")
        if isinstance(cause, DownloadError):
            return cause
    for cause in causes:
        if isinstance(cause, http.client.RemoteDisconnected | ConnectionError) and not isinstance(
            cause, requests.RequestException
        ):
            return DownloadError(f"{host} closed the connection without an answer")
        if isinstance(cause, ssl.SSLError | urllib3.exceptions.SSLError):
            return DownloadError(f"No secure connection to {host} could be made")
        if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError | requests.Timeout):
            return DownloadError(f"{host} did not answer in time")
        if isinstance(cause, urllib3.exceptions.ProxyError):
            return DownloadError("The proxy does not answer")
        if isinstance(cause, http.client.HTTPException):
            return DownloadFailed(f"{host} sent an answer that is not HTTP, or headers that cannot be read")
        if isinstance(cause, requests.exceptions.InvalidURL | urllib3.exceptions.LocationValueError | UnicodeError):
            return DownloadFailed(f"{host} is not a valid host name")
    return DownloadError(f"{host} could not be reached")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield ``exc`` and all that it wraps, each once."""
    seen: set[int] = set()
    pending: list[BaseException] = [exc]
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        pending.extend(item for item in inner if isinstance(item, BaseException))
