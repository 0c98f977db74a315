"""The cases of ``tests/downloads/peers``, by this program alone: what should arrive arrives, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, InvalidRequest
from tests.downloads.hostile import FakeJob, HostileServer
from tests.downloads.peers import ALL, Case

KINDS = {kind: list(cases) for kind, cases in itertools.groupby(ALL, lambda case: case.kind)}


def got(handler: DownloadHandler, case: Case, number: int) -> bytes | str:
    """Return the file that arrives, or the error that is final or occurs three times."""
    error = ""
    with HostileServer(case.script) as server:
        job = FakeJob(case.url(f"http://127.0.0.1:{server.port}"), number)
        for _ in range(3):
            try:
                return (handler.folder / handler(job)["file"]).read_bytes()
            except (DownloadError, InvalidRequest) as exc:
                error = str(exc)
                if not isinstance(exc, DownloadError) or isinstance(exc, DownloadFailed):
                    break
    return error


@pytest.mark.parametrize("kind", KINDS)
def test_what_should_arrive_arrives_and_nothing_else(
    make: Callable[..., DownloadHandler], folder: Path, kind: str
) -> None:
    handler = make(allow=["127.0.0.1", "localhost", "[::1]"])
    wrong = {}
    for number, case in enumerate(KINDS[kind]):
        found = got(handler, case, number)
        is_right = isinstance(found, str) if case.file is None or case.refused else found in case.files
        if not is_right:
            wrong[case.name] = found if isinstance(found, str) else f"{len(found)} bytes"
    assert wrong == {}
