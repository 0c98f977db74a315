"""Words in any script: our index in addition to Node's, which has ASCII words only.

A word with non-ASCII letters is indexed twice: as is ("thế") and without diacritics ("the"), since many people type
without them. Scripts without spaces between words (Chinese, Japanese, Thai …) are indexed by single characters and
pairs of adjacent ones.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import lru_cache

#: Letters without a separable diacritic that are often typed as a plain letter.
_PLAIN = str.maketrans({"đ": "d", "ł": "l", "ø": "o", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})

#: Thai to Myanmar, Khmer, kana, Han: no spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)

#: Longest indexed word, characters: longer ones are data rather than language.
WORD_MAX = 64


#: Text between ASCII punctuation and spaces: a word, or several if there are other letters.
_ROUGHLY_WORDS = re.compile(r"[^\s\x00-/:-@\[-^`{-\x7f]+")

#: Splitting a word takes about 10 µs, and texts repeat words.
_CACHE_SIZE = 20_000


def words(text: str) -> list[str]:
    """Return the words of a text: letters, digits and marks of any script, and underscores."""
    found: list[str] = []
    for rough in _ROUGHLY_WORDS.findall(text):
        if rough.isascii():
            found.append(rough)
        else:
            runs = itertools.groupby(rough, _belongs_to_word)
            found += ["".join(letters) for belongs, letters in runs if belongs]
    return found


def index_terms(text: str) -> dict[str, int]:
    """Return {term: count} for the words of a text that are not plain ASCII."""
    counts: dict[str, int] = {}
    for word in words(text):
        if not word.isascii():
            for term in _known_terms(word) if len(word) <= WORD_MAX else _terms(word):
                counts[term] = counts.get(term, 0) + 1
    return counts


def _terms(word: str) -> tuple[str, ...]:
    terms: list[str] = []
    for part in _parts(word):
        forms = [*part, *_pairs(part)] if _is_unspaced(part) else [part, _without_marks(part)]
        terms += dict.fromkeys(forms)
    return tuple(terms)


_known_terms = lru_cache(_CACHE_SIZE)(_terms)


def query_terms(word: str) -> list[str]:
    """Return the terms that a job must all have to be found by this word.

    A word with diacritics only finds words with them; a word without finds both.
    """
    return [term for part in _parts(word) for term in (_is_unspaced(part) and _pairs(part)) or [part]]


def _belongs_to_word(letter: str) -> bool:
    return letter == "_" or letter.isalnum() or unicodedata.category(letter).startswith("M")


def _parts(word: str) -> list[str]:
    """Return the word in composed lower case, split where a run of unspaced script starts or ends."""
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    cuts = [0, *(at for run in _UNSPACED.finditer(normal) for at in run.span()), len(normal)]
    return [normal[a:b] for a, b in itertools.pairwise(cuts) if 0 < b - a <= WORD_MAX]


def _is_unspaced(part: str) -> bool:
    return _UNSPACED.match(part) is not None


def _pairs(part: str) -> list[str]:
    return [part[i : i + 2] for i in range(len(part) - 1)]


def _without_marks(part: str) -> str:
    apart = unicodedata.normalize("NFKD", part.translate(_PLAIN))
    return unicodedata.normalize("NFKC", "".join(letter for letter in apart if not unicodedata.combining(letter)))
