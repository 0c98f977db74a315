"""Words, stems, codes and terms of the search index, compared with Node Kue's own libraries."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kue.search import code, found_by, index_terms, node_query, query, query_codes, stem, texts_of, words
from kue.search.anyscript import index_terms as text_terms
from kue.search.terms import STOP_WORDS
from kue.storage import codec

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
    sounds, others = json.loads(found_by("welcome Thế", None, codec.to_json))
    assert sounds == ["WLKM", 1, "0", 1]
    assert others == ["thế", 1, "the", 1]


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
    assert query("gioi") == [["search:word:J", "search:text:word:gioi"]]
    assert query("giới") == [["search:text:word:giới"]]
    assert query("日本語") == [["search:text:word:日本"], ["search:text:word:本語"]]


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert query("the gioi") == query("gioi")
    assert query("the") == [["search:text:word:the"]]
    assert query(" - ") == []


def test_nodes_query_knows_the_ascii_parts_of_words_only() -> None:
    assert node_query("Xin chào") == [["search:word:SN"], ["search:word:SH"]]


def test_the_first_word_of_a_line_is_found_although_node_runs_the_escape_into_it() -> None:
    sounds, others = json.loads(found_by("one\ntwo\tthế\nthree", None, codec.to_json))
    assert sounds == ["ON", 1, "NTW", 1, "0", 1, "N0R", 1]
    assert others == ["two", 1, "three", 1, "thế", 1, "the", 1]


def test_an_empty_field_does_not_hide_the_next() -> None:
    sounds, _ = json.loads(found_by({"a": "", "b": "welcome"}, ["a", "b"], codec.to_json))
    assert sounds == ["WLKM", 1]


def test_data_that_is_no_language_is_indexed_in_bounded_time() -> None:
    # Given what made the stemmer look at each sign of a word once for each other
    texts = ["1" * 900_000, "b" * 500_000 + "ational", "s" * 500_000, "é" * 500_000, "日本" * 300_000, "\n" * 500_000]
    # When they are indexed, then it ends within seconds rather than hours, as a limit that only a fault can reach
    started = time.monotonic()
    for text in texts:
        found_by({"text": text}, None, codec.to_json)
        query(text)
    found_by({"text": "a1 b2 " * 100_000}, ["text"] * 1000, codec.to_json)
    assert time.monotonic() - started < 60


def test_two_search_keys_with_one_word_count_the_later_as_node_does() -> None:
    sounds, _ = json.loads(found_by({"a": "welcome welcome", "b": "Welcomes"}, ["a", "b"], codec.to_json))
    assert sounds == ["WLKM", 1]


def test_search_keys_are_paths_into_the_data() -> None:
    data = {"a": {"b": [{"c": "deep"}]}, "a.b": "whole name", "n": 7, "list": ["x"]}
    assert list(texts_of(data, None, json.dumps)) == [(json.dumps(data), True)]
    assert list(texts_of(data, ["a.b", "a.b[0].c", 'a["b"][0].c', "n", "list", "none", "list[3]"], json.dumps)) == [
        ("whole name", False), ("deep", False), ("deep", False), ("7", True), ('["x"]', True),
    ]  # fmt: skip
