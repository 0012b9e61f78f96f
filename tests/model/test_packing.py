"""Packings: what goes in comes out, padding is zero and hidden."""

import torch

from recbole_mgr.model.backbone.packing import HIDDEN, Packing, pack_rows

IS_REAL = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)


def test_rows_are_packed_to_the_front_each_group_padded_to_its_own_longest():
    packed = torch.arange(1.0, 7).unsqueeze(1)
    groups = pack_rows(IS_REAL, [2, 2, 1])
    assert [(group.rows, group.length, group.size) for group in groups] == [(2, 3, 4), (2, 2, 2), (1, 1, 0)]
    padded = [group.pad(part) for group, part in zip(groups, packed.split([4, 2, 0]), strict=True)]
    assert padded[0].squeeze(-1).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert padded[1].squeeze(-1).tolist() == [[0, 0], [5, 6]]
    assert padded[2].squeeze(-1).tolist() == [[0]]
    assert torch.equal(torch.cat([group.pack(part) for group, part in zip(groups, padded, strict=True)]), packed)
    hidden = [group.key_bias(packed.device) == HIDDEN for group in groups]
    assert [bias.flatten(1).tolist() for bias in hidden] == [
        [[False, False, False], [False, True, True]],
        [[True, True], [False, False]],
        [[True]],
    ]


def test_without_positions_every_place_is_real():
    dense, packed = Packing(3, 2), torch.randn(6, 4)
    assert dense.size == 6
    assert torch.equal(dense.pad(packed), packed.view(3, 2, 4)) and torch.equal(dense.pack(dense.pad(packed)), packed)
    assert dense.key_bias(packed.device).abs().max() == 0 and dense.key_bias(packed.device).shape == (3, 1, 1, 2)
    listed = Packing(3, 2, torch.arange(6))
    assert torch.equal(listed.pad(packed), dense.pad(packed))


def test_hidden_is_hidden_in_half_precision():
    scores = torch.tensor([0.0, HIDDEN], dtype=torch.float16)
    assert scores.isfinite().all() and scores.float().softmax(0).tolist() == [1, 0]
