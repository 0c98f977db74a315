"""Wrong arguments of DownloadHandler: each is refused at construction, with its name and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kue.app.serving import download_handler
from kue.downloads import DownloadHandler
from kue.settings import Settings, SettingsError

NOT_PEM = str(Path(__file__))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"proxy": "proxy:3128"}, "^proxy: 'proxy:3128' has no scheme; write http://proxy:3128, or https://"),
        ({"proxy": "ftp://proxy"}, "^proxy: a proxy must look like http://host:3128"),
        ({"verify": "/nonexistent"}, "^verify: the file /nonexistent does not exist; pass the path of a PEM file$"),
        ({"verify": NOT_PEM}, r"^verify: .*test_wrong_arguments.py cannot be loaded \(\w+\); it must be a PEM file$"),
        ({"verify": None}, r"^verify must be True, False, or the path of CA certificates \(PEM\), not None$"),
        ({"ca_bundle": "/nonexistent"}, "^ca_bundle: the file /nonexistent does not exist"),
        ({"ca_bundle": NOT_PEM}, "^ca_bundle: .* cannot be loaded"),
        ({"client_cert": NOT_PEM}, "^client_cert: .* cannot be loaded"),
        ({"allow": "10.0.0.0/8"}, "^the allow list is a list of entries, not one string$"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DownloadHandler(tmp_path, **arguments)


def test_a_setting_is_named_as_people_know_it() -> None:
    with pytest.raises(SettingsError, match="^DOWNLOAD_CA_BUNDLE: .* cannot be loaded"):
        download_handler(Settings.load({"DOWNLOAD_CA_BUNDLE": NOT_PEM}))
