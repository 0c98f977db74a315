"""Words, stems, codes and terms of the search index, against what Node Kue's own libraries make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kue.search import Index, code, index_terms, query_codes, ranked, stem, texts_of, union, words
from kue.search.anyscript import index_terms as text_terms
from kue.search.terms import STOP_WORDS

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "reds_vectors.json").read_text("utf-8"))


def test_every_word_has_the_stem_and_the_code_that_node_gives_it() -> None:
    wrong = {}
    for word, expected in VECTORS["words"].items():
        got = None if word in STOP_WORDS else [stem(word), code(stem(word))]
        if got != expected:
            wrong[word] = (expected, got)
    assert wrong == {}


@pytest.mark.parametrize("text", VECTORS["texts"])
def test_a_text_is_cut_and_counted_as_node_does(text: str) -> None:
    expected = VECTORS["texts"][text]
    assert words(text) == expected["words"]
    assert [word for word in words(text) if word not in STOP_WORDS] == expected["kept"]
    terms = index_terms(text)
    assert {kept: count for kept, (_, count) in terms.items()} == expected["counts"]
    assert {kept: sound for kept, (sound, _) in terms.items()} == expected["codes"]


def test_stems_that_look_like_array_indexes_come_first_as_in_javascript() -> None:
    assert list(index_terms("zoo 42 apple 007 10 99999999999")) == ["10", "42", "zoo", "appl", "007", "99999999999"]


def test_a_query_names_each_code_once_and_no_stop_word() -> None:
    assert query_codes("the Welcomes welcome email") == ["WLKM", "EML"]
    assert query_codes("the of 4 -") == []


def test_a_job_is_indexed_under_nodes_keys_and_under_ours() -> None:
    commands = Index("q").add(7, "welcome Thế")
    assert commands[:2] == [("ZADD", "q:search:word:WLKM", 1, 7), ("ZADD", "q:search:object:7", 1, "WLKM")]
    assert [command[1] for command in commands[4:]] == [
        "q:search:text:word:thế", "q:search:text:object:7", "q:search:text:word:the", "q:search:text:object:7",
    ]  # fmt: skip


def test_ascii_words_add_nothing_to_our_index() -> None:
    assert text_terms('{"title":"welcome","n":42}') == {}


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Thế giới", {"thế": 1, "the": 1, "giới": 1, "gioi": 1}),
        ("The\u0302\u0301", {"thế": 1, "the": 1}),  # the marks apart from their letter
        ("Đường ĐƯỜNG", {"đường": 2, "duong": 2}),
        ("Straße", {"strasse": 1}),
        ("日本語", {"日": 1, "本": 1, "語": 1, "日本": 1, "本語": 1}),
        ("ＡＢＣ", {"abc": 1}),
        ("видео", {"видео": 1}),
        ("한국어", {"한국어": 1}),
        ("iPhone用", {"iphone": 1, "用": 1}),
        ("é" * 65, {}),
    ],
)
def test_words_in_any_script_become_terms(text: str, terms: dict[str, int]) -> None:
    assert text_terms(text) == terms


def test_a_query_without_marks_finds_both_kinds_and_one_with_marks_only_its_own() -> None:
    index = Index("q")
    assert index.query("gioi") == [["q:search:word:J", "q:search:text:word:gioi"]]
    assert index.query("giới") == [["q:search:text:word:giới"]]
    assert index.query("日本語") == [["q:search:text:word:日本"], ["q:search:text:word:本語"]]


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert Index("q").query("the gioi") == Index("q").query("gioi")
    assert Index("q").query("the") == [["q:search:text:word:the"]]
    assert Index("q").query(" - ") == []


def test_removing_a_job_empties_what_it_was_found_by() -> None:
    assert Index("q").remove(7, ["WLKM"], []) == [("DEL", "q:search:object:7"), ("ZREM", "q:search:word:WLKM", 7)]
    assert Index("q").remove(7, [], []) == []


def test_the_best_sum_comes_first_and_equal_ones_in_descending_byte_order() -> None:
    assert ranked([{"9": 1, "10": 1, "3": 1}, {"9": 1, "10": 1, "3": 5, "4": 9}]) == ["3", "9", "10"]
    assert ranked([]) == []
    assert union(["a", "b"]) == ("ZUNION", 2, "a", "b", "WITHSCORES")


def test_search_keys_are_paths_into_the_data() -> None:
    data = {"a": {"b": [{"c": "deep"}]}, "a.b": "whole name", "n": 7, "list": ["x"]}
    assert texts_of(data, None, json.dumps) == [json.dumps(data)]
    assert texts_of(data, ["a.b", "a.b[0].c", 'a["b"][0].c', "n", "list", "none", "list[3]"], json.dumps) == [
        "whole name", "deep", "deep", "7", '["x"]',
    ]  # fmt: skip
