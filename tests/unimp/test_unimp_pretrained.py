"""UniMP beside a pretrained language model: how it starts, and what its checkpoints hold."""

import contextlib

import pytest
import torch
from safetensors.torch import load_model, save_model
from tiny_language_models import CONFIGS
from transformers import AutoModelForCausalLM

from recbole_mgr.unimp.token_meanings import meanings_of_new_tokens
from recbole_mgr.unimp.tokenizer import train_tokenizer

MAX_TOKENS = 160


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a small Llama with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("pretrained")
    tokenizer = train_tokenizer(["red soap", "blue balm"], vocabulary_size=300)
    config = CONFIGS["llama"]()
    config.vocab_size, config.max_position_embeddings = len(tokenizer), MAX_TOKENS
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained_a_little(world, seed: int):
    model = world.new_model(seed).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for epoch in range(2):
        optimizer.zero_grad()
        model.loss(world.batch(epoch=epoch)).backward()
        optimizer.step()
    return model.eval()


def test_gates_start_closed_beside_a_pretrained_language_model_alone(make_world, world, pretrained):
    def gates(model) -> set[float]:
        return {
            gate.item()
            for block in model.backbone.vision.blocks
            for gate in (block.attention_gate, block.feed_forward_gate)
        }

    assert list(gates(world.model)) == [pytest.approx(0.3)]
    assert gates(make_world(gate_start=0.25).model) == {0.25}
    settings = {"language_model": str(pretrained), "max_tokens": MAX_TOKENS}
    settings["hidden_size"] = 17  # which no heads divide, and which means nothing to this language model
    assert gates(make_world(**settings).model) == {0.0}


def test_a_pretrained_language_model_starts_as_it_was(make_world, pretrained):
    """A plain text, and the same beside pictures, has the logits that the language model gives it alone."""
    world = make_world(language_model=str(pretrained), lm_training="lora", max_tokens=MAX_TOKENS)
    alone = AutoModelForCausalLM.from_pretrained(pretrained)
    model, batch = world.model, world.batch("recommendation")
    plain = batch.token_ids.clamp(max=model.personal.vocabulary.base_size - 1)
    asked = {"input_ids": plain, "attention_mask": batch.attention_mask}
    expected = alone(**asked).logits
    assert batch.images.any()
    for showing in (contextlib.nullcontext(), model.backbone.showing(batch)):
        with showing:
            logits = model.backbone.lm(**asked).logits
        torch.testing.assert_close(logits[..., : expected.shape[-1]], expected)


def test_new_tokens_start_with_a_meaning_beside_a_pretrained_language_model_alone(make_world, pretrained):
    for weights in ("pretrained", "random"):
        model = make_world(language_model=str(pretrained), lm_weights=weights, max_tokens=MAX_TOKENS).model
        rows, meanings = model.backbone.lm.get_input_embeddings(), meanings_of_new_tokens(model.personal)
        meant = torch.stack([rows.base.weight[token_ids].mean(0) for token_ids in meanings[:6]])  # marks and ratings
        near = (rows.new[:6] - meant).norm(dim=1) < 0.5 * rows.base.weight.std(0).norm()
        assert near.tolist() == [weights == "pretrained"] * 6


@pytest.mark.parametrize("lm_training", ["frozen", "lora", "full"])
def test_checkpoints_hold_what_was_trained_and_fit_their_language_model_alone(
    make_world, pretrained, tmp_path, lm_training
):
    settings = {
        "tasks": "rec,preference",
        "language_model": str(pretrained),
        "lm_training": lm_training,
        "max_tokens": MAX_TOKENS,
        "inner_size": 24,
    }
    world = make_world(**settings)
    model, twin, third = trained_a_little(world, seed=2), world.new_model(seed=3), world.new_model(seed=4)
    held = set(model.state_dict())
    base = {name for name, _ in model.named_parameters() if ".mlp." in name and "lora" not in name}
    assert base and held.isdisjoint(base) == (lm_training != "full")
    assert {name for name, p in model.named_parameters() if p.requires_grad} <= held

    twin.load_state_dict(model.state_dict())
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(third, str(tmp_path / "model.safetensors"))
    expected = model.full_sort_predict(world.users)
    assert torch.equal(twin.full_sort_predict(world.users), expected)
    assert torch.equal(third.full_sort_predict(world.users), expected)

    other = tmp_path / "other"
    lm = AutoModelForCausalLM.from_pretrained(pretrained)
    torch.nn.init.normal_(lm.base_model.layers[0].mlp.up_proj.weight)
    lm.save_pretrained(other)
    train_tokenizer(["red soap", "blue balm"], vocabulary_size=300).save_pretrained(other)
    stranger = make_world(**{**settings, "language_model": str(other)}).model
    if lm_training == "full":  # nothing of the base is left
        stranger.load_state_dict(model.state_dict())
    else:
        with pytest.raises(ValueError, match="trained beside another language model"):
            stranger.load_state_dict(model.state_dict())
