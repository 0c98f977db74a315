"""The socket contract, with Socket.IO's test client and a real queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import wait_until

URL = "http://example.com/file.bin"
GOOD = {"type": "download", "url": URL}


class Client:
    """A Socket.IO test client that keeps what it was told."""

    def __init__(self, site: Any) -> None:
        self.io = site.socketio.test_client(site.app, headers={"Host": site.url.removeprefix("http://")})
        assert self.io.is_connected()
        self.received: list[tuple[str, Any]] = []

    def ask(self, name: str, *args: Any) -> Any:
        return self.io.emit(name, *args, callback=True)

    def listen(self) -> list[tuple[str, Any]]:
        self.received += [(each["name"], each["args"][0] if each["args"] else None) for each in self.io.get_received()]
        return self.received

    def named(self, name: str) -> list[Any]:
        return [payload for heard, payload in self.listen() if heard == name]


@pytest.fixture
def connect(site: Any) -> Callable[[], Client]:
    return lambda: Client(site)


def test_start_is_acknowledged_with_the_id_of_a_saved_job(queue: Any, connect: Callable[[], Client]) -> None:
    answer = connect().ask("start", {**GOOD, "title": "A file", "priority": "high", "attempts": 2})
    job = queue.get(answer["id"])
    assert (job.type, job.data) == ("startdownload", {"title": "A file", "url": URL})
    assert (job.options.priority, job.options.attempts, job.state) == (-10, 2, "inactive")


def test_a_unique_start_is_answered_with_the_existing_job(queue: Any, connect: Callable[[], Client]) -> None:
    first, second = connect(), connect()
    ids = [first.ask("start", GOOD)["id"], second.ask("start", {**GOOD, "unique": True})["id"]]
    other = second.ask("start", {**GOOD, "url": GOOD["url"] + "?other", "unique": True})["id"]
    assert ids[0] == ids[1] != other
    assert other == first.ask("start", {**GOOD, "url": GOOD["url"] + "?other", "unique": True})["id"]
    queue.cancel(ids[0])
    assert first.ask("start", {**GOOD, "unique": True})["id"] not in ids


def test_every_client_receives_start_and_complete_of_every_job(queue: Any, connect: Callable[[], Client]) -> None:
    clients = [connect(), connect()]
    queue.process("startdownload", 2, lambda job: job.progress(1, 2, {"a": 1}))
    ids = [clients[0].ask("start", GOOD)["id"] for _ in range(5)]
    for client in clients:
        wait_until(lambda client=client: len(client.named("complete")) == 5)
        for name in ("start", "complete"):
            assert sorted(each["id"] for each in client.named(name)) == ids
            assert all(list(each) == ["id"] for each in client.named(name))
        assert {"id": ids[0], "progress": 50, "data": {"a": 1}} in client.named("progress")
        assert {"id": ids[0], "type": "startdownload"} in client.named("enqueue")


def test_failures_and_removals_are_told_with_their_data(queue: Any, connect: Callable[[], Client]) -> None:
    client = connect()

    def fail(job: Any) -> None:
        raise RuntimeError("it broke")

    queue.process("t", 1, fail)
    job = queue.create("t", attempts=2).save()
    wait_until(lambda: client.named("failed"))
    queue.remove(job.id)
    wait_until(lambda: client.named("remove"))
    assert client.named("failed attempt") == [{"id": job.id, "error": "it broke", "attempts": 1}]
    assert client.named("failed") == [{"id": job.id, "error": "it broke"}]
    assert client.named("remove") == [{"id": job.id, "type": "t"}]
    assert client.named("error") == []


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), "bad_request"),
        (({},), "bad_type"),
        (({"type": "download"},), "bad_url"),
        (({"type": "download", "url": "ftp://x/y"},), "bad_url"),
        (({"type": "download", "url": "http://x/" + "y" * 1_000_000},), "bad_url"),
        (({"type": "download", "url": "http://x/\0y"},), "bad_url"),
        (({"type": "video", "url": URL},), "bad_type"),
        (("start",), "bad_request"),
        ((GOOD, GOOD, GOOD), "bad_request"),
        (({**GOOD, "delay": [[[[{}]]]]},), "bad_option"),
    ],
)
def test_bad_input_is_answered_to_its_sender_alone_and_changes_nothing(
    queue: Any, connect: Callable[[], Client], args: tuple, code: str
) -> None:
    sender, other = connect(), connect()
    # with an acknowledgement: only that
    answer = sender.ask("start", *args)
    assert answer["code"] == code and answer["error"]
    assert sender.listen() == []
    # without: an error event
    sender.io.emit("start", *args)
    assert [each["code"] for each in sender.named("error")] == [code]
    assert other.listen() == []
    assert sum(queue.counts().values()) == 0
    assert sender.ask("start", GOOD)["id"] == 1


def test_an_unknown_event_is_answered_too(connect: Callable[[], Client]) -> None:
    client = connect()
    assert client.ask("stop", 1)["code"] == "unknown_event"
    client.io.emit("stop")
    assert client.named("error")[0]["code"] == "unknown_event"


def test_an_object_that_looks_like_an_acknowledgement_mark_is_just_an_object(connect: Callable[[], Client]) -> None:
    client = connect()
    assert client.ask("start", {"value": True})["code"] == "bad_type"


def test_a_page_that_watches_gets_frames_and_no_single_events(
    queue: Any, site: Any, connect: Callable[[], Client]
) -> None:
    page, plain = connect(), connect()
    mark = site.monitor.relay.mark()
    answer = page.ask("watch", mark)
    assert answer["epoch"] == mark["epoch"] and answer["seq"] == mark["seq"] and answer["rows"] == []
    queue.process("t", 1, lambda job: {"ok": True})
    job = queue.create("t", {"title": "hello"}).save()

    def shown() -> Any:
        rows = [row for frame in page.named("batch") for row in frame.get("rows", ()) if row["id"] == job.id]
        return rows and rows[-1]["state"] == "complete" and rows[-1]

    row = wait_until(shown)
    assert row["title"] == "hello" and row["attempts_made"] == 1
    assert {name for name, _ in page.received} == {"batch"}
    wait_until(lambda: plain.named("complete"))
    assert "batch" not in {name for name, _ in plain.received}


def test_a_page_that_comes_back_gets_what_it_missed(queue: Any, site: Any, connect: Callable[[], Client]) -> None:
    page = connect()
    mark = page.ask("watch")
    assert mark["resync"] is True
    page.io.disconnect()
    job = queue.create("t").save()
    wait_until(lambda: site.monitor.relay.seq > mark["seq"])
    answer = connect().ask("watch", {"epoch": mark["epoch"], "seq": mark["seq"]})
    assert [row["id"] for row in answer["rows"]] == [job.id] and answer["counts"]["inactive"] == 1


def test_a_delayed_job_started_here_shows_at_once_although_no_event_tells_of_it(connect: Callable[[], Client]) -> None:
    page = connect()
    page.ask("watch")
    job_id = page.ask("start", {**GOOD, "delay": 60_000})["id"]
    rows = wait_until(lambda: [row for frame in page.named("batch") for row in frame.get("rows", ())])
    assert (rows[0]["id"], rows[0]["state"]) == (job_id, "delayed") and rows[0]["promote_at"] > 0


def test_clients_are_told_that_the_server_stops(site: Any, connect: Callable[[], Client]) -> None:
    from kue import web

    plain, page = connect(), connect()
    page.ask("watch")
    web.stop(site.app, "going home")
    web.stop(site.app)
    assert plain.named("shutdown") == page.named("shutdown") == [{"reason": "going home"}]


def test_a_host_name_that_is_not_ours_gets_no_socket(site: Any) -> None:
    assert not site.socketio.test_client(site.app, headers={"Host": "attacker.example"}).is_connected()


def test_a_polling_client_may_send_much_at_once_and_other_servers_keep_their_limit(site: Any, queue: Any) -> None:
    from engineio.payload import Payload

    http = site.http()
    path = "/socket.io/?EIO=4&transport=polling"
    path += "&sid=" + json.loads(http.get(path).text[1:])["sid"]
    assert http.post(path, data="40").status_code == 200
    starts = [f'42{n}["start",{{"type":"download","url":"http://x.test/{n}"}}]' for n in range(50)]
    assert http.post(path, data="\x1e".join(starts)).status_code == 200
    assert queue.counts()["inactive"] == 50
    assert Payload.max_decode_packets == 16
