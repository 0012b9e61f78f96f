"""T5Backbone against transformers' own forward pass, brute force over a catalogue of six items, and itself."""

import numpy as np
import pytest
import torch
from tiny_t5 import (
    HISTORY,
    LENGTHS,
    TARGETS,
    TEXT,
    TRANSITION,
    WORLDS,
    brute_force_log_probs,
    build,
    step_of,
    transformers_logits,
    transformers_t5,
    transformers_t5_of,
)

from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.model.backbone.packed_t5 import PackedT5, Sizes


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("world", WORLDS)
def test_loss_and_gradients_are_those_of_transformers(world, code_softmax):
    backbone = build(world, code_softmax)
    model = transformers_t5(backbone)
    loss = backbone.loss(HISTORY, LENGTHS, TARGETS, None)
    expected = -brute_force_log_probs(backbone, HISTORY, LENGTHS, TARGETS, model).mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.backward()
    theirs = dict(model.named_parameters())
    assert set(theirs) == {name for name, _ in backbone.t5.named_parameters()}
    for name, parameter in backbone.t5.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-5, rtol=1e-4)
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("length", [1, 9, 40, 300])
def test_the_bias_by_distance_is_that_of_transformers(length):
    backbone = build("one modality")
    model = transformers_t5(backbone)
    token_ids = torch.randint(1, 4, (1, length), generator=torch.Generator().manual_seed(0))
    inside = []
    for stack in (model.encoder, model.decoder):
        attention = stack.block[0].layer[0].SelfAttention
        attention.relative_attention_bias.register_forward_hook(lambda _, inputs, output: inside.append(output))
    model(input_ids=token_ids, decoder_input_ids=token_ids)
    for stack, theirs in zip((backbone.t5.encoder, backbone.t5.decoder), inside, strict=True):
        assert torch.equal(stack.relative_bias(length)[0].permute(1, 2, 0), theirs.view(length, length, -1))


def test_weights_begin_with_the_distributions_of_transformers():
    sizes = Sizes(
        vocabulary_size=300, hidden_size=64, num_layers=2, num_heads=3, head_size=48, inner_size=256, dropout=0.1
    )
    torch.manual_seed(0)
    ours, theirs = dict(PackedT5(sizes).named_parameters()), dict(transformers_t5_of(sizes).named_parameters())
    assert set(ours) == set(theirs)
    for name, parameter in ours.items():
        assert parameter.shape == theirs[name].shape, name
        assert parameter.std().item() == pytest.approx(theirs[name].std().item(), rel=0.2, abs=1e-9), name
        assert parameter.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.06), name


@torch.no_grad()
@pytest.mark.parametrize("world", WORLDS)
def test_every_beam_of_every_step_is_teacher_forced_transformers(world):
    backbone = build(world, "full")
    num_digits, users = backbone.codes.shape[1], len(HISTORY)
    step = step_of(backbone, HISTORY, LENGTHS)
    generator = torch.Generator().manual_seed(1)
    prefixes, codes, parents, state = torch.zeros(users, 1, 0, dtype=torch.long), None, None, None
    nowhere = torch.full((1, 1), -1)  # "full" computes the beams that no item follows, too
    for depth in range(num_digits):
        logits, state = step(depth, nowhere.expand(prefixes.shape[:2]), codes, parents, state)
        for beam in range(prefixes.shape[1]):
            padding = torch.zeros(users, num_digits - depth, dtype=torch.long)
            token_ids = backbone.vocabulary.token_ids(torch.cat([prefixes[:, beam], padding], dim=1))
            expected = transformers_logits(backbone, HISTORY, LENGTHS, token_ids)[depth]
            torch.testing.assert_close(logits[:, beam], expected, atol=1e-5, rtol=1e-5)
        width = depth + 3  # the beam grows, and beams split, merge and change places
        parents = torch.randint(prefixes.shape[1], (users, width), generator=generator)
        codes = torch.randint(logits.shape[-1], (users, width), generator=generator)
        prefixes = torch.cat([prefixes[torch.arange(users)[:, None], parents], codes[:, :, None]], dim=2)


@torch.no_grad()
def test_decided_digits_are_not_computed():
    backbone, tokens = build("one modality"), []
    norm = backbone.t5.decoder.final_layer_norm
    norm.register_forward_pre_hook(lambda _, inputs: tokens.append(len(inputs[0])))
    exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    below_prefixes = [TEXT[:, :depth] for depth in range(3)]
    shared = [sum(count > 1 for count in np.unique(rows, axis=0, return_counts=True)[1]) for rows in below_prefixes]
    assert shared == [1, 2, 2]  # prefixes of several items; those of one are 020 and 101
    assert tokens == [5 * count for count in shared]
    tokens.clear()
    backbone.loss(HISTORY, LENGTHS, torch.tensor([1, 2, 3, 4, 5]))
    assert tokens == [5 * 2 + 3]  # all but items 3 and 4 have three open digits
    backbone.code_softmax = "full"
    backbone.loss(HISTORY, LENGTHS, TARGETS)
    assert tokens[1:] == [5 * 3]


