"""TLS: contexts for connections, and what their errors mean."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from kue.concurrency import green

from ..errors import DownloadError, DownloadFailed
from .deadline import Deadline

#: OpenSSL's reasons that another attempt would meet again, and their meaning.
_FINAL = {
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "its TLS is outdated: it lacks secure renegotiation",
    "UNSUPPORTED_PROTOCOL": "its TLS version is outdated",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not support TLS 1.2 or newer",
    "NO_PROTOCOLS_AVAILABLE": "it does not support TLS 1.2 or newer",
    "VERSION_TOO_LOW": "its TLS version is outdated",
    "DH_KEY_TOO_SMALL": "its Diffie-Hellman key is too small",
    "EE_KEY_TOO_SMALL": "the key of its certificate is too small",
    "CA_MD_TOO_WEAK": "its certificate uses an outdated signature",
    "BAD_ECPOINT": "its TLS is outdated",
    "WRONG_SIGNATURE_TYPE": "its certificate uses an outdated signature",
    "NO_SHARED_CIPHER": "it supports only outdated ciphers",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no common TLS version or cipher, or it requires a client certificate",
    "TLSV1_ALERT_HANDSHAKE_FAILURE": "no common TLS version or cipher, or it requires a client certificate",
    "TLSV1_UNRECOGNIZED_NAME": "it does not serve this host name",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our client certificate. Check DOWNLOAD_CLIENT_CERT",
    "TLSV1_ALERT_UNKNOWN_CA": "it refuses our client certificate. Check DOWNLOAD_CLIENT_CERT",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client certificate. Set DOWNLOAD_CLIENT_CERT",
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port. Try http://",
    "HTTP_REQUEST": "it does not speak TLS on this port. Try http://",
    "UNKNOWN_PROTOCOL": "it does not speak TLS on this port. Try http://",
}
#: How long to wait for a reason that should have arrived already, seconds.
ALERT_S = 0.2
_EXPIRED, _NOT_YET, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_LEAF_ISSUER = 10, 9, 18, 19, 20, 21
_HOST_MISMATCH, _IP_MISMATCH, _REVOKED = 62, 64, 23


class TlsOptions:
    """How servers are verified, and which client certificate they get.

    ``verify``: True (public CAs), False, or a file or directory of CA certificates. ``ca_bundle``: CA certificates in
    addition to the public ones. ``client_cert``: a PEM file with certificate and key, shown to the server of the job's
    own URL only. Raises ValueError for files that cannot be loaded.
    """

    def __init__(
        self, verify: bool | str = True, ca_bundle: str | None = None, client_cert: str | None = None
    ) -> None:
        self._verify, self._ca_bundle, self._client_cert = verify, ca_bundle, client_cert
        self._contexts: dict[bool, Any] = {}
        if not isinstance(verify, (bool, str, os.PathLike)):
            raise ValueError(f"verify must be True, False, or the path of CA certificates (PEM), not {verify!r}")
        files = {"verify": verify, "ca_bundle": ca_bundle, "client_cert": client_cert}
        for name, path in files.items():
            if path is not None and not isinstance(path, bool) and not os.path.exists(path):
                raise ValueError(f"{name}: the file {path} does not exist; pass the path of a PEM file")
        if ca_bundle or client_cert or not isinstance(verify, bool):
            self.context(bool(client_cert))

    def context(self, is_own_server: bool) -> Any:
        """Return the SSL context for the server of the job's own URL, or for another one."""
        with_cert = is_own_server and self._client_cert is not None
        if with_cert not in self._contexts:
            self._contexts[with_cert] = self._make(with_cert)
        return self._contexts[with_cert]

    def _make(self, with_cert: bool) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["http/1.1"])
        # An intermediate certificate in the CA file is enough: some servers do not send theirs.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self._verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._verify is True:
            context.load_verify_locations(_public_cas()) if _public_cas() else context.load_default_certs()
        else:
            _load("verify", self._verify, lambda path: _load_cas(context, path))
        if self._ca_bundle is not None:
            _load("ca_bundle", self._ca_bundle, lambda path: _load_cas(context, path))
        if with_cert and self._client_cert is not None:
            _load("client_cert", self._client_cert, lambda path: context.load_cert_chain(path, password=lambda: ""))
        return context


def _load_cas(context: ssl.SSLContext, path: str) -> None:
    context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})


