"""TLS: certificates that are wrong, servers that are outdated, and client certificates."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler
from kue.downloads.http import tls as tls_module
from tests.downloads.conftest import assert_file
from tests.downloads.hostile import FakeJob, HostileServer, Request, Wire, content, good, send_good

DATA = content(50_000)
Make = Callable[..., DownloadHandler]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return certificates: a root, an intermediate, and a server's that the intermediate signed."""
    place = tmp_path_factory.mktemp("ca")

    def sign(name: str, issuer: str | None, extension: str, days: str = "2") -> None:
        subject = ["-subj", f"/CN={name}", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        keys = ["-keyout", str(place / f"{name}.key"), "-out", str(place / f"{name}.pem"), "-days", days]
        signer = [] if issuer is None else ["-CA", str(place / f"{issuer}.pem"), "-CAkey", str(place / f"{issuer}.key")]
        subprocess.run(
            ["openssl", "req", "-x509", *subject, *keys, *signer, "-addext", extension], check=True, capture_output=True
        )

    sign("root", None, "keyUsage=keyCertSign")
    sign("middle", "root", "basicConstraints=critical,CA:TRUE")
    sign("leaf", "middle", "subjectAltName=IP:127.0.0.1")
    sign("other", None, "subjectAltName=DNS:other.example")
    dated(place, "expired", "20200101000000Z", "20210101000000Z")
    dated(place, "early", "20900101000000Z", "20910101000000Z")
    return {path.name: path for path in place.iterdir()}


def dated(place: Path, name: str, first: str, last: str) -> None:
    """Make a self-signed certificate for 127.0.0.1 that is valid between two dates."""
    (place / "index.txt").write_text("")
    (place / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={place}/index.txt\nnew_certs_dir={place}\nserial={place}/serial\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n"
    )
    key, request = str(place / f"{name}.key"), str(place / f"{name}.csr")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
    dates = ["-startdate", first, "-enddate", last, "-create_serial", "-out", str(place / f"{name}.pem")]
    for command in (
        ["req", "-new", *new, "-keyout", key, "-out", request],
        ["ca", "-batch", "-selfsign", "-notext", "-config", str(place / "ca.cnf"), "-keyfile", key, "-in", request]
        + dates,
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)


def serving(authority: dict[str, Path], name: str) -> ssl.SSLContext:
    """Return a server's TLS context that sends this certificate alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[f"{name}.pem"], authority[f"{name}.key"])
    return context


@pytest.mark.usefixtures("untidy_handshakes")
def test_a_chain_without_its_middle_is_explained_and_can_be_completed(
    make: Make, folder: Path, authority: dict[str, Path]
) -> None:
    with HostileServer(good(DATA), tls=serving(authority, "leaf")) as server:
        with pytest.raises(DownloadFailed, match="omits an intermediate certificate.*DOWNLOAD_CA_BUNDLE"):
            make(server, verify=str(authority["root.pem"]))(FakeJob(server.url()))
        bundle = str(authority["middle.pem"])
        assert_file(folder, make(server, ca_bundle=bundle)(FakeJob(server.url(), 2)), DATA)


@pytest.mark.usefixtures("untidy_handshakes")
@pytest.mark.parametrize(
    ("served", "trusted", "sentence"),
    [
        ("other", "other", "issued for another host than 127.0.0.1. Check the URL"),
        ("other", None, r"self-signed .*DOWNLOAD_CA_BUNDLE"),
        ("leaf", None, "omits an intermediate certificate .*DOWNLOAD_CA_BUNDLE"),
        ("expired", "expired", "has expired. The server's operator must renew it"),
        ("early", "early", "not valid yet. Check the clock of this machine"),
    ],
)
def test_a_wrong_certificate_is_final_and_explained(
    make: Make, authority: dict[str, Path], served: str, trusted: str | None, sentence: str
) -> None:
    with HostileServer(good(DATA), tls=serving(authority, served)) as server:
        verify = True if trusted is None else str(authority[f"{trusted}.pem"])
        with pytest.raises(DownloadFailed, match=sentence):
            make(server, verify=verify)(FakeJob(server.url()))
    assert server.requests == []


@pytest.mark.usefixtures("untidy_handshakes")
def test_the_wrong_scheme_for_a_port_is_explained(make: Make) -> None:
    with HostileServer(lambda request, wire: wire.send(b"\x15\3\1\0\2\2\x46")) as server:  # a TLS alert
        with pytest.raises(DownloadFailed, match="speaks TLS on this port. Try https://"):
            make(server)(FakeJob(server.url()))


@pytest.mark.usefixtures("untidy_handshakes")
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak TLS on this port. Try http://"),
        (b"\0" * 100, "it does not speak TLS on this port"),
        (b"\x15\3\1\0\2\2\x28", "no common TLS version or cipher"),
        (b"\x15\3\1\0\2\2\x46", "it does not support TLS 1.2 or newer"),
        (b"\x15\3\1\0\2\2\x70", "it does not serve this host name"),
        (b"", "the server closed the connection"),
    ],
)
def test_a_handshake_that_ends_early_is_explained(make: Make, said: bytes, sentence: str) -> None:
    with HostileServer(lambda request, wire: None) as server:
        server._serve = lambda sock: (sock.recv(10_000), sock.sendall(said), sock.close())  # type: ignore[assignment,func-returns-value,method-assign]
        with pytest.raises(DownloadError, match=rf"^TLS handshake with 127.0.0.1:\d+ failed.*{sentence}") as caught:
            make(server)(FakeJob(server.url().replace("http", "https")))
    assert isinstance(caught.value, DownloadFailed) is bool(said)


@pytest.mark.usefixtures("untidy_handshakes")
def test_a_server_without_a_common_cipher_is_refused_for_good(make: Make, authority: dict[str, Path]) -> None:
    context = serving(authority, "leaf")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    refuse = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert "ECDHE-ECDSA-AES128-SHA" not in [cipher["name"] for cipher in refuse.get_ciphers()]
    with HostileServer(good(DATA), tls=context) as server, pytest.raises(DownloadFailed, match="common TLS version"):
        make(server)(FakeJob(server.url()))


@pytest.mark.usefixtures("untidy_handshakes")
def test_a_client_certificate_is_shown_to_the_server_of_the_url_alone(
    make: Make, folder: Path, authority: dict[str, Path], tmp_path: Path
) -> None:
    cert = tmp_path / "client.pem"
    cert.write_bytes(authority["leaf.pem"].read_bytes() + authority["leaf.key"].read_bytes())
    seen: list[bool] = []

    def script(request: Request, wire: Wire) -> None:
        seen.append(wire.sock.getpeercert(True) is not None)  # type: ignore[attr-defined]
        if request.path == "/away":
            wire.head("302 x", {"Location": other.url(), "Content-Length": 0})
        else:
            send_good(request, wire, DATA)

    context = serving(authority, "leaf")
    context.load_verify_locations(authority["middle.pem"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL
    with HostileServer(script, tls=context) as server, HostileServer(script, tls=context) as other:
        handler = make(allow=["127.0.0.1"], ca_bundle=str(authority["middle.pem"]), client_cert=str(cert))
        assert_file(folder, handler(FakeJob(server.url("/away"))), DATA)
    assert seen == [True, False]


@pytest.mark.usefixtures("untidy_handshakes")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    ("cert", "sentence"),
    [(None, "requires a client certificate"), ("other", "refuses our client certificate. Check DOWNLOAD_CLIENT_CERT")],
)
def test_a_server_that_wants_another_client_certificate_is_final_and_explained(
    make: Make, authority: dict[str, Path], tmp_path: Path, version: str, cert: str | None, sentence: str
) -> None:
    context = serving(authority, "leaf")
    context.load_verify_locations(authority["middle.pem"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion[version]
    options = {"ca_bundle": str(authority["middle.pem"])}
    if cert is not None:
        (tmp_path / "client.pem").write_bytes(authority["other.pem"].read_bytes() + authority["other.key"].read_bytes())
        options["client_cert"] = str(tmp_path / "client.pem")
    with HostileServer(good(DATA), tls=context) as server, pytest.raises(DownloadFailed, match=sentence):
        make(server, **options)(FakeJob(server.url()))


def test_a_bundle_or_a_client_certificate_that_cannot_be_parsed_is_refused_at_once(make: Make, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nonsense")
    for options in ({"ca_bundle": str(wrong)}, {"client_cert": str(wrong)}, {"ca_bundle": "/nonexistent"}):
        with pytest.raises(ValueError, match="certificate|bundle"):
            make(**options)


@pytest.mark.parametrize("reason", ["UNSAFE_LEGACY_RENEGOTIATION_DISABLED", "UNSUPPORTED_PROTOCOL", "DH_KEY_TOO_SMALL"])
def test_outdated_tls_is_final_and_names_the_reason(reason: str) -> None:
    exc = ssl.SSLError(1, f"[SSL: {reason}] x")
    exc.reason = reason
    found = tls_module.explain(exc, "old.example", "old.example")
    assert isinstance(found, DownloadFailed) and reason in str(found)


@pytest.mark.usefixtures("untidy_handshakes")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_server_with_tls_1_0_alone_is_refused_for_good(make: Make, certificate: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    with HostileServer(good(DATA), tls=context) as server, pytest.raises(DownloadFailed, match="TLS"):
        make(server, verify=str(certificate[0]))(FakeJob(server.url()))
