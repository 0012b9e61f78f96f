"""Branch scores against a loop over prefixes, and where they go when items join."""

import numpy as np
import pytest
import torch
from tiny_backbone import step_of, tiny_backbone

from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.branches import moved_branches
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.semantic_id.table import SemanticIdTable

BLOCKS = {
    "text": np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [2, 1], [2, 0], [2, 0]]),
    "image": np.array([[2, 0], [0, 1], [0, 1], [1, 1], [1, 1], [0, 0], [0, 0], [1, 0]]),  # items 2 and 3 collide
}
HISTORY, LENGTHS = torch.tensor([[3, 1, 2], [6, 0, 0], [1, 8, 7]]), torch.tensor([3, 1, 3])
TARGETS = torch.tensor([4, 1, 5])


def build(branch_size: int) -> HierarchicalBackbone:
    table = SemanticIdTable.from_blocks(BLOCKS, list("abcdefgh"), transitions=True)
    return tiny_backbone(table, max_length=4, branch_size=branch_size)


@torch.no_grad()
def by_hand(backbone: HierarchicalBackbone) -> torch.Tensor:
    """log p [B, N] by a loop over items and digits; branches are counted as sorted prefixes."""
    decoder, branches, codes = backbone.decoder, backbone.decoder.branches, backbone.codes[1:]
    hidden = backbone.start(HISTORY, LENGTHS).hidden.squeeze(1)  # [B, H]
    scores = torch.zeros(len(HISTORY), len(codes))
    for item, own in enumerate(codes.tolist()):
        state = hidden
        for digit, code in enumerate(own):
            state = decoder.enter(digit, state)
            prefixes = sorted({tuple(row[: digit + 1]) for row in codes.tolist()})
            siblings = [prefix for prefix in prefixes if list(prefix[:-1]) == own[:digit]]
            if len(siblings) > 1:
                features = decoder.norm(decoder.block(state, decoder.digit_marks[digit]))
                head, query = decoder.heads[str(digit)](features), branches.query(features)
                logits = torch.stack(
                    [
                        head[:, prefix[-1]]
                        + branches.bias[digit][prefixes.index(prefix)]
                        + query @ branches.vectors[digit][prefixes.index(prefix)]
                        for prefix in siblings
                    ]
                )  # [siblings, B]
                scores[:, item] += logits.log_softmax(dim=0)[siblings.index(tuple(own[: digit + 1]))]
            state = decoder.choose(digit, state, torch.full((len(HISTORY),), code))
    return scores


@torch.no_grad()
def test_loss_and_search_are_those_of_a_loop_over_prefixes():
    backbone = build(branch_size=3)
    expected = by_hand(backbone)
    torch.testing.assert_close(expected.exp().sum(dim=1), torch.ones(3))
    loss = backbone.loss(HISTORY, LENGTHS, TARGETS, None)
    torch.testing.assert_close(loss, -expected.gather(1, TARGETS[:, None] - 1).mean())
    step = step_of(backbone, HISTORY, LENGTHS)
    torch.testing.assert_close(exhaustive_scores(step, backbone.trie, batch_size=3)[:, 1:], expected)
    ranked = beam_search(step, backbone.trie, batch_size=3, k=8, beam_width=8)
    torch.testing.assert_close(ranked.scores, expected.sort(descending=True).values)


@torch.no_grad()
def test_without_weights_of_their_own_branches_say_what_their_codes_say():
    plain, branched = build(branch_size=0), build(branch_size=3)
    branched.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in branched.decoder.branches.named_parameters():
        if name.startswith(("bias", "vectors")):
            parameter.zero_()
    for backbone in (plain, branched):
        torch.testing.assert_close(
            backbone.loss(HISTORY, LENGTHS, TARGETS, None), plain.loss(HISTORY, LENGTHS, TARGETS, None)
        )


def test_branches_learn_what_is_particular_to_an_item():
    backbone = build(branch_size=2)
    backbone.loss(HISTORY, LENGTHS, TARGETS, None).backward()
    assert backbone.decoder.branches.bias[0].grad.ne(0).all()
    assert backbone.decoder.branches.vectors[1].grad.any()


def test_branches_move_with_their_prefixes_when_items_join():
    old_codes = torch.tensor([[1, 0], [1, 2], [3, 1]])
    new_codes = torch.cat([old_codes, torch.tensor([[0, 2], [1, 1]])])
    old, new = PrefixTrie(old_codes, [4, 3]), PrefixTrie(new_codes, [4, 3])
    weights = {
        "decoder.branches.bias.0": torch.tensor([10.0, 30.0]),  # prefixes 1, 3
        "decoder.branches.vectors.1": torch.tensor([[1.0], [2.0], [3.0]]),  # 10, 12, 31
        "decoder.branches.query.weight": torch.ones(1, 1),
        "decoder.heads.0.bias": torch.ones(4),
    }
    moved = moved_branches(old, new, weights)
    assert moved["decoder.branches.bias.0"].tolist() == [0.0, 10.0, 30.0]  # 0, 1, 3
    assert moved["decoder.branches.vectors.1"].tolist() == [[0.0], [1.0], [0.0], [2.0], [3.0]]  # 02, 10, 11, 12, 31
    assert all(moved[name] is weights[name] for name in list(weights)[2:])


@torch.no_grad()
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 30)])
def test_blocks_of_rows_say_what_single_rows_say(shape):
    """A node has none, one or several blocks of rows; some rows have no node."""
    branches = build(branch_size=3).decoder.branches
    generator = torch.Generator().manual_seed(1)
    for depth in range(1, branches.trie.num_digits):
        nodes = torch.randint(-1, 3, shape, generator=generator)
        features = torch.randn(*shape, branches.query.in_features, generator=generator)
        logits = torch.randn(*shape, branches.trie.sizes[depth], generator=generator)
        found = branches(depth, nodes, features, logits)
        with torch.enable_grad():
            expected = branches(depth, nodes, features, logits)
        torch.testing.assert_close(found, expected)
        assert torch.equal(found[nodes < 0], logits[nodes < 0])
        assert nodes.numel() == 0 or branches.trie.max_children(depth) == 1 or not torch.equal(found, logits)


@pytest.mark.parametrize("size", [1, 5])
def test_a_branch_has_a_bias_and_a_vector_of_the_size_asked_for(size):
    branches = build(branch_size=size).decoder.branches
    assert [len(bias) for bias in branches.bias] == [3, 6, 6, 7, 7, 8]  # prefixes of each length
    assert {vectors.shape[1] for vectors in branches.vectors} == {size}