@torch.no_grad()
@pytest.mark.parametrize("lengths", [torch.tensor([2, 1]), torch.tensor([0, 0])])
def test_a_catalogue_of_one_item_leaves_nothing_to_compute(lengths):
    backbone = build("one modality", text=TEXT[5:])
    history, targets = torch.tensor([[1, 1], [1, 0]]), torch.ones(2, dtype=torch.long)
    assert backbone.loss(history, lengths, targets) == 0
    ranked = beam_search(step_of(backbone, history, lengths), backbone.trie, batch_size=2, k=1, beam_width=3)
    assert ranked.item_ids.tolist() == [[1], [1]] and ranked.scores.tolist() == [[0], [0]]


@torch.no_grad()
@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("world", WORLDS)
def test_a_beam_as_wide_as_the_catalogue_is_brute_force(world, code_softmax):
    backbone = build(world, code_softmax)
    users = len(HISTORY)
    expected = torch.stack(
        [brute_force_log_probs(backbone, HISTORY, LENGTHS, torch.full((users,), item)) for item in range(1, 7)],
        dim=1,
    )  # [B, N]
    scores, order = expected.sort(dim=1, descending=True)
    ranked = beam_search(
        step_of(backbone, HISTORY, LENGTHS),
        backbone.trie,
        batch_size=users,
        k=6,
        beam_width=6,
        code_softmax=code_softmax,
    )
    torch.testing.assert_close(ranked.scores, scores, atol=1e-5, rtol=1e-5)
    assert torch.equal(ranked.item_ids, order + 1)
    exhaustive = exhaustive_scores(
        step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=users, code_softmax=code_softmax
    )
    torch.testing.assert_close(exhaustive[:, 1:], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("world", WORLDS)
def test_the_items_probabilities_sum_to_one(world):
    backbone = build(world)
    scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=len(HISTORY))
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(HISTORY)))


@torch.no_grad()
def test_loss_does_not_depend_on_padding_nor_on_the_other_rows():
    backbone = build("two with transition and dedup")
    alone = [backbone.loss(HISTORY[row : row + 1], LENGTHS[row : row + 1], TARGETS[row : row + 1]) for row in range(5)]
    expected = torch.stack(alone).mean()
    longer = torch.cat([HISTORY, torch.zeros(5, 7, dtype=torch.long)], dim=1)
    beyond = torch.arange(longer.shape[1]) >= LENGTHS[:, None]
    for history in (HISTORY, longer, longer.masked_fill(beyond, 5)):  # what stands in the padding is not read
        torch.testing.assert_close(backbone.loss(history, LENGTHS, TARGETS), expected)


@torch.no_grad()
def test_the_order_of_the_history_matters():
    backbone = build("one modality")
    pair = torch.tensor([[3, 5]])
    loss = backbone.loss(pair, torch.tensor([2]), TARGETS[:1])
    assert (loss - backbone.loss(pair.flip(1), torch.tensor([2]), TARGETS[:1])).abs() > 1e-3


@torch.no_grad()
def test_a_user_without_history_gets_a_distribution_and_disturbs_nobody():
    backbone = build("one modality")
    lengths = torch.tensor([3, 0, 4, 0, 2])
    scores = exhaustive_scores(step_of(backbone, HISTORY, lengths), backbone.trie, batch_size=5)
    expected = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    torch.testing.assert_close(scores[[0, 2, 4]], expected[[0, 2, 4]])
    torch.testing.assert_close(scores[[1, 3]].exp().sum(dim=1), torch.ones(2))
    torch.testing.assert_close(scores[1], scores[3])
    nobody = torch.zeros(2, dtype=torch.long)
    alone = exhaustive_scores(step_of(backbone, HISTORY[:2], nobody), backbone.trie, batch_size=2)
    torch.testing.assert_close(alone[0], scores[1])


@torch.no_grad()
def test_the_transition_token_acts_in_history_and_decoder():
    backbone = build("two with transition and dedup", "full")
    (token_id,) = range(backbone.vocabulary.size)[backbone.vocabulary.token_id_range(TRANSITION)]
    parents = torch.zeros(len(HISTORY), 1, dtype=torch.long)

    def logits_after_transition(state):
        codes = None
        for depth in range(TRANSITION + 2):
            logits, state = backbone.step(depth, parents, codes, parents if depth else None, state)
            codes = torch.zeros_like(parents)
        return logits

    start = backbone.start(HISTORY, LENGTHS)
    before = logits_after_transition(start)
    backbone.t5.shared.weight[token_id] += torch.randn(16)
    assert (logits_after_transition(start) - before).abs().max() > 1e-2  # the decoder reads it
    changed = backbone.start(HISTORY, LENGTHS)
    assert (changed.memory.keys[0][0] - start.memory.keys[0][0]).abs().max() > 1e-2  # and so does the encoder


def test_twenty_rows_are_learned_by_heart():
    backbone = build("one modality", "full").train()
    generator = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(1, 7), torch.arange(1, 7))
    history = pairs[torch.randperm(len(pairs), generator=generator)[:20]]
    targets = torch.randint(1, 7, (20,), generator=generator)
    lengths = torch.full((20,), 2)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = backbone.loss(history, lengths, targets)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    ranked = beam_search(
        step_of(backbone, history, lengths), backbone.trie, batch_size=20, k=1, beam_width=6, code_softmax="full"
    )
    assert torch.equal(ranked.item_ids[:, 0], targets)
