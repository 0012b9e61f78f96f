import math

import numpy as np
import pytest
import torch

from recbole_mgr.generation import PrefixTrie


def all_prefixes(world, depth):
    """The trie's nodes of one depth, in their order."""
    return sorted({row[:depth] for row in world.item_of_codes})


# --- six leaves by hand


def test_hand_trie_has_the_nodes_drawn_on_paper(hand_trie):
    # 0 -> 00 -> 001 (item 30), 002 (10)    1 -> 11 -> 111 (60)
    #   -> 01 -> 010 (20)                   2 -> 20 -> 200 (50), 201 (41)
    assert (hand_trie.num_digits, hand_trie.num_items, hand_trie.sizes) == (3, 6, (4, 2, 3))
    assert [hand_trie.num_nodes(depth) for depth in range(4)] == [1, 3, 4, 6]
    assert [hand_trie.max_children(depth) for depth in range(3)] == [3, 2, 2]
    assert [hand_trie.min_children(depth) for depth in range(3)] == [3, 1, 1]

    children = hand_trie.children_of(1, torch.tensor([[0, 1], [2, -1]]))
    assert children.codes.tolist() == [[[0, 1], [1, 0]], [[0, 0], [0, 0]]]
    assert children.nodes.tolist() == [[[0, 1], [2, -1]], [[3, -1], [-1, -1]]]
    assert children.valid.tolist() == [[[True, True], [True, False]], [[True, False], [False, False]]]
    assert hand_trie.num_children(1, torch.tensor([0, 1, 2, -1])).tolist() == [2, 1, 1, 0]
    assert hand_trie.has_choice(1, torch.tensor([0, 1, 2, -1])).tolist() == [True, False, False, False]

    assert hand_trie.legal(0, torch.tensor([0])).tolist() == [[True, True, True, False]]
    assert hand_trie.legal(2, torch.tensor([0, 1, -1])).tolist() == [
        [False, True, True],
        [True, False, False],
        [False] * 3,
    ]
    assert hand_trie.advance(2, torch.tensor([0, 0, 3, 2, -1]), torch.tensor([2, 0, 1, 1, 0])).tolist() == [
        1,
        -1,
        5,
        3,
        -1,
    ]

    assert hand_trie.item_ids(torch.tensor([[0, 1, 2], [3, 4, 5], [-1, -1, -1]])).tolist() == [
        [30, 10, 20], [60, 50, 41], [0, 0, 0]
    ]  # fmt: skip
    assert hand_trie.leaf(torch.tensor([41, 30, 0, 31, 1000, -5])).tolist() == [5, 0, -1, -1, -1, -1]
    assert hand_trie.path(torch.tensor([[10, 60], [41, 0]])).tolist() == [
        [[0, 0, 0], [0, 1, 2]],
        [[0, 2, 3], [-1, -1, -1]],
    ]
    assert hand_trie.parent(2, torch.tensor([[3, 2], [1, -1]])).tolist() == [[2, 1], [0, -1]]
    assert hand_trie.num_leaves(1, torch.tensor([0, 1, 2])).tolist() == [3, 1, 2]


def test_allowed_items_counts_the_leaves_that_remain(hand_trie):
    allowed_items = hand_trie.allow(torch.tensor([41, 10, 30, 10]))
    assert [counts.tolist() for counts in allowed_items.remaining] == [
        [3],
        [2, 0, 1],
        [2, 0, 0, 1],
        [1, 1, 0, 0, 0, 1],
    ]
    assert [counts.sum() for counts in hand_trie.allow(torch.tensor([], dtype=torch.long)).remaining] == [0] * 4
    with pytest.raises(ValueError, match="item_ids: 31 is not"):
        hand_trie.allow(torch.tensor([30, 31]))


def test_a_single_item_is_a_trie():
    trie = PrefixTrie(torch.tensor([[3, 0]]), (4, 1))
    assert trie.path(torch.tensor([1])).tolist() == [[0, 0]]
    assert trie.advance(0, torch.tensor([0]), torch.tensor([3])).tolist() == [0]


# --- against a dict of tuples


def test_walks_agree_with_the_dict(world):
    trie = world.trie()
    for depth, size in enumerate(world.sizes):
        prefixes, longer = all_prefixes(world, depth), all_prefixes(world, depth + 1)
        nodes = torch.arange(trie.num_nodes(depth))
        assert trie.num_nodes(depth) == len(prefixes)
        expected_legal = [[code in world.legal_codes(p) for code in range(size)] for p in prefixes]
        assert trie.legal(depth, nodes).tolist() == expected_legal
        expected_next = [
            [longer.index((*p, code)) if (*p, code) in longer else -1 for code in range(size)] for p in prefixes
        ]
        every_code = torch.arange(size).expand(len(prefixes), size)
        reached = trie.advance(depth, nodes.unsqueeze(-1).expand_as(every_code), every_code)
        assert reached.tolist() == expected_next
        assert trie.parent(depth + 1, torch.arange(len(longer))).tolist() == [prefixes.index(p[:-1]) for p in longer]
        below = [sum(row[:depth] == p for row in world.item_of_codes) for p in prefixes]
        assert trie.num_leaves(depth, nodes).tolist() == below


