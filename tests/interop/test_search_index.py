"""Our words, stems and codes against npm reds itself, on words that nobody has looked at before."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from kue.search import index_terms
from tests.interop.node import Node

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
