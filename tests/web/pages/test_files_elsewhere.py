"""Where a file is when several machines download, each into its own folder."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

HTML = {"Accept": "text/html"}


def test_a_file_of_another_machine_is_not_called_deleted(make_site: Callable[..., Any], queue: Any) -> None:
    # Given a download that another machine has finished, and one of this machine whose file is gone
    hosts = iter(("anna", socket.gethostname()))
    names = {1: "20260101120000-1-x.bin", 2: "20260101120000-2-x.bin"}
    queue.process("startdownload", lambda job: {"file": names[job.id], "bytes": 5, "host": next(hosts)})
    for _ in names:
        queue.create("startdownload", {"title": "x", "url": "http://x/y"}).save().wait(10)
    http = make_site().http()

    # Then the page says where the one is, by its name and by its job, and that the other is gone
    for path in ("/files/1", f"/files/{names[1]}"):
        answer = http.get(path, headers=HTML)
        assert answer.status_code == 404
        assert "The file of job 1 is on anna, which downloaded it, not on this machine" in answer.text
    assert "The file of job 2 was deleted" in http.get(f"/files/{names[2]}", headers=HTML).text
    assert "anna" in http.get("/job/1", headers=HTML).text or "anna" in http.get("/job/1").text


def test_a_name_that_only_bears_a_jobs_number_gets_nothing_of_that_job(
    make_site: Callable[..., Any], queue: Any, tmp_path: Path
) -> None:
    # Given a finished file
    site = make_site()
    folder = Path(site.settings.download_dir)
    folder.mkdir(exist_ok=True)
    name = "20260101120000-1-x.bin"
    (folder / name).write_bytes(b"hello")
    queue.process("startdownload", lambda job: {"file": name, "bytes": 5})
    queue.create("startdownload", {"title": "x", "url": "http://x/y"}).save().wait(10)

    # When somebody asks for, or deletes, another name with its number
    http = site.http()
    assert http.get("/files/20260101120000-1-y.bin").status_code == 404
    assert http.delete("/files/20260101120000-1-y.bin").status_code == 404

    # Then the file is left alone
    assert http.get(f"/files/{name}").data == b"hello"


def test_the_result_of_a_download_names_its_machine(tmp_path: Path, make_site: Callable[..., Any], queue: Any) -> None:
    from kue.downloads import DownloadHandler

    site = make_site(listen=True)
    address = site.url.removeprefix("http://")
    queue.process("startdownload", 1, DownloadHandler(tmp_path / "own", allow=[address], min_free=0))
    job = queue.create("startdownload", {"title": "x", "url": f"{site.url}/static/css/monitor.css"}).save()
    assert job.wait(20)["host"] == socket.gethostname()
