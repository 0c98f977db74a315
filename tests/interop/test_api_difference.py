"""Our server and Node Kue's answer the same requests over equal data: every difference is one that was decided on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.interop.harness import api_requests as table
from tests.interop.harness.api_requests import Request
from tests.interop.harness.servers import Answer, Both
from tests.support.redis_dump import differences

JSON_TYPE = "application/json; charset=utf-8"
#: Times of the run itself count as equal, and so do those that lie a delay of `CREATING` ahead.
NEAR_MS, AHEAD_MS = 600_000, 3_600_000


@pytest.fixture(scope="module")
def servers(_valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Two programs take seconds to start, so the tests here share them."""
    both = Both(_valkey_url, tmp_path_factory.mktemp("servers"))
    yield both
    both.close()


@pytest.fixture
def both(servers: Both, redis_url: str) -> Both:
    """The servers, with nothing in Redis."""
    return servers


def seed(both: Both) -> None:
    now_ms = int(time.time() * 1000)
    for client in both.clients:
        table.seed(client, now_ms)


def without_times(body: Any) -> Any:
    """The body with the times of this run replaced, and the types (a set) sorted."""
    if isinstance(body, dict):
        return {name: without_times(value) for name, value in body.items()}
    if isinstance(body, list):
        same = [without_times(value) for value in body]
        return sorted(same) if all(isinstance(value, str) for value in same) else same
    if isinstance(body, str) and body.isdecimal() and len(body) == 13:
        for ahead in (0, AHEAD_MS):
            if abs(int(body) - ahead - time.time() * 1000) < NEAR_MS:
                return f"<now + {ahead}>"
    return body


def is_error(body: Any) -> bool:
    return isinstance(body, dict) and list(body) == ["error"]


def agree(request: Request, ours: Answer, nodes: Answer) -> bool:
    """Whether the answers are equal, or differ as decided: true status codes, Kue's error body in place of a page."""
    if request.instead:
        return ours.status == request.instead and (is_error(ours.body) or request.method == "HEAD")
    if nodes.status == 200 and is_error(nodes.body):
        said: str = nodes.body["error"]
        in_nodes_words = said.endswith("doesnt exist") or said == "invalid priority"
        return ours.status in (400, 404, 500) and is_error(ours.body) and (ours == nodes._replace(status=ours.status)
                                                                           or not in_nodes_words)  # fmt: skip
    if nodes.status >= 400 and nodes.body == "<html>" and is_error(ours.body):
        return ours.status == nodes.status
    return ours._replace(body=without_times(ours.body)) == nodes._replace(body=without_times(nodes.body))


def compare(both: Both, requests: list[Request], keys_each: int = 0) -> list[str]:
    """Send each request to both; return what differs in the answers, and in Redis after ``keys_each`` requests."""
    found = []
    for number, request in enumerate(requests, start=1):
        ask = (request.method, request.path, request.body, dict(request.headers))
        ours, nodes = both.ours.ask(*ask), both.nodes.ask(*ask)
        if not agree(request, ours, nodes):
            found.append(f"{request}\n  ours {ours}\n  Node {nodes}")
        if keys_each and (number % keys_each == 0 or number == len(requests)):
            found += [f"after {request}: {difference}" for difference in differences(*both.keys())]
    return found


@pytest.mark.long
def test_every_job_that_node_takes_is_taken_alike(both: Both) -> None:
    assert compare(both, table.EMPTY) == []
    for request in table.CREATING:
        both.empty()
        assert compare(both, [request], keys_each=1) == []
        assert compare(both, table.get("/job/1", "/jobs/0..-1", "/stats", "/job/types")) == []


def test_what_would_harm_node_is_refused_and_leaves_nothing(both: Both) -> None:
    for request in table.REFUSED:
        answer = both.ours.ask(request.method, request.path, request.body, dict(request.headers))
        in_place = isinstance(answer.body, list) and all(is_error(each) for each in answer.body)
        assert answer.status == request.instead and (in_place or is_error(answer.body)), str(request)
    assert both.keys() == [{}, {}]


def test_an_array_makes_its_good_elements_and_answers_the_bad_ones_in_their_place(both: Both) -> None:
    # Given 200 elements, of which every fifth is bad for Node too
    bad: list[Any] = [{}, {"data": 1}, {"type": ""}]
    elements = [{"type": "a", "data": {"n": n}} if n % 5 else bad[n % 3] for n in range(200)]
    assert compare(both, [table.post(elements)], keys_each=1) == []

    # When among them are some that only we refuse
    elements[7], elements[8] = None, {"type": "a", "options": {"backoff": "x()"}}
    answer = both.ours.ask("POST", "/job", table.post(elements).body, table.JSON)

    # Then they are answered in their place, and the ids of the others follow one another
    assert answer.status == 400 and len(answer.body) == 200
    assert [is_error(each) for each in answer.body] == [n % 5 == 0 or n in (7, 8) for n in range(200)]
    ids = [each["id"] for each in answer.body if "id" in each]
    assert all(after == before + 1 for before, after in pairwise(ids))


@pytest.mark.long
def test_every_reading_is_answered_alike_and_changes_nothing(both: Both) -> None:
    seed(both)
    assert compare(both, table.INDEXED, keys_each=1) == []
    before = both.keys()[0]
    assert compare(both, table.READING) == []
    assert both.keys()[0] == before


def test_leavings_are_passed_over_alike_and_only_node_clears_them_by_looking(both: Both) -> None:
    # Given entries without a hash, a hash without a type, and data that is not JSON
    seed(both)
    for client in both.clients:
        for key in ("q:jobs", "q:jobs:inactive", "q:jobs:ghost:inactive"):
            client.zadd(key, {"02|77": -99})
        client.hset("q:job:78", mapping={"state": "complete", "progress": 100, "duration": 5})
        client.zadd("q:jobs:complete", {"02|78": -99})
        client.hset("q:job:3", "data", "{broken")
    before = both.keys()[0]
    paths = ["/jobs/0..-1", "/jobs/inactive/0..30", "/jobs/ghost/inactive/0..9", "/jobs/complete/0..30/desc"]
    assert compare(both, table.get(*paths, "/job/78", "/job/77", "/job/77/log")) == []
    # Node fails on data that it cannot read; here it is the text that it is.
    assert is_error(both.nodes.ask("GET", "/job/3").body)
    answer = both.ours.ask("GET", "/job/3")
    assert (answer.status, answer.body["data"]) == (200, "{broken")
    assert both.keys()[0] == before


@pytest.mark.long
def test_every_change_is_answered_alike_and_leaves_the_same_keys(both: Both) -> None:
    seed(both)
    assert compare(both, table.WRITING, keys_each=10) == []


def test_a_body_of_almost_a_megabyte_is_taken(both: Both) -> None:
    body = table.post({"type": "big", "data": {"x": "y" * 1_000_000}}).body
    assert both.ours.ask("POST", "/job", body, table.JSON) == (200, JSON_TYPE, {"message": "job created", "id": 1})
    assert both.nodes.ask("POST", "/job", body, table.JSON).status == 413  # its limit is 100 kB


def test_words_that_are_no_state_are_refused(both: Both) -> None:
    seed(both)
    before = both.keys()[0]
    for request in table.REFUSED_STATES:
        answer = both.ours.ask(request.method, request.path)
        assert (answer.status, is_error(answer.body)) == (400, True), str(request)
    assert both.keys()[0] == before
