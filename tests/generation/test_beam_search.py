import math

import pytest
import torch

from recbole_mgr.generation import PrefixTrie, beam_search, exhaustive_scores
from recbole_mgr.generation.beam_search import beam_searches

USERS = 3
SOFTMAXES = pytest.mark.parametrize("code_softmax", ["legal", "full"])


def assert_ranked(item_ids, scores, expected):
    """One user's list against (item, score) pairs."""
    assert item_ids.tolist() == [item for item, _ in expected]
    assert scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


def constant_step(logits_per_digit, batch_size):
    """A model that looks at nothing but the digit."""

    def step(depth, nodes, codes, parents, state):
        width = 1 if depth == 0 else codes.shape[1]
        return torch.tensor(logits_per_digit[depth]).expand(batch_size, width, -1), None

    return step


# --- known answers


def test_hand_trie_ranks_as_on_paper(hand_trie):
    # Codes 0, 1, 2 of the first digit are worth 1/2, 1/4, 1/4; below, every code is as good as its siblings.
    step = constant_step([[math.log(2), 0.0, 0.0, 9.0], [0.0, 0.0], [0.0, 0.0, 0.0]], batch_size=1)
    item_ids, scores = beam_search(step, hand_trie, batch_size=1, k=6, beam_width=6)
    probability = dict(zip(item_ids[0].tolist(), scores[0].exp().tolist(), strict=True))
    expected = {60: 1 / 4, 20: 1 / 4, 30: 1 / 8, 10: 1 / 8, 50: 1 / 8, 41: 1 / 8}
    assert probability == pytest.approx(expected)
    assert set(item_ids[0, :2].tolist()) == {60, 20}


def test_short_lists_are_padded(hand_trie):
    step = constant_step([[0.0] * 4, [0.0] * 2, [0.0] * 3], batch_size=2)
    exclude = torch.tensor([[30, 10, 20, 60], [0, 0, 0, 0]])
    item_ids, scores = beam_search(step, hand_trie, batch_size=2, k=8, beam_width=8, exclude=exclude)
    assert item_ids.shape == scores.shape == (2, 8)
    assert set(item_ids[0, :2].tolist()) == {50, 41} and item_ids[0, 2:].tolist() == [0] * 6
    assert scores[0].isfinite().tolist() == [True] * 2 + [False] * 6
    assert scores[1].isfinite().tolist() == [True] * 6 + [False] * 2
    assert set(scores[~scores.isfinite()].tolist()) == {-math.inf}


# --- against plain Python


@SOFTMAXES
def test_as_many_beams_as_items_are_exact(world, code_softmax):
    trie = world.trie()
    found = beam_search(
        world.step(USERS),
        trie,
        batch_size=USERS,
        k=trie.num_items,
        beam_width=trie.num_items,
        code_softmax=code_softmax,
    )
    for user in range(USERS):
        assert_ranked(found.item_ids[user], found.scores[user], world.ranked(user, code_softmax))


@SOFTMAXES
@pytest.mark.parametrize("beam_width", [1, 2, 3, 5, 9, 17])
def test_any_width_is_the_plain_beam_of_that_width(world, code_softmax, beam_width):
    found = beam_search(
        world.step(USERS),
        world.trie(),
        batch_size=USERS,
        k=beam_width,
        beam_width=beam_width,
        code_softmax=code_softmax,
    )
    for user in range(USERS):
        expected = world.plain_beam(user, code_softmax, beam_width, allowed=world.item_ids)
        assert_ranked(found.item_ids[user], found.scores[user], expected)


def random_filter(world, seed):
    """Allowed items, and histories with padding, repetitions and strangers; what they leave to each user."""
    generator = torch.Generator().manual_seed(seed)
    catalogue = torch.tensor(sorted(world.item_ids))
    kept = catalogue[torch.rand(len(catalogue), generator=generator) < 0.5]
    exclude = catalogue[torch.randint(len(catalogue), (USERS, 25), generator=generator)]
    exclude[:, 3:6] = exclude[:, :3]
    exclude[:, 6:8] = 0
    exclude[:, 8] = 9_999
    return kept, exclude


