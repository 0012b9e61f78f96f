"""New tokens: joined with the base rows, trainable whatever the language model is, and generated."""

import numpy as np
import pytest
import torch
from tiny_language_models import CONFIGS, HIDDEN, NUM_BASE, NUM_NEW, tiny_lm, tiny_lm_settings
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from recbole_mgr.unimp.language_model import apply_training
from recbole_mgr.unimp.new_tokens import extend_vocabulary

FAMILIES = list(CONFIGS)
NUM_TOKENS = NUM_BASE + NUM_NEW
TOKEN_IDS = torch.tensor([[1, NUM_BASE, 4, NUM_TOKENS - 1, 10], [NUM_BASE + 1, 2, 3, 0, NUM_BASE + 2]])


def extended(family: str, lm_training: str = "full"):
    lm = tiny_lm(family)
    apply_training(lm, tiny_lm_settings(language_model=family, lm_training=lm_training))
    extend_vocabulary(lm, NUM_NEW)
    return lm


@pytest.mark.parametrize("family", FAMILIES)
def test_base_tokens_are_read_and_scored_as_before(family):
    token_ids = torch.tensor([[1, 4, 10, 0]])
    before = tiny_lm(family)(input_ids=token_ids).logits
    after = extended(family)(input_ids=token_ids).logits
    assert after.shape[-1] == NUM_TOKENS
    torch.testing.assert_close(after[..., :NUM_BASE], before, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_tokens_read_and_score_with_their_own_rows(family):
    lm = extended(family)
    embedding, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    torch.testing.assert_close(embedding(TOKEN_IDS)[0, 1], embedding.new[0])
    torch.testing.assert_close(embedding(TOKEN_IDS)[0, 3], embedding.new[-1])
    hidden = torch.randn(2, HIDDEN)
    torch.testing.assert_close(head(hidden)[:, NUM_BASE:], hidden @ head.new.T)


@pytest.mark.parametrize("bias", [False, True])
def test_logits_of_a_subset_are_those_of_the_whole(bias):
    lm = tiny_lm("llama")
    if bias:
        lm.lm_head = nn.Linear(HIDDEN, NUM_BASE)
    extend_vocabulary(lm, NUM_NEW)
    head, hidden = lm.get_output_embeddings(), torch.randn(2, 3, HIDDEN)
    everything = head(hidden)
    chosen = torch.tensor([NUM_BASE + 3, 0, NUM_BASE - 1, NUM_BASE, 0])
    torch.testing.assert_close(head.logits(hidden, chosen), everything[..., chosen])
    new = slice(NUM_BASE + 1, NUM_BASE + 4)
    torch.testing.assert_close(head.logits(hidden, new), everything[..., new])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lm_training", ["frozen", "lora", "full"])
def test_training_changes_every_new_row_and_the_base_only_where_it_should(family, lm_training):
    lm = extended(family, lm_training)
    before = {name: parameter.detach().clone() for name, parameter in lm.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in lm.parameters() if p.requires_grad], lr=0.01, weight_decay=0.0)
    lm.train()
    token_ids = torch.arange(NUM_TOKENS).roll(3).unsqueeze(0)  # every token is read once and predicted once
    for _ in range(3):
        optimizer.zero_grad()
        logits = lm(input_ids=token_ids).logits
        nn.functional.cross_entropy(logits[0], token_ids[0].roll(-1)).backward()
        optimizer.step()
    changed = {name: (parameter - before[name]).abs().amax(-1) > 0 for name, parameter in lm.named_parameters()}
    new_rows = [name for name in changed if name.endswith(".new")]
    assert len(new_rows) == 2
    assert all(changed[name].all() for name in new_rows)
    lora = [name for name in changed if "lora_" in name]
    assert bool(lora) == (lm_training == "lora")
    assert all(changed[name].any() for name in lora)
    base = [name for name in changed if name not in new_rows + lora]
    assert base
    assert all(bool(changed[name].any()) == (lm_training == "full") for name in base)


def test_tied_base_rows_stay_one_tensor():
    lm = extended("gpt2")
    assert lm.get_output_embeddings().base.weight is lm.get_input_embeddings().base.weight
    lm.tie_weights()
    assert lm.get_output_embeddings()(torch.zeros(1, HIDDEN)).shape == (1, NUM_TOKENS)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_load_into_a_model_made_the_same_way(family):
    trained, fresh = extended(family), extended(family)
    with torch.no_grad():
        trained.get_output_embeddings().new.add_(1.0)
        trained.get_input_embeddings().new.mul_(2.0)
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh(input_ids=TOKEN_IDS).logits, trained(input_ids=TOKEN_IDS).logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_generate_writes_new_tokens(family, beams):
    lm = extended(family)
    with torch.no_grad():
        lm.get_output_embeddings().new.mul_(5.0)
    written = lm.generate(
        input_ids=TOKEN_IDS,
        attention_mask=torch.ones_like(TOKEN_IDS),
        max_new_tokens=4,
        num_beams=beams,
        pad_token_id=0,
    )
    assert written.shape == (2, 9)
    assert (written[:, 5:] >= NUM_BASE).any()


def test_new_rows_look_like_ordinary_ones():
    lm = tiny_lm("llama")
    with torch.no_grad():
        lm.model.embed_tokens.weight.mul_(0.1).add_(torch.linspace(-3, 3, HIDDEN))
    torch.manual_seed(1)
    extend_vocabulary(lm, 500)
    new, base = lm.get_input_embeddings().new, lm.model.embed_tokens.base.weight
    torch.testing.assert_close(new.mean(0), base.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(new.std(0), base.std(0), rtol=0.2, atol=0)
    assert len(new.unique(dim=0)) == 500


def test_a_token_with_a_meaning_starts_near_the_words_that_say_it():
    lm = tiny_lm("llama")
    extend_vocabulary(lm, 3, [np.array([2, 5]), np.array([], dtype=np.int64), np.array([7])])
    for rows in (lm.get_input_embeddings(), lm.get_output_embeddings()):
        base, new = rows.base.weight.detach(), rows.new.detach()
        spread = base.std(0)
        distance = [
            float(((new[token] - meant) / spread).square().mean().sqrt())
            for token, meant in enumerate((base[[2, 5]].mean(0), base.mean(0), base[7]))
        ]
        assert distance[0] == pytest.approx(0.1, abs=0.06)
        assert distance[1] == pytest.approx(1, abs=0.6)  # as any word
        assert distance[2] == pytest.approx(0.1, abs=0.06)


def test_a_model_that_changes_its_logits_afterwards_is_refused():
    config = Gemma2Config(
        vocab_size=NUM_BASE,
        hidden_size=HIDDEN,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=1.0,
    )
    with pytest.raises(ValueError, match="Gemma2ForCausalLM changes the logits"):
        extend_vocabulary(Gemma2ForCausalLM(config), NUM_NEW)
