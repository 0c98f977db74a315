"""Archives: downloaded files go into one zip file, and missing ones are listed."""

from __future__ import annotations

import hashlib
import os
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.app.archive import work_on_archives
from kue.downloads import ArchiveBuilder, archive
from kue.downloads.files import folder as folder_module
from kue.settings import Settings
from tests.support import wait_until

DATE = "20261128000000"
LIMIT_S = 60.0


class Flow:
    """Downloads that ended, each as told, and the job that archives their files."""

    def __init__(self, queue: kue.Queue, folder: Path) -> None:
        self.queue, self.folder = queue, folder
        self.children: list[kue.Job] = []
        folder.mkdir(exist_ok=True)

    def file(self, name: str, content: bytes, **result: Any) -> str:
        """Add a download that left a file; return the file's name."""
        child = self.queue.create("download", {"file": "", **result})
        self.children.append(child)
        stored = f"{DATE}-{len(self.children)}-{name}"
        child.data["file"] = stored
        (self.folder / stored).write_bytes(content)
        return stored

    def result(self, **result: Any) -> None:
        """Add a download with a result of its own."""
        self.children.append(self.queue.create("download", result))

    def failed(self, error: str) -> None:
        self.children.append(self.queue.create("download", {"error": error}))

    def archive(self, **data: Any) -> kue.Job:
        return self.queue.create("archive", data).after(self.children, on_failure="ignore")

    def run(self, **data: Any) -> dict[str, Any]:
        @self.queue.process("download", 3)
        def download(job: kue.Job) -> dict[str, Any]:
            if "error" in job.data:
                raise kue.UnrecoverableError(job.data["error"])
            return dict(job.data)

        result: dict[str, Any] = self.archive(**data).save().wait(LIMIT_S)
        return result


@pytest.fixture
def flow(queue: kue.Queue, folder: Path) -> Flow:
    queue.process("archive", 1, ArchiveBuilder(folder))
    return Flow(queue, folder)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def rest(folder: Path) -> list[str]:
    """Return what is in the folder besides finished files and the sidecars of finished archives."""
    return [each.name for each in folder.iterdir() if each.suffix in (".part", ".tmp")]


def test_the_files_of_all_downloads_go_into_one_archive(flow: Flow, folder: Path) -> None:
    large = os.urandom(3_000_000)
    flow.file("one.bin", large)
    flow.file("a.txt", b"first")
    flow.file("A.txt", b"second")
    flow.file("naïve 日本.txt", b"")
    result = flow.run(filename="../all of it")
    path = folder / result["file"]
    assert contents(path) == {"one.bin": large, "a.txt": b"first", "A (2).txt": b"second", "naïve 日本.txt": b""}
    assert path.name.endswith("-all of it.zip") and result["files"] == 4 and result["missing"] == []
    assert result["bytes"] == path.stat().st_size
    assert result["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert rest(folder) == []


def test_what_is_missing_is_named_and_the_rest_is_archived(flow: Flow, folder: Path) -> None:
    flow.file("one", b"1")
    flow.failed("answered 404 Not Found\nat line 5")
    (folder / flow.file("two", b"2")).unlink()
    flow.result(file="20261128000000-9-x", host="elsewhere")
    flow.result(file="../outside/secret")
    flow.result(file=".5-0123456789.json")
    flow.result(bytes=7)
    (folder / "link").symlink_to("/etc/passwd")
    flow.result(file="link")
    result = flow.run()
    assert contents(folder / result["file"]) == {"one": b"1"}
    ids = [child.id for child in flow.children]
    assert [(each["job"], each["why"]) for each in result["missing"]] == [
        (ids[1], "failed: answered 404 Not Found"), (ids[2], "its file was deleted"),
        (ids[3], "its file is on elsewhere"), (ids[4], "its file was deleted"), (ids[5], "its file was deleted"),
        (ids[6], "is complete and has no file"), (ids[7], "its file was deleted"),
    ]  # fmt: skip
    assert result["files"] == 1 and result["missing_total"] == 7


def test_removed_downloads_are_counted_as_missing(flow: Flow, folder: Path) -> None:
    flow.file("one", b"1")
    flow.file("two", b"2")
    parent = flow.archive().save()
    flow.queue.remove(flow.children[1].id or 0)
    flow.queue.process("download", lambda job: dict(job.data))
    result = parent.wait(LIMIT_S)
    assert result["files"] == 1 and result["missing"] == [{"job": None, "why": "1 download removed"}]


def test_without_any_file_the_job_fails_at_once(flow: Flow, folder: Path) -> None:
    flow.failed("no")
    with pytest.raises(kue.JobFailed, match="There is nothing to archive: 1 file missing"):
        flow.run()
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_waited_for(flow: Flow, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.file("one", b"1" * 1000)
    flow.queue.process("download", lambda job: dict(job.data))
    monkeypatch.setattr(folder_module.Folder, "free_bytes", lambda self: 500)
    parent = flow.archive().save()
    wait_until(lambda: "Waiting for disk space: 500 bytes free" in str(flow.queue.log(parent.id or 0)), LIMIT_S)
    wait_until(lambda: parent.refresh().state == "delayed", LIMIT_S)
    assert parent.attempts_made == 0 and rest(folder) == []
    monkeypatch.undo()
    flow.queue.promote(parent.id or 0)
    assert parent.wait(LIMIT_S)["files"] == 1


def test_an_archive_whose_acknowledgement_was_lost_is_found_again(flow: Flow, folder: Path) -> None:
    flow.file("one", b"1")
    first = flow.run()
    parent = flow.queue.get(flow.queue.ids("complete", "archive")[0])
    flow.queue.set_state(parent.id or 0, "inactive")
    assert parent.refresh().wait(LIMIT_S) == first
    assert len(list(folder.glob("*.zip"))) == 1


def test_an_attempt_that_is_stopped_leaves_nothing(
    flow: Flow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.file("one", b"1" * 2_000_000)
    original = archive._add

    def cancel_first(*args: Any) -> None:
        original(*args)
        parent = flow.queue.active()[0]
        flow.queue.cancel(parent)
        give_up = time.monotonic() + LIMIT_S
        while time.monotonic() < give_up:
            args[-1]._due = 0
            args[-1].tick()  # raises, once the worker knows

    monkeypatch.setattr(archive, "_add", cancel_first)
    with pytest.raises(kue.JobFailed, match="Cancelled"):
        flow.run()
    flow.queue.shutdown(5)  # it does not wait for the handler of a job that was cancelled
    wait_until(lambda: [each.name for each in folder.iterdir()] == [flow.children[0].data["file"]], LIMIT_S)


def test_memory_is_bounded_whatever_the_size(flow: Flow, folder: Path) -> None:
    for number in range(3):
        flow.file(f"{number}", b"")
        with (folder / flow.children[-1].data["file"]).open("wb") as file:
            file.truncate(20_000_000)
    tracemalloc.start()
    try:
        assert flow.run()["files"] == 3
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_in_a_child_process_the_worker_reads_the_children(
    queue: kue.Queue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOWNLOAD_DIR", "DOWNLOAD_MIN_FREE"):
        monkeypatch.setenv(name, "1")  # put back afterwards
    work_on_archives(Settings.load({"DOWNLOAD_DIR": str(folder), "DOWNLOAD_MIN_FREE": ""}), queue)
    flow = Flow(queue, folder)
    for number in range(510):  # more than a page
        flow.file("x", b"%d" % number)
    result = flow.run()
    assert result["files"] == 510
    found = contents(folder / result["file"])
    assert found["x"] == b"0" and found["x (510)"] == b"509"
    assert rest(folder) == []