@SOFTMAXES
@pytest.mark.parametrize("use_allowed_items", [False, True])
@pytest.mark.parametrize("use_exclude", [False, True])
@pytest.mark.parametrize("beam_width", [1, 3, 8, 40])
def test_filters_mask_and_never_renormalise(world, code_softmax, use_allowed_items, use_exclude, beam_width):
    trie = world.trie()
    kept, exclude = random_filter(world, seed=beam_width)
    found = beam_search(
        world.step(USERS), trie, batch_size=USERS, k=beam_width, beam_width=beam_width,
        code_softmax=code_softmax, allowed_items=trie.allow(kept) if use_allowed_items else None,
        exclude=exclude if use_exclude else None,
    )  # fmt: skip
    for user in range(USERS):
        allowed = set(kept.tolist()) if use_allowed_items else set(world.item_ids)
        allowed -= set(exclude[user].tolist()) if use_exclude else set()
        length = min(beam_width, len(allowed))
        expected = world.plain_beam(user, code_softmax, beam_width, allowed)
        assert len(expected) == length
        assert_ranked(found.item_ids[user, :length], found.scores[user, :length], expected)
        assert found.item_ids[user, length:].eq(0).all() and found.scores[user, length:].isneginf().all()
        if beam_width == 40:  # as wide as the catalogue: what brute force leaves after filtering
            assert_ranked(
                found.item_ids[user, :length],
                found.scores[user, :length],
                world.ranked(user, code_softmax, allowed),
            )


@pytest.mark.parametrize("seed", range(20))
def test_k_distinct_allowed_items_come_back_whatever_the_model_thinks(make_world, seed):
    """All beams start in the branch that the model loves and the filters have nearly emptied."""
    world = make_world(seed, sizes=(3, 6, 6), num_items=60)
    trie, k = world.trie(), 7
    by_branch = [[item for row, item in world.item_of_codes.items() if row[0] == code] for code in range(3)]
    exclude = torch.tensor([by_branch[0][:-1] + by_branch[1][: 1 + seed % 5]])
    step = constant_step([[200.0, 0.0, -50.0], [40.0, 20.0, 0.0, -20.0, -40.0, -60.0], [0.0] * 6], batch_size=1)
    item_ids, scores = beam_search(step, trie, batch_size=1, k=k, beam_width=k, exclude=exclude)
    found = set(item_ids[0].tolist())
    assert len(found) == k and found <= set(world.item_ids) - set(exclude[0].tolist())
    assert by_branch[0][-1] in found
    assert scores[0].isfinite().all() and (scores.diff() <= 0).all()


def test_a_user_without_any_allowed_item_gets_padding_and_harms_no_one(world):
    trie = world.trie()
    exclude = torch.zeros((USERS, len(world.item_ids)), dtype=torch.long)
    exclude[1] = torch.tensor(world.item_ids)
    found = beam_search(world.step(USERS), trie, batch_size=USERS, k=5, beam_width=5, exclude=exclude)
    assert found.item_ids[1].eq(0).all() and found.scores[1].isneginf().all()
    for user in (0, 2):
        expected = world.plain_beam(user, "legal", 5, world.item_ids)
        assert_ranked(found.item_ids[user], found.scores[user], expected)


def test_forced_digits_cost_no_beam(world):
    """A digit that is the same for all items changes nothing, however narrow the beam."""
    rows = torch.tensor(list(world.item_of_codes))
    longer = torch.cat([rows[:, :2], torch.full((len(rows), 1), 2), rows[:, 2:]], dim=1)
    sizes = (*world.sizes[:2], 3, *world.sizes[2:])
    logits = [torch.linspace(-1, 1, size).tolist() for size in sizes]
    found = [
        beam_search(constant_step(digits, 1), trie, batch_size=1, k=4, beam_width=4)
        for trie, digits in (
            (world.trie(), logits[:2] + logits[3:]),
            (PrefixTrie(longer, sizes, torch.tensor(world.item_ids)), logits),
        )
    ]
    assert found[0].item_ids.tolist() == found[1].item_ids.tolist()
    assert torch.equal(found[0].scores, found[1].scores)


@SOFTMAXES
@pytest.mark.parametrize("beam_width", [2, 3, 9, 40])
def test_searches_at_once_give_the_lists_of_each_alone(world, code_softmax, beam_width):
    best = [[item for item, _ in world.ranked(user, code_softmax)] for user in range(USERS)]
    few, many = torch.tensor([row[:2] for row in best]), torch.tensor([row[::2] for row in best])
    few[0] = 0  # a user without a history
    excludes = [None, few, many, None]
    beams_held = []

    def step(depth, nodes, *rest):
        beams_held.append(int((nodes >= 0).sum(dim=1).max()))
        return world.step(USERS)(depth, nodes, *rest)

    shared = {"batch_size": USERS, "k": 2, "beam_width": beam_width, "code_softmax": code_softmax}
    together = beam_searches(step, world.trie(), excludes=excludes, **shared)
    most = max(beams_held)
    for exclude, found in zip(excludes, together, strict=True):
        alone = beam_search(world.step(USERS), world.trie(), exclude=exclude, **shared)
        assert torch.equal(found.item_ids, alone.item_ids)
        assert torch.equal(found.scores, alone.scores)
    assert together[0].item_ids.tolist() != together[2].item_ids.tolist()
    assert most <= 3 * beam_width  # two of the four searches are the same one


