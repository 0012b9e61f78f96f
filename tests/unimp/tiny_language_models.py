"""Small random language models of two families, for the tests of UniMP."""

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from recbole_mgr.unimp.language_model import LanguageModelSettings

NUM_BASE, NUM_NEW, HIDDEN, LAYERS = 11, 5, 16, 3
CONFIGS = {
    "gpt2": lambda: GPT2Config(
        vocab_size=NUM_BASE,
        n_positions=32,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    ),
    "llama": lambda: LlamaConfig(
        vocab_size=NUM_BASE,
        hidden_size=HIDDEN,
        intermediate_size=24,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    ),
}


def tiny_lm(family: str, seed: int = 0):
    """In evaluation mode, with weights far enough from 0 that its logits differ; GPT-2 is tied, Llama is not."""
    torch.manual_seed(seed)
    lm = AutoModelForCausalLM.from_config(CONFIGS[family]())
    for parameter in lm.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return lm.eval()


def tiny_lm_settings(**changes) -> LanguageModelSettings:
    """Of a small random language model, trained in full."""
    settings = {
        "language_model": None,
        "lm_training": "full",
        "lora_options": {},
        "max_tokens": 40,
        "hidden_size": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": 2,
        "inner_size": 24,
        "hidden_dropout_prob": 0.1,
        "attn_dropout_prob": 0.1,
    }
    return LanguageModelSettings(**settings | changes)
