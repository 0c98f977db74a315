"""Full-text search: Node Kue's index, byte for byte, and our own for words in any script. No I/O here."""

from __future__ import annotations

from .index import Group, found_by, node_query, query, texts_of
from .terms import code, index_terms, query_codes, stem, words

__all__ = [
    "Group", "code", "found_by", "index_terms", "node_query", "query", "query_codes", "stem", "texts_of", "words",
]  # fmt: skip