def test_an_empty_exclusion_is_no_exclusion(world):
    arguments = {"batch_size": USERS, "k": 6, "beam_width": 6}
    without = beam_search(world.step(USERS), world.trie(), **arguments)
    empty = beam_search(world.step(USERS), world.trie(), **arguments, exclude=torch.zeros((USERS, 0), dtype=torch.long))
    assert torch.equal(without.item_ids, empty.item_ids) and torch.equal(without.scores, empty.scores)


# --- what it refuses, and where it runs


def test_bad_requests_are_refused(hand_trie):
    step = constant_step([[0.0] * 4, [0.0] * 2, [0.0] * 3], batch_size=2)
    with pytest.raises(ValueError, match="beam_width"):
        beam_search(step, hand_trie, batch_size=2, k=3, beam_width=2)
    with pytest.raises(ValueError, match="k: 0"):
        beam_search(step, hand_trie, batch_size=2, k=0, beam_width=2)
    with pytest.raises(ValueError, match="exclude"):
        beam_search(step, hand_trie, batch_size=2, k=1, beam_width=2, exclude=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="code_softmax"):
        beam_search(step, hand_trie, batch_size=2, k=1, beam_width=2, code_softmax="none")
    with pytest.raises(ValueError, match="logits of digit 0"):
        beam_search(step, hand_trie, batch_size=5, k=1, beam_width=2)


@SOFTMAXES
def test_searches_stay_on_the_device_and_never_ask_it(world, code_softmax):
    """Meta tensors have no values: reading one back raises, and so does mixing them with the CPU's."""
    trie = world.trie()
    allowed_items = trie.allow(torch.tensor(world.item_ids[:9])).to("meta")
    trie = trie.to("meta")

    def step(depth, nodes, codes, parents, state):
        width = 1 if depth == 0 else codes.shape[1]
        assert depth == 0 or codes.device.type == parents.device.type == "meta"
        return torch.empty((USERS, width, world.sizes[depth]), device="meta"), None

    exclude = torch.empty((USERS, 4), dtype=torch.long, device="meta")
    found = beam_search(
        step,
        trie,
        batch_size=USERS,
        k=3,
        beam_width=5,
        code_softmax=code_softmax,
        allowed_items=allowed_items,
        exclude=exclude,
    )
    assert found.item_ids.device.type == found.scores.device.type == "meta"
    assert exhaustive_scores(step, trie, batch_size=USERS, code_softmax=code_softmax).device.type == "meta"


# --- against transformers


def test_same_lists_as_transformers_generate(make_world):
    transformers = pytest.importorskip("transformers")
    world = make_world(7, sizes=(8, 6, 5), num_items=120)
    trie, beam_width = world.trie(), 6
    offsets = torch.tensor([1, 9, 15])  # the digits' token ids, after the padding token
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=20, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=None, tie_word_embeddings=False,
        initializer_factor=5.0,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config).eval()
    history = torch.randint(1, 20, (USERS, 5))

    def allowed_tokens(_, token_ids):
        codes = tuple((token_ids[1:] - offsets[: len(token_ids) - 1]).tolist())
        return [code + offsets[len(codes)].item() for code in world.legal_codes(codes)]

    theirs = model.generate(
        history, num_beams=beam_width, num_return_sequences=beam_width, max_new_tokens=3, do_sample=False,
        prefix_allowed_tokens_fn=allowed_tokens, renormalize_logits=True, length_penalty=0.0,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    rows = (theirs.sequences[:, 1:] - offsets).view(USERS, beam_width, 3)
    their_scores = theirs.sequences_scores.view(USERS, beam_width)

    def step(depth, nodes, codes, parents, state):
        if depth == 0:
            token_ids = torch.zeros((USERS, 1, 1), dtype=torch.long)
        else:
            kept = state.gather(1, parents.unsqueeze(-1).expand(-1, -1, state.shape[-1]))
            token_ids = torch.cat([kept, (codes + offsets[depth - 1]).unsqueeze(-1)], dim=-1)
        width = token_ids.shape[1]
        output = model(history.repeat_interleave(width, 0), decoder_input_ids=token_ids.flatten(0, 1))
        first = offsets[depth]
        logits = output.logits[:, -1, first : first + world.sizes[depth]]
        return logits.view(USERS, width, -1), token_ids

    ours = beam_search(step, trie, batch_size=USERS, k=beam_width, beam_width=beam_width)
    torch.testing.assert_close(ours.scores, their_scores, atol=1e-4, rtol=1e-4)
    their_items = [[world.item_of_codes[tuple(row)] for row in user] for user in rows.tolist()]
    assert ours.item_ids.tolist() == their_items  # no ties here: scores differ
    assert (ours.scores.diff() < -1e-4).all()
