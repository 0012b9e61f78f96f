"""What a token sees, gates, batches that share images, and generation with images."""

import copy

import pytest
import torch
from tiny_language_models import CONFIGS, HIDDEN, LAYERS, NUM_BASE, NUM_NEW, tiny_lm
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from recbole_mgr.integration.transformers_models import cache_argument
from recbole_mgr.unimp.language_model import decoder_layers, read
from recbole_mgr.unimp.new_tokens import extend_vocabulary
from recbole_mgr.unimp.rows import SEES_ALL, SEES_NOTHING
from recbole_mgr.unimp.vision import PerceiverResampler, VisualConditioning, visible_images

FAMILIES = list(CONFIGS)
PATCHES, DIM, NUM_ITEMS = 3, 6, 4
NONE = SEES_NOTHING
# Left-padded rows of 7 tokens with at most two images; item 2 occurs twice.
IMAGES = torch.tensor([[2, 3], [2, 0]])
IMAGE_POSITIONS = torch.tensor([[0, 3], [3, -1]])
SEES = torch.tensor([[0, 0, 0, 1, 1, SEES_ALL, SEES_ALL], [NONE, NONE, NONE, 0, 0, 0, SEES_ALL]])
ATTENTION_MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]])
TOKEN_IDS = torch.tensor([[4, 5, 6, 4, 7, 8, 9], [0, 0, 3, 4, 5, 6, 7]])


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(NUM_ITEMS + 1, PATCHES, DIM, generator=torch.Generator().manual_seed(0))


def conditioned(family: str, *, gates: float = 0.8, every_n: int = 1, heads: int = 2):
    lm = tiny_lm(family)
    conditioning = VisualConditioning(
        lm, every_n=every_n, visual_dim=DIM, latents=2, resampler_layers=1, heads=heads
    ).eval()
    for block in conditioning.blocks:
        nn.init.constant_(block.attention_gate, gates)
        nn.init.constant_(block.feed_forward_gate, gates)
    return lm, conditioning


def showing(conditioning, features, images=IMAGES, image_positions=IMAGE_POSITIONS, sees=SEES):
    return conditioning.showing(features.__getitem__, images=images, image_positions=image_positions, sees=sees)


def generate(lm, conditioning, features, **options):
    """Continue the rows, with the scores of every new token."""
    with showing(conditioning, features):
        return lm.generate(
            input_ids=TOKEN_IDS,
            attention_mask=ATTENTION_MASK,
            pad_token_id=0,
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )


def test_visible_images_token_by_token():
    visible = visible_images(SEES, IMAGES, IMAGE_POSITIONS)
    first, second, both, nothing = [True, False], [False, True], [True, True], [False, False]
    assert visible[0].tolist() == [first, first, first, second, second, both, both]
    assert visible[1].tolist() == [nothing, nothing, nothing, first, first, first, first]


def test_sees_all_means_images_at_or_before_the_token():
    visible = visible_images(torch.full((1, 4), SEES_ALL), torch.tensor([[2, 3]]), torch.tensor([[1, 3]]))
    assert visible[0].tolist() == [[False, False], [True, False], [True, False], [True, True]]


@pytest.mark.parametrize("family", FAMILIES)
def test_closed_gates_leave_the_language_model_exactly_as_it_is(family, features):
    alone = tiny_lm(family)(input_ids=TOKEN_IDS, attention_mask=ATTENTION_MASK).logits
    lm, conditioning = conditioned(family, gates=0.0)
    with showing(conditioning, features):
        assert torch.equal(lm(input_ids=TOKEN_IDS, attention_mask=ATTENTION_MASK).logits, alone)
    assert torch.equal(lm(input_ids=TOKEN_IDS, attention_mask=ATTENTION_MASK).logits, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_is_moved_by_the_images_it_sees_and_by_no_others(family, features):
    """In one layer, before the language model's own attention mixes tokens."""
    lm, conditioning = conditioned(family, every_n=LAYERS)
    entered = []
    decoder_layers(lm)[-1].register_forward_pre_hook(lambda module, args: entered.append(args[0]))

    def states(item: int | None):
        seen = features.clone()
        if item is not None:
            seen[item] *= -1.0
        with torch.no_grad(), showing(conditioning, seen):
            read(lm, TOKEN_IDS, ATTENTION_MASK)
        return entered[-1]

    plain = states(None)
    visible = visible_images(SEES, IMAGES, IMAGE_POSITIONS)
    for item in range(1, NUM_ITEMS + 1):
        moved = (states(item) - plain).abs().amax(-1) > 1e-4
        assert torch.equal(moved, (visible & (item == IMAGES).unsqueeze(1)).any(-1)), item


def test_attention_gives_exactly_0_to_a_token_that_sees_nothing(features):
    _, conditioning = conditioned("gpt2")
    attention = conditioning.blocks[0].attention
    key_value = attention.key_value(torch.randn(2, 4, HIDDEN))
    mask = torch.tensor([[[True] * 4, [False] * 4, [False, True, False, False]]]).expand(2, -1, -1)
    attended = attention(torch.randn(2, 3, HIDDEN), key_value, mask)
    assert (attended[:, 1] == 0).all()
    assert (attended[:, [0, 2]] != 0).all()
    attended.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters() if parameter.grad is not None)


