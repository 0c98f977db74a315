"""The built-in file and the classic client script, through Flask's test client."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from kue.web.assembly import folder
from kue.web.live.client_script import classic
from kue.web.pages import sample_file as sample_module
from kue.web.pages.sample_file import ETAG, PATH, SIZE_BYTES, sample, sample_bytes


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    monkeypatch.setattr(sample_module, "RATE", 1e12)
    app = Flask(__name__)
    app.register_blueprint(sample)
    return app.test_client()


def test_the_bytes_are_always_the_same_wherever_one_begins() -> None:
    whole = b"".join(sample_bytes(0, SIZE_BYTES))
    assert len(whole) == SIZE_BYTES
    assert b"".join(sample_bytes(65_530, 131_100)) == whole[65_530:131_100]
    assert hashlib.sha256(whole).digest() == hashlib.sha256(b"".join(sample_bytes(0, SIZE_BYTES))).digest()


def test_the_whole_file_has_length_validator_and_ranges(client) -> None:  # noqa: ANN001
    response = client.get(PATH)
    assert response.status_code == 200 and len(response.data) == SIZE_BYTES
    assert response.headers["ETag"] == ETAG and response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=100-199", 100, 200),
        (f"bytes={SIZE_BYTES - 5}-", SIZE_BYTES - 5, SIZE_BYTES),
        ("bytes=-7", SIZE_BYTES - 7, SIZE_BYTES),
        (f"bytes=10-{SIZE_BYTES * 2}", 10, SIZE_BYTES),
    ],
)
def test_a_range_is_sent_as_asked(client, header: str, start: int, end: int) -> None:  # noqa: ANN001
    response = client.get(PATH, headers={"Range": header, "If-Range": ETAG})
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE_BYTES}"
    assert response.data == b"".join(sample_bytes(start, end))


@pytest.mark.parametrize("header", ["bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=x-y"])
def test_a_range_we_do_not_know_gets_the_whole(client, header: str) -> None:  # noqa: ANN001
    assert client.head(PATH, headers={"Range": header}).status_code == 200


def test_a_range_beyond_the_end_or_of_another_version(client) -> None:  # noqa: ANN001
    response = client.get(PATH, headers={"Range": f"bytes={SIZE_BYTES}-"})
    assert response.status_code == 416 and response.headers["Content-Range"] == f"bytes */{SIZE_BYTES}"
    assert client.head(PATH, headers={"Range": "bytes=0-1", "If-Range": '"older"'}).status_code == 200
    assert client.get(PATH, headers={"If-None-Match": ETAG}).status_code == 304


def test_the_classic_script_is_the_modules_with_one_global(tmp_path: Path) -> None:
    script = classic(Path(folder("static"), "js/live"), "socket.js")
    assert "\nexport " not in script and "\nimport " not in script and script.count("class Emitter") == 1
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    check = script + "\nif (typeof io !== 'function' || typeof io.connect !== 'function') process.exit(3);"
    subprocess.run([node, "-e", check], check=True, timeout=30)
    for source in ('import a from "./b.js";\n', "export default 1;\n", 'export { a } from "./b.js";\n'):
        (tmp_path / "odd.js").write_text(source)
        with pytest.raises(ValueError, match="^odd.js: import as"):
            classic(tmp_path, "odd.js")


def test_workers_elsewhere_fetch_it_from_where_they_reach_the_page(make_site: Callable[..., Any]) -> None:
    site = make_site(KUE_INTERNAL_URL="HTTP://web/")
    assert f'"http://web:80{PATH}"' in site.http().get("/").text
    assert site.http().get(PATH, headers={"Host": "web", "Range": "bytes=0-0"}).status_code == 206
    assert "web:80" in site.settings.all_download_allow