def test_path_and_leaf_agree_with_the_dict(world):
    trie = world.trie()
    depths = range(len(world.sizes))
    expected = [[all_prefixes(world, d).index(row[:d]) for d in depths] for row in world.item_of_codes]
    item_ids = torch.tensor(world.item_ids)
    assert trie.path(item_ids).tolist() == expected
    assert torch.equal(trie.item_ids(trie.leaf(item_ids)), item_ids)


def test_allowed_items_agrees_with_the_dict(world):
    kept = set(world.item_ids[::3])
    allowed_items = world.trie().allow(torch.tensor(sorted(kept)))
    for depth, counts in enumerate(allowed_items.remaining):
        expected = [
            sum(row[:depth] == p and item in kept for row, item in world.item_of_codes.items())
            for p in all_prefixes(world, depth)
        ]
        assert counts.tolist() == expected


def test_codes_too_many_for_one_sort_key_are_still_in_order():
    """Eight digits of 256 do not fit an int64: the order must come from two keys."""
    rng = np.random.default_rng(0)
    rows = np.unique(rng.choice([0, 1, 254, 255], size=(500, 8)), axis=0)
    shuffled = rng.permutation(rows)
    trie = PrefixTrie(torch.from_numpy(shuffled), [256] * 8)
    leaves_in_order = trie.item_ids(torch.arange(trie.num_items)) - 1
    assert np.array_equal(shuffled[leaves_in_order.numpy()], rows)  # np.unique sorts lexicographically


def test_a_first_digit_without_choice_is_a_digit():
    trie = PrefixTrie(torch.tensor([[0, 1], [0, 0]]), (1, 2))
    assert trie.item_ids(torch.arange(2)).tolist() == [2, 1]


def test_codes_may_come_in_any_integer_type():
    codes = torch.tensor([[255, 3], [7, 200]])
    for dtype in (torch.uint8, torch.int16, torch.int32):
        trie = PrefixTrie(codes.to(dtype), (256, 256))
        assert trie.children_of(0, torch.tensor(0)).codes.tolist() == [7, 255]
        assert trie.item_ids(torch.arange(2)).tolist() == [2, 1]


def test_codes_need_no_more_than_their_digits_hold():
    """Largest codes of every storage width survive it."""
    for size in (256, 257, 2**15, 2**15 + 1, 2**20):
        trie = PrefixTrie(torch.tensor([[size - 1, 0], [0, size - 1]]), (size, size))
        assert trie.children_of(0, torch.tensor(0)).codes.tolist() == [0, size - 1]


# --- what it refuses


@pytest.mark.parametrize(
    ("codes", "item_ids", "message"),
    [
        ([[0, 0], [1, 1], [0, 0]], None, "row 2 repeats row 0"),
        ([[0, 0], [1, 2]], None, "row 1 has code 2 at digit 1"),
        ([[0, 0], [-1, -1]], None, "row 1 has code -1 at digit 0"),
        ([[0, 0, 0]], None, "one column per entry of sizes"),
        ([[0, 0], [1, 1]], [5, 5], "rows 0 and 1 share item 5"),
        ([[0, 0], [1, 1]], [5, 0], "row 1 has 0"),
        ([[0, 0], [1, 1]], [5], "one per row"),
    ],
)
def test_bad_rows_are_named(codes, item_ids, message):
    item_ids = None if item_ids is None else torch.tensor(item_ids)
    with pytest.raises(ValueError, match=message):
        PrefixTrie(torch.tensor(codes), (2, 2), item_ids)


# --- probabilities


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_log_prob_of_every_digit_adds_up_to_the_items_score(world, code_softmax):
    trie, item_ids = world.trie(), torch.tensor(world.item_ids)
    rows = torch.tensor(list(world.item_of_codes))
    path = trie.path(item_ids)
    total = torch.zeros(len(rows))
    for depth in range(trie.num_digits):
        logits = torch.tensor([world.logits(0, tuple(row[:depth])) for row in rows.tolist()])
        total += trie.log_prob(depth, path[:, depth], logits, rows[:, depth], code_softmax)
    assert total.tolist() == pytest.approx(list(world.item_scores(0, code_softmax).values()), abs=1e-5)


