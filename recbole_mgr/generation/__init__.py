"""Legal code sequences and the search over them: knows no model, no item features, no RecBole."""

from recbole_mgr.generation.beam_search import RankedList, Step, beam_search, exhaustive_scores
from recbole_mgr.generation.trie import AllowedItems, Children, CodeSoftmax, PrefixTrie

__all__ = [
    "Children",
    "CodeSoftmax",
    "AllowedItems",
    "PrefixTrie",
    "RankedList",
    "Step",
    "beam_search",
    "exhaustive_scores",
]
