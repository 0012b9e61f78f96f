"""Caches of language models, found whatever they are called, and refused by name where they are not."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from recbole_mgr.integration.transformers_models import accepts, cache_argument, cached_tokens, returned_cache

FAMILIES = ["gpt2", "llama", "gpt_neox", "qwen2", "mpt", "bloom", "opt", "gemma"]


def tiny_model(model_type: str) -> nn.Module:
    sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4}
    sizes |= {"intermediate_size": 8, "num_key_value_heads": 2, "ffn_dim": 8, "word_embed_proj_dim": 8}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes)).base_model


class Renamed(nn.Module):
    def forward(self, input_ids, attention_memory=None):
        return input_ids


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_cache_that_a_model_returns_is_the_one_that_it_takes(model_type):
    model = tiny_model(model_type)
    token_ids = torch.tensor([[1, 2, 3]])
    first = returned_cache(model, model(input_ids=token_ids[:, :2], use_cache=True))
    assert first.get_seq_length() == 2
    model(input_ids=token_ids[:, 2:], use_cache=True, **{cache_argument(model): first})
    assert first.get_seq_length() == 3


def test_a_model_without_a_cache_argument_is_refused_by_name():
    with pytest.raises(
        ValueError, match=r"Renamed of transformers \d.* takes no cache by any of the names cache, past"
    ):
        cache_argument(Renamed())


def test_an_output_without_a_cache_is_refused_by_name():
    model = tiny_model("gpt2")
    with pytest.raises(ValueError, match=r"GPT2Model of transformers \d.* returns NoneType in place of a key-value"):
        returned_cache(model, model(input_ids=torch.tensor([[1]]), use_cache=False))


def test_a_cache_is_found_under_any_name():
    cache = DynamicCache()
    cache.update(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4), 0)
    assert cached_tokens((torch.zeros(2),), {"attention_memory": cache, "use_cache": True}) == 5
    assert cached_tokens((cache,), {}) == 5
    assert cached_tokens((), {"past_key_values": None}) == 0


def test_parameters_are_read_from_the_signature():
    assert accepts(tiny_model("gpt2"), "position_ids")
    assert not accepts(tiny_model("bloom"), "position_ids")