def test_cross_attention_is_torchs_multi_head_attention():
    _, conditioning = conditioned("gpt2")
    attention = conditioning.blocks[0].attention
    other = nn.MultiheadAttention(HIDDEN, 2, bias=False, batch_first=True)
    queries, sources = torch.randn(2, 3, HIDDEN), torch.randn(2, 4, HIDDEN)
    mask = torch.rand(2, 3, 4) > 0.4
    mask[..., 0] = True
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
        other.out_proj.weight.copy_(attention.output.weight)
        normed = attention.norm(queries)
        expected, _ = other(normed, sources, sources, attn_mask=~mask.repeat_interleave(2, dim=0))
        actual = attention(queries, attention.key_value(sources), mask)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_resampler_takes_any_number_of_patches_and_ignores_their_order():
    torch.manual_seed(0)
    resampler = PerceiverResampler(dim=DIM, hidden_size=HIDDEN, latents=2, layers=2, heads=2)
    many = torch.randn(3, 7, DIM)
    assert resampler(many[:, :1]).shape == (3, 2, HIDDEN)
    torch.testing.assert_close(resampler(many), resampler(many.flip(1)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(resampler(many), resampler(many[:, :6]))


def test_each_distinct_image_is_resampled_once(features):
    _, conditioning = conditioned("gpt2")
    resampled = []
    conditioning.resampler.register_forward_pre_hook(lambda module, args: resampled.append(args[0]))
    with showing(conditioning, features):
        pass
    assert len(resampled) == 1
    torch.testing.assert_close(resampled[0], features[[0, 2, 3]])


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_do_not_depend_on_their_batch_nor_on_padding(family, features):
    lm, conditioning = conditioned(family)
    with showing(conditioning, features):
        together = read(lm, TOKEN_IDS, ATTENTION_MASK).hidden
    with showing(conditioning, features, IMAGES[1:, :1], IMAGE_POSITIONS[1:, :1] - 2, SEES[1:, 2:]):
        alone = read(lm, TOKEN_IDS[1:, 2:], ATTENTION_MASK[1:, 2:]).hidden
    torch.testing.assert_close(together[1, 2:], alone[0], rtol=1e-4, atol=1e-5)
    right = {"images": IMAGES[1:], "image_positions": torch.tensor([[1, -1]]), "sees": SEES[1:].roll(-2, 1)}
    with showing(conditioning, features, **right):
        hidden = read(lm, TOKEN_IDS[1:].roll(-2, 1), ATTENTION_MASK[1:].roll(-2, 1)).hidden
    torch.testing.assert_close(hidden[0, :5], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_images_in_a_batch_is_the_same_as_showing_nothing(family, features):
    lm, conditioning = conditioned(family)
    outside = read(lm, TOKEN_IDS, ATTENTION_MASK).hidden
    for width in (0, 1):
        none = torch.zeros(2, width, dtype=torch.long)
        with showing(conditioning, features, none, none - 1, torch.full_like(SEES, SEES_ALL)):
            torch.testing.assert_close(read(lm, TOKEN_IDS, ATTENTION_MASK).hidden, outside)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("last_sees", [SEES_ALL, 0, NONE])
def test_reading_on_from_a_cache_is_reading_at_once(family, last_sees, features):
    """Tokens after the prompt inherit its last token's scope, in chunks of any length."""
    lm, conditioning = conditioned(family)
    sees = SEES.clone()
    sees[:, 3:] = last_sees
    with torch.no_grad(), showing(conditioning, features, sees=sees):
        at_once = read(lm, TOKEN_IDS, ATTENTION_MASK).hidden
    with torch.no_grad(), showing(conditioning, features, sees=sees[:, :4]):
        first = read(lm, TOKEN_IDS[:, :4], ATTENTION_MASK[:, :4], keep_cache=True)
        second = read(lm, TOKEN_IDS[:, 4:6], ATTENTION_MASK[:, :6], cache=first.cache, keep_cache=True)
        third = read(lm, TOKEN_IDS[:, 6:], ATTENTION_MASK, cache=second.cache, keep_cache=True)
    parts = torch.cat([first.hidden, second.hidden, third.hidden], dim=1)
    real = ATTENTION_MASK.bool()
    torch.testing.assert_close(parts[real], at_once[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_showing_anew_in_the_middle_of_a_cache_starts_at_the_first_pass_inside(family, features):
    lm, conditioning = conditioned(family)
    with torch.no_grad(), showing(conditioning, features):
        at_once = read(lm, TOKEN_IDS, ATTENTION_MASK).hidden
    with torch.no_grad(), showing(conditioning, features, sees=SEES[:, :4]):
        first = read(lm, TOKEN_IDS[:, :4], ATTENTION_MASK[:, :4], keep_cache=True)
    before = IMAGE_POSITIONS.clamp(max=0)
    with torch.no_grad(), showing(conditioning, features, image_positions=before, sees=SEES[:, 4:]):
        second = read(lm, TOKEN_IDS[:, 4:], ATTENTION_MASK, cache=first.cache, keep_cache=True)
    torch.testing.assert_close(second.hidden, at_once[:, 4:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_with_images_and_a_cache_equals_generation_without(family, beams, features):
    lm, conditioning = conditioned(family)
    extend_vocabulary(lm, NUM_NEW)
    search = dict(max_new_tokens=6, num_beams=beams, num_return_sequences=beams, do_sample=False)
    cached = generate(lm, conditioning, features, **search)
    uncached = generate(lm, conditioning, features, **search, use_cache=False)
    assert torch.equal(cached.sequences, uncached.sequences)
    for with_cache, without in zip(cached.scores, uncached.scores, strict=True):
        torch.testing.assert_close(with_cache, without, rtol=1e-3, atol=1e-4)
    other_images = generate(lm, conditioning, features.flip(0), **search)
    assert not torch.allclose(cached.scores[-1], other_images.scores[-1], atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_generation_follows_the_logits_of_whole_rows(family, features):
    """Independent of generate: every token comes from a pass over the whole row, with the scopes written out."""
    lm, conditioning = conditioned(family)
    token_ids, mask, sees = TOKEN_IDS, ATTENTION_MASK, SEES
    with torch.no_grad(), showing(conditioning, features):
        generated = lm.generate(input_ids=TOKEN_IDS, attention_mask=mask, max_new_tokens=5, pad_token_id=0)
    for _ in range(5):
        with torch.no_grad(), showing(conditioning, features, sees=sees):
            chosen = lm.get_output_embeddings()(read(lm, token_ids, mask).hidden[:, -1:]).argmax(-1)
        token_ids = torch.cat([token_ids, chosen], dim=1)
        mask = torch.cat([mask, torch.ones_like(chosen)], dim=1)
        sees = torch.cat([sees, sees[:, -1:]], dim=1)
    assert torch.equal(generated, token_ids)


def rename_cache(lm, before, after):
    """As another release of transformers might pass it: the hooks of the conditioning see what ``before`` makes."""
    lm.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: (args, before(kwargs)), with_kwargs=True, prepend=True
    )
    lm.base_model.register_forward_pre_hook(lambda _, args, kwargs: (args, after(kwargs)), with_kwargs=True)


def test_a_renamed_cache_is_found(features):
    plain = generate(*conditioned("gpt2"), features, max_new_tokens=4)
    lm, conditioning = conditioned("gpt2")
    name = cache_argument(lm.base_model)
    rename_cache(
        lm,
        lambda kwargs: {"memory" if key == name else key: value for key, value in kwargs.items()},
        lambda kwargs: {name if key == "memory" else key: value for key, value in kwargs.items()},
    )
    renamed = generate(lm, conditioning, features, max_new_tokens=4)
    assert torch.equal(torch.stack(renamed.scores), torch.stack(plain.scores))


def test_a_hidden_cache_is_refused(features):
    lm, conditioning = conditioned("gpt2")
    name = cache_argument(lm.base_model)
    rename_cache(lm, lambda kwargs: kwargs | {name: [kwargs[name]]}, lambda kwargs: kwargs | {name: kwargs[name][0]})
    with pytest.raises(ValueError, match=r"GPT2Block of transformers .* reads 1 tokens with 0 in its cache after 7"):
        generate(lm, conditioning, features, max_new_tokens=4)


def test_layers_that_get_their_input_in_another_way_are_refused(features):
    lm, conditioning = conditioned("gpt2")
    with showing(conditioning, features), pytest.raises(ValueError, match="GPT2Block .* as its first argument"):
        decoder_layers(lm)[0](hidden_states=torch.zeros(2, 7, HIDDEN))


def test_layers_that_are_passed_over_are_refused(features):
    lm, conditioning = conditioned("gpt2")
    decoder_layers(lm)[2]._forward_pre_hooks.clear()
    with showing(conditioning, features), pytest.raises(ValueError, match="passed 2 of the 3 places where it sees"):
        read(lm, TOKEN_IDS, ATTENTION_MASK)


def test_a_batch_of_another_size_is_refused(features):
    lm, conditioning = conditioned("gpt2")
    with showing(conditioning, features), pytest.raises(ValueError, match="3 rows cannot see the images of 2 users"):
        lm(input_ids=TOKEN_IDS[[0, 0, 1]])


def test_training_reaches_resampler_blocks_and_gates(features):
    lm, conditioning = conditioned("llama", gates=0.1)
    with showing(conditioning, features):
        lm(input_ids=TOKEN_IDS, attention_mask=ATTENTION_MASK).logits.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in conditioning.parameters())
    assert all("lm" not in name for name, _ in conditioning.named_parameters())


def test_a_first_step_opens_closed_gates(features):
    lm, conditioning = conditioned("gpt2", gates=0.0)
    with showing(conditioning, features):
        lm(input_ids=TOKEN_IDS, attention_mask=ATTENTION_MASK).logits.square().sum().backward()
    assert all(block.attention_gate.grad != 0 and block.feed_forward_gate.grad != 0 for block in conditioning.blocks)


def test_a_copied_model_sees_by_its_own_weights(features):
    original = nn.ModuleList(conditioned("gpt2"))
    lm, conditioning = copy.deepcopy(original)
    nn.init.zeros_(original[1].resampler.project[1].weight)
    shown = []
    for vision in (conditioning, original[1]):
        with torch.no_grad(), showing(vision, features):
            shown.append(read(lm, TOKEN_IDS, ATTENTION_MASK).hidden)
    with torch.no_grad():
        blind = read(lm, TOKEN_IDS, ATTENTION_MASK).hidden
    assert not torch.allclose(shown[0], blind)
    assert torch.equal(shown[1], blind)


@pytest.mark.parametrize(("every_n", "blocks"), [(1, 3), (2, 1), (3, 1)])
def test_a_block_stands_before_every_nth_layer(every_n, blocks):
    assert len(conditioned("gpt2", every_n=every_n)[1].blocks) == blocks


@pytest.mark.parametrize("every_n", [0, LAYERS + 1])
def test_an_interval_without_a_layer_is_refused(every_n):
    with pytest.raises(ValueError, match=f"cross_attention_every: {every_n} is not in 1..{LAYERS}"):
        conditioned("gpt2", every_n=every_n)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=f"n_heads: 3 heads do not divide .* {HIDDEN}"):
        conditioned("gpt2", heads=3)


@pytest.mark.parametrize("model_type", ["gpt_neox", "qwen2", "mpt", "bloom"])
def test_other_families_can_see_too(model_type, features):
    sizes = {"vocab_size": NUM_BASE, "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "num_key_value_heads": 2, "max_position_embeddings": 32, "pad_token_id": 0}
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes)).eval()
    conditioning = VisualConditioning(lm, every_n=1, visual_dim=DIM, latents=2, resampler_layers=1, heads=2).eval()
    for block in conditioning.blocks:
        nn.init.ones_(block.attention_gate)
    extend_vocabulary(lm, NUM_NEW)

    def scores(shown, **options):
        search = dict(max_new_tokens=3, num_beams=2, eos_token_id=None)
        return generate(lm, conditioning, shown, **search, **options).scores[-1]

    torch.testing.assert_close(scores(features), scores(features, use_cache=False), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(scores(features), scores(-features), atol=1e-3)


def test_gates_that_were_kept_as_numbers_are_read():
    _, conditioning = conditioned("gpt2", gates=0.1)
    kept = {
        name: torch.tensor(0.7) if name.endswith("_gate") else weight
        for name, weight in conditioning.state_dict().items()
    }
    conditioning.load_state_dict(kept)
    assert all(block.attention_gate.tolist() == pytest.approx([0.7]) for block in conditioning.blocks)
    assert all(block.feed_forward_gate.tolist() == pytest.approx([0.7]) for block in conditioning.blocks)