def _load(argument: str, path: str, load: Callable[[str], object]) -> None:
    """Load a PEM file into a context. Raises ValueError, which names the argument."""
    try:
        load(path)
    except (OSError, ssl.SSLError) as exc:
        reason = getattr(exc, "reason", None) or exc.strerror or exc
        raise ValueError(f"{argument}: {path} cannot be loaded ({reason}); it must be a PEM file") from None


def _public_cas() -> str | None:
    try:
        import certifi
    except ImportError:
        return None
    return str(certifi.where())


def handshake(sock: socket.socket, context: Any, host: str, label: str, timeout_s: float) -> Any:
    """Wrap a connected socket. Raises DownloadError, after closing it."""
    inside = isinstance(sock, ssl.SSLSocket)
    # A plain socket's own handshake has a deadline already, except with eventlet.
    deadline = Deadline(sock.fileno(), timeout_s)
    wrapped: Any = sock
    try:
        with deadline if inside or green.enabled() else contextlib.nullcontext():
            if inside:
                return _tls_in_tls(sock, context, host.rstrip("."))
            wrapped = context.wrap_socket(sock, server_hostname=host.rstrip("."), do_handshake_on_connect=False)
            wrapped.settimeout(timeout_s)
            wrapped.do_handshake()
            return wrapped
    except BaseException as exc:
        wrapped.close()
        if isinstance(exc, (OSError, ssl.SSLError, ValueError)):
            raise explain(TimeoutError() if deadline.passed else exc, label, host) from None
        raise


def _tls_in_tls(sock: Any, context: Any, host: str) -> Any:
    """Shake hands with a server inside a TLS connection to a proxy."""
    try:
        from urllib3.util.ssltransport import SSLTransport
    except ImportError:
        raise DownloadFailed("HTTPS through an https proxy needs the package urllib3. Install it") from None

    class TlsInTls(SSLTransport):
        """As urllib3's, with the proper end of a connection as the end."""

        def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> Any:
            try:
                return super().recv_into(buffer, nbytes, flags)
            except ssl.SSLZeroReturnError:
                return 0

    return TlsInTls(sock, context, host, suppress_ragged_eofs=False)


def explain(exc: BaseException, label: str, host: str) -> DownloadError:
    """Return the error for an exception of a TLS handshake or connection."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return DownloadFailed(f"The certificate of {label} is not valid: {_certificate(exc, host)}")
    if isinstance(exc, TimeoutError):
        return DownloadError(f"TLS handshake with {label} timed out")
    if isinstance(exc, ssl.SSLEOFError) or not isinstance(exc, ssl.SSLError):
        lost = isinstance(exc, ssl.SSLEOFError) or not getattr(exc, "strerror", None)
        why = "the server closed the connection" if lost else getattr(exc, "strerror", "")
        return DownloadError(f"TLS handshake with {label} failed: {why}")
    reason = exc.reason or ""
    if reason in _FINAL:
        return DownloadFailed(f"TLS handshake with {label} failed: {_FINAL[reason]} ({reason})")
    return DownloadError(f"TLS handshake with {label} failed ({reason or 'unknown reason'})")


def refusal(exc: BaseException, label: str) -> DownloadError | None:
    """Return the error for an exception before the response, if it says why the server will never send one.

    With TLS 1.3 the handshake has ended for the client when the server refuses the client's certificate.
    """
    is_final = isinstance(exc, ssl.SSLError) and exc.reason in _FINAL
    return explain(exc, label, "") if is_final else None


def pending_refusal(sock: Any, label: str) -> DownloadError | None:
    """Return the error that a server sent before it closed a connection, so that nothing more could be sent to it."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    try:
        sock.settimeout(ALERT_S)
        sock.recv(1)
    except OSError as exc:
        return refusal(exc, label)
    return None


def _certificate(exc: ssl.SSLCertVerificationError, host: str) -> str:
    code, words = exc.verify_code, exc.verify_message
    add = "An operator can add the missing certificate to the file in DOWNLOAD_CA_BUNDLE"
    if code in (_NO_ISSUER, _NO_LEAF_ISSUER):
        return (
            f"{words}. The server omits an intermediate certificate (browsers fetch it themselves) or uses a "
            f"private CA. {add}"
        )
    if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN):
        return f"it is self-signed ({words}). {add}"
    if code == _EXPIRED:
        return "it has expired. The server's operator must renew it"
    if code == _NOT_YET:
        return "it is not valid yet. Check the clock of this machine"
    if code in (_HOST_MISMATCH, _IP_MISMATCH):
        return f"it was issued for another host than {host}. Check the URL"
    return str(words)
