"""The stemmer of Node Kue's search: Porter's, with two later rules (bli, logi) and the habits of npm ``natural`` 0.2.1.

No Python package agrees with it: those that follow Porter's first paper lack the two rules ("technology", "possibly"),
and all treat words with an unusual ``y`` differently ("pyeval"). If a stem differs by one letter, Node's search does
not find the job, so the rules are implemented here exactly.
"""

from __future__ import annotations

import re

# In this order, each tried on the word as at the start of the step.
_STEP_2 = [
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("abli", "able"),
    ("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"),
    ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"),
    ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"), ("logi", "log"),
]  # fmt: skip
_STEP_3 = [
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
]  # fmt: skip
# The longest suffix that leaves a stem is removed.
_STEP_4 = sorted(
    "al ance ence er ic able ible ant ement ment ent ou ism ate iti ous ive ize".split(), key=len, reverse=True
)

_VOWELS = "aeiou"


def stem(word: str) -> str:
    """Return the lower-case stem of an ASCII word. Words of one or two letters are returned unchanged."""
    if len(word) < 3:
        return word
    word = _plural(word.lower())
    word = _past(word)
    word = _final_y(word)
    word = _replace(word, _STEP_2)
    word = _replace(word, _STEP_3)
    return _final_e(_suffix(word))


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word[-1] == "s" != word[-2] else word


def _past(word: str) -> str:
    """Step 1b: eed, ed, ing."""
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        root = word.removesuffix(suffix)
        if root != word:
            return _restored(root) if "V" in _groups(root) else word
    return word


def _restored(root: str) -> str:
    """Return the root before ed or ing: hop(ping) -> hop, fil(ing) -> file."""
    if root.endswith(("at", "bl", "iz")):
        return root + "e"
    if len(root) > 1 and root[-1] == root[-2] and root[-1] not in _VOWELS + "lsz":
        return root[:-1]
    if _measure(root) == 1 and _letters(root)[-3:] == "CVC" and root[-1] not in "wxy":
        root += "e"
    return root


def _final_y(word: str) -> str:
    return word[:-1] + "i" if word.endswith("y") and "V" in _groups(word)[:-1] else word


def _replace(word: str, rules: list[tuple[str, str]]) -> str:
    """Steps 2 and 3: replace the suffix if the part before it has a measure."""
    replaced = word
    for suffix, replacement in rules:
        if word.endswith(suffix) and _measure(word.removesuffix(suffix)) > 0 and replaced.endswith(suffix):
            replaced = replaced.removesuffix(suffix) + replacement or replaced
    return replaced


def _suffix(word: str) -> str:
    """Step 4: remove the suffix of words that are long enough."""
    for suffix in _STEP_4:
        root = word.removesuffix(suffix)
        if root and root != word:
            if _measure(root) > 1:
                return root
            break
    if word.endswith(("sion", "tion")) and len(word) > 4 and _measure(word[:-3]) > 1:
        return word[:-3]
    return word


def _final_e(word: str) -> str:
    """Step 5: an e at the end, then one of two l."""
    measure = _measure(word.removesuffix("e"))
    start = max(len(word) - 4, 0)
    short = _letters(word)[start : start + 3] == "CVC" and len(word) > 1 and word[-2] not in "wxy"
    if measure > 1 or (measure == 1 and not short):
        word = word.removesuffix("e")
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word


def _groups(word: str) -> str:
    """C for each run of consonants, V for each of vowels; consonants and a y are CV, so that two V may meet."""
    # Only at the start of a run: inside a long one (a number of a thousand digits) each try would scan to its end.
    word = re.sub("(?<![^aeiouy])[^aeiouy]+y", "CV", word)
    word = re.sub("[aeiou]+", "V", word)
    return re.sub("[^V]+", "C", word)


def _letters(word: str) -> str:
    """C for each consonant, V for each vowel; y is a vowel after a consonant."""
    word = re.sub("[^aeiouy]y", "CV", word)
    word = re.sub("[aeiou]", "V", word)
    return re.sub("[^V]", "C", word)


def _measure(word: str) -> float:
    """Return how often a vowel is followed by a consonant (a half where two V meet); -1 for an empty word."""
    if not word:
        return -1
    groups = _groups(word)
    return (len(groups) - groups.startswith("C") - groups.endswith("V")) / 2
