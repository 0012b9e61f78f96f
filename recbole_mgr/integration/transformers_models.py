"""What we read of transformers' language models beyond their stable interface, found by signature or by type.

A keyword that another release renames must not pass in silence: transformers 5.24 renamed ``past_key_values`` to
``cache`` (the old name goes in 5.40). So no other module names the argument; what is not found is refused.
"""

import copy
import functools
import inspect
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from torch import nn
from transformers import Cache
from transformers.utils import ModelOutput

CACHE_NAMES = ("cache", "past_key_values")  # newest first


def accepts(model: nn.Module, name: str) -> bool:
    """Whether the forward pass of a model has a parameter of this name."""
    return name in _parameters(type(model))


def cache_argument(model: nn.Module) -> str:
    """The name by which the forward pass of a model takes its key-value cache, and its output returns it.

    Raises:
        ValueError: If it has none of the names that we know.
    """
    for name in CACHE_NAMES:
        if accepts(model, name):
            return name
    raise unexpected(model, f"takes no cache by any of the names {', '.join(CACHE_NAMES)}")


def returned_cache(model: nn.Module, output: ModelOutput) -> Cache:
    """The key-value cache in the output of a model that was asked for it.

    Raises:
        ValueError: If there is none.
    """
    cache = getattr(output, cache_argument(model), None)
    if not isinstance(cache, Cache):
        raise unexpected(model, f"returns {type(cache).__name__} in place of a key-value cache")
    return cache


def cached_tokens(args: Iterable[Any], kwargs: Mapping[str, Any]) -> int:
    """How many tokens the cache among the arguments of a forward pass holds, whatever its name; 0 without a cache."""
    return sum(int(value.get_seq_length()) for value in (*args, *kwargs.values()) if isinstance(value, Cache))


def branch_of_cache(cache: Cache) -> Cache:
    """A cache that holds the same tokens, to be read on from beside the given one: keys and values are shared, and
    each appends its own."""
    branch = copy.copy(cache)
    branch.layers = [copy.copy(layer) for layer in cache.layers]
    return branch


def unexpected(model: nn.Module, what: str) -> ValueError:
    """The error for a model of transformers that behaves as no version that we know."""
    return ValueError(
        f"{type(model).__name__} of transformers {metadata.version('transformers')} {what}; "
        "install a version of transformers that recbole_mgr was tested with"
    )


@functools.cache
def _parameters(model_class: type[nn.Module]) -> frozenset[str]:
    return frozenset(inspect.signature(model_class.forward).parameters)
