"""Our words, stems, codes and keys against npm reds itself and Node Kue with its search on."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest
import redis

import kue
from kue.search import index_terms
from tests.interop.harness.node import Node
from tests.interop.harness.play import play
from tests.interop.harness.scenarios import UNICODE, Step, create, step, wait
from tests.interop.harness.sides import NodeSide, PythonSide
from tests.support import wait_until
from tests.support.redis_dump import differences, dump

#: Letters and endings that the rules are about, so that random words meet the rules.
LETTERS = "aeiouy" * 3 + "bcdfghklmnprstvwxz" * 2 + "jq0123_ABCSTY"
ENDINGS = """
    ational tional enci anci izer abli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti iviti
    biliti logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ou ism ate iti ous
    ive ize ion s es ies sses ed ing eed e y ly ology ibly ll ss at bl iz cc gh ght tch dge sch wh ck mb ph
""".split()
WORDS = 20_000

#: Inherited by every JavaScript object, so that Node counts it wrongly and its index misses it.
INHERITED = {"constructor", "__proto__", "__definegetter__"}


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as process:
        yield process


def test_random_words_have_the_stems_codes_and_order_that_reds_gives_them(node: Node) -> None:
    chance = random.Random(7)
    texts = [" ".join(random_word(chance) for _ in range(50)) for _ in range(WORDS // 50)]
    expected = node.call("indexTerms", texts)
    for text, terms in zip(texts, expected, strict=True):
        ours = [[stem, code, count] for stem, (code, count) in index_terms(text).items()]
        assert ours == [term for term in terms if term[0] not in INHERITED]


def random_word(chance: random.Random) -> str:
    root = "".join(chance.choice(LETTERS) for _ in range(chance.randint(0, 6)))
    return root + "".join(chance.choice(ENDINGS) for _ in range(chance.randint(0, 2)))


# What a queue of either kind leaves in Redis, and finds.

TITLES = {"title": "account renewal renewals", "to": "tj@learnboost.com", "n": 7, "deep": {"list": ["Welcomes", 1.5]}}
WORK = step("work", "email", [[["return", {"sent": "welcome"}]]])

SEARCHED: dict[str, list[Step]] = {
    "created": [create(TITLES)],
    "created with a search key": [create(TITLES, search_keys=["title"])],
    "created with search keys of all kinds": [create(TITLES, search_keys=["to", "title", "deep.list[0]", "deep", "n"])],
    "created with unicode data": [create(UNICODE), create({"title": "Đường phố\nHà Nội"})],
    "created with data that is no object": [create([1, "welcome"]), create("some text"), create(None), create(7)],
    "delayed": [create(TITLES, delay=60_000)],
    "complete": [create(TITLES), WORK, wait("complete")],
    "complete with remove_on_complete": [create(TITLES, remove_on_complete=True), WORK, wait("remove")],
    "one of two removed": [create(TITLES), create(TITLES), step("remove", 1)],
    "saved again": [create(TITLES), step("save", 1)],
    "priority changed": [create(TITLES), step("set_priority", 1, -10)],
}


@pytest.fixture(scope="module")
def spare_node() -> Iterator[list[Node]]:
    """Processes that were started ahead."""
    spare = [Node()]
    yield spare
    for process in spare:
        process.close()


def next_node(spare: list[Node]) -> Node:
    process = spare.pop()
    spare.append(Node())
    return process


@pytest.mark.parametrize("name", SEARCHED)
def test_a_queue_with_search_leaves_what_nodes_does(
    name: str, spare_node: list[Node], redis_client: redis.Redis, redis_url: str
) -> None:
    ours = play(SEARCHED[name], PythonSide(redis_url, search=True), redis_client, redis_url)
    redis_client.flushall()
    node = NodeSide(redis_url, next_node(spare_node), disableSearch=False)
    left: list[str] = []

    def look() -> None:
        # Node writes its index some time after it has answered.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: differences(ours.keys, dump(redis_client)) == [], timeout=10)
        left.extend(differences(ours.keys, dump(redis_client)))

    play(SEARCHED[name], node, redis_client, redis_url, look)
    assert left == []


def test_each_side_finds_the_jobs_of_the_other(node: Node, redis_url: str) -> None:
    # Given jobs of both
    node.open(redis_url, disableSearch=False)
    queue = kue.create_queue(redis_url, search=True)
    texts = ["welcome email for tj", "Welcomes", "renewal of accounts", "video conversion", "xin chào", "emails"]
    for number, text in enumerate(texts * 2):
        if number % 2:
            node.call("create", "email", {"subject": text})
        else:
            queue.create("email", {"subject": text}).save()
    # When either searches, then both answer alike, best first
    for words in ["welcome", "Email", "the account", "conversions of videos", "email welcome", "subject", "no such"]:
        assert [str(job_id) for job_id in queue.search(words)] == node.call("search", words)
    assert len(queue.search("subject")) == 12
    # And a word with other letters finds Node's job by the ASCII parts, which is all that Node knows of it
    assert queue.search("chào") == [5, 11]
    node.call("create", "email", {"subject": "phố cổ"})
    assert queue.search("Phố") == [13]
    # And a job that either removed is found by neither
    node.call("remove", 1)
    queue.remove(2)
    assert node.call("search", "welcome") == [str(each) for each in queue.search("welcome")]
    assert not {1, 2} & set(queue.search("subject"))
    queue.close()
