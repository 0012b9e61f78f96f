"""Legal code sequences and the search over them: knows no model, no item features, no RecBole."""

from recbole_mgr.generation.beam_search import RankedList, Step, beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.generation.trie import AllowedItems, PrefixTrie
from recbole_mgr.generation.trie_levels import Children, CodeSoftmax

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
