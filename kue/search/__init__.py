"""Full-text search: Node Kue's index, byte for byte, and one of ours for words in any script. No I/O here."""

from __future__ import annotations

from .index import Command, Index, ranked, texts_of, union
from .terms import code, index_terms, query_codes, stem, words

__all__ = ["Command", "Index", "code", "index_terms", "query_codes", "ranked", "stem", "texts_of", "union", "words"]