def test_a_forced_digit_costs_and_teaches_exactly_nothing(hand_trie):
    nodes, codes = torch.tensor([1, 2, 0]), torch.tensor([1, 0, 1])
    logits = torch.tensor([[3.3, -7.7], [0.1, 9.9], [1.0, 1.0]], requires_grad=True)
    log_probs = hand_trie.log_prob(1, nodes, logits, codes, "legal")
    assert log_probs[:2].tolist() == [0.0, 0.0]
    assert log_probs[2].item() == pytest.approx(-math.log(2))
    log_probs.sum().backward()
    assert logits.grad[:2].abs().sum() == 0
    assert logits.grad[2].tolist() == pytest.approx([-0.5, 0.5])


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_gradients_are_those_of_the_definition(world, code_softmax):
    trie = world.trie()
    nodes = torch.arange(trie.num_nodes(1))
    codes = trie.children_of(1, nodes).codes[:, 0]
    logits = torch.randn(len(nodes), world.sizes[1], requires_grad=True)
    trie.log_prob(1, nodes, logits, codes, code_softmax).sum().backward()

    allowed = trie.legal(1, nodes) if code_softmax == "legal" else torch.ones_like(logits, dtype=torch.bool)
    share = logits.detach().masked_fill(~allowed, -torch.inf).softmax(-1)
    chosen = torch.nn.functional.one_hot(codes, world.sizes[1])
    torch.testing.assert_close(logits.grad, chosen - share)


@pytest.mark.parametrize("depth", range(4))
def test_log_prob_of_a_row_does_not_depend_on_its_company(world, depth):
    """Many rows share one mask per node where nodes are wide; a row alone lists its own children."""
    trie, size = world.trie(), world.sizes[depth]
    nodes = torch.arange(-1, trie.num_nodes(depth)).repeat_interleave(size)
    codes = torch.arange(size).repeat(len(nodes) // size)  # legal and illegal ones
    logits = torch.randn(len(nodes), size)
    together = trie.log_prob(depth, nodes, logits, codes, "legal")
    alone = [
        trie.log_prob(depth, *row, "legal") for row in zip(nodes.split(1), logits.split(1), codes.split(1), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together[:size].isneginf().all()  # no node


def test_an_illegal_code_has_no_probability_and_no_gradient(hand_trie):
    logits = torch.zeros((2, 3), requires_grad=True)
    log_probs = hand_trie.log_prob(2, torch.tensor([0, -1]), logits, torch.tensor([0, 0]), "legal")
    assert log_probs.tolist() == [-math.inf, -math.inf]
    log_probs.sum().backward()
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_log_prob_stays_in_float32_under_autocast(hand_trie, code_softmax):
    logits, codes = torch.randn(5, 4).bfloat16(), torch.tensor([0, 1, 2, 1, 0])
    nodes = torch.zeros(5, dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs = hand_trie.log_prob(0, nodes, logits, codes, code_softmax)
    assert log_probs.dtype == torch.float32
    assert torch.equal(log_probs, hand_trie.log_prob(0, nodes, logits.float(), codes, code_softmax))


def test_unknown_softmax_is_refused(hand_trie):
    with pytest.raises(ValueError, match="code_softmax: 'leagl'"):
        hand_trie.log_prob(0, torch.tensor([0]), torch.zeros(1, 4), torch.tensor([0]), "leagl")


# --- a module that leaves no trace


def test_the_trie_stays_out_of_checkpoints_and_moves_with_its_owner(hand_trie):
    assert not hand_trie.state_dict() and not list(hand_trie.parameters())
    moved = hand_trie.to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    nodes = torch.empty((2, 3), dtype=torch.long, device="meta")
    answers = [
        *moved.children_of(1, nodes), moved.legal(1, nodes), moved.advance(1, nodes, nodes),
        moved.path(nodes), moved.item_ids(nodes), moved.num_leaves(1, nodes), moved.has_choice(1, nodes),
    ]  # fmt: skip
    assert {answer.device.type for answer in answers} == {"meta"}


def test_eight_random_digits_fit_the_budget_of_bytes():
    trie = PrefixTrie(torch.randint(256, (50_000, 8), generator=torch.Generator().manual_seed(0)), [256] * 8)
    assert sum(buffer.nbytes for buffer in trie.buffers()) / trie.num_items < 100


def test_which_digits_of_all_items_are_a_choice(world):
    trie = world.trie()
    found = trie.choices()
    assert found.shape == (trie.max_item_id + 1, trie.num_digits)
    for row, item in world.item_of_codes.items():
        expected = [len(world.legal_codes(row[:depth])) > 1 for depth in range(trie.num_digits)]
        assert found[item].tolist() == expected
    others = sorted(set(range(trie.max_item_id + 1)) - set(world.item_ids))
    assert not found[others].any()
