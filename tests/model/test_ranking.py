"""How items are ranked by codes, an item softmax, a memory and popularity."""

import pytest
import torch
from prior_world import ALL, NUM_ITEMS, WEIGHTS
from recbole.data.interaction import Interaction
from scipy import sparse

import recbole_mgr.generation.priors as priors
import recbole_mgr.model.backbone.item_softmax as item_softmax
from recbole_mgr.model.joined_items import JoinedItems
from recbole_mgr.model.ranking import Wanted


@pytest.fixture(scope="module")
def world(make_prior_world):
    return make_prior_world(**ALL, prior_weights=WEIGHTS)


@pytest.fixture(scope="module", params=["hierarchical", "t5"])
def either_world(request, make_prior_world):
    own = {"memory": True, "popularity": True}
    if request.param == "hierarchical":
        return make_prior_world(**ALL, prior_weights=WEIGHTS)
    return make_prior_world(
        "MGRLF", backbone="t5", **own, prior_weights={"codes": 1.0, "memory": 0.7, "popularity": 0.2}
    )


@torch.no_grad()
def test_an_items_score_is_the_weighted_sum_of_its_log_probabilities(world):
    model, batch = world.model, world.batch
    state = model.backbone.start(batch["item_id_list"], batch["item_length"])
    softmax = model.backbone.item_softmax.scores(state.hidden[:, 0], state.history).log_softmax(dim=1)
    memory = model.memory
    plain = torch.zeros(len(batch), NUM_ITEMS + 1)
    for user, (history, length) in enumerate(zip(batch["item_id_list"], batch["item_length"], strict=True)):
        newest = history[:length].flip(0)[:10].tolist()
        for age, item in enumerate(newest):
            for target, weight in zip(memory.targets[item].tolist(), memory.weights[item].tolist(), strict=True):
                plain[user, target] += 0.8**age * weight
    remembered = (plain.clamp(min=0) + 0.003)[:, 1:].log().log_softmax(dim=1)
    counts = torch.tensor([1 + world.train._dataset.item_counter.get(item, 0) for item in range(1, NUM_ITEMS + 1)])
    model.part_weights.set(WEIGHTS | {"item_softmax": 0.0, "memory": 0.0, "popularity": 0.0, "codes": 1.0})
    codes = world.scores()[:, 1:]
    torch.testing.assert_close(codes.exp().sum(dim=1), torch.ones(len(batch)))
    model.part_weights.set(WEIGHTS)
    expected = 0.6 * codes + 0.4 * softmax[:, 1:] + 0.7 * remembered + 0.2 * counts.log().log_softmax(dim=0)
    torch.testing.assert_close(world.scores()[:, 1:], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_with_all_candidates_the_ranking_is_the_top_of_all_scores(either_world, monkeypatch):
    model = either_world.model
    monkeypatch.setattr(model, "prior_candidates", NUM_ITEMS)
    scores = either_world.scores()
    ranked = model.generate(either_world.batch, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    torch.testing.assert_close(ranked.scores, scores.topk(10).values, atol=1e-4, rtol=1e-4)
    batch = either_world.batch[torch.arange(len(either_world.batch))]
    candidates = torch.arange(len(batch)) % NUM_ITEMS + 1
    batch.update(Interaction({"item_id": candidates}))
    torch.testing.assert_close(
        model.predict(batch), scores.gather(1, candidates[:, None]).squeeze(1), atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
def test_without_codes_all_items_are_ranked_and_no_beam_is_needed(world, monkeypatch):
    model, batch = world.model, world.batch
    monkeypatch.setattr(model, "prior_candidates", 1)  # as many as would join beams
    monkeypatch.setattr(model.backbone, "step", lambda *_: 1 / 0)
    model.part_weights.set(WEIGHTS | {"codes": 0.0})
    priors = model.ranker(batch).priors
    items = torch.arange(1, NUM_ITEMS + 1).expand(len(batch), -1)
    scores = sum(WEIGHTS[part] * prior.log_probs(items) for part, prior in priors.items())  # [B, N]
    allowed = list(range(3, NUM_ITEMS + 1))
    seen = batch["item_id_list"]
    as_it_is, masked = model.generate_lists(
        batch, NUM_ITEMS, excludes=[None, seen], allowed_items=model.trie.allow(torch.tensor(allowed))
    )
    for user, own in enumerate(seen.tolist()):
        ranked = [item for item in (scores[user].argsort(descending=True) + 1).tolist() if item in allowed]
        left = [item for item in ranked if item not in own]
        assert as_it_is.item_ids[user].tolist() == ranked + [0, 0]
        assert masked.item_ids[user].tolist() == left + [0] * (NUM_ITEMS - len(left))
    model.part_weights.set(WEIGHTS)


@torch.no_grad()
@pytest.mark.parametrize("beam_size", [1, 3])
def test_few_beams_and_candidates_are_ranked_exactly_and_fill_the_list(world, beam_size, monkeypatch):
    monkeypatch.setattr(world.model, "prior_candidates", 2)
    history, scores = world.batch["item_id_list"], world.scores()
    ranked = world.model.generate(world.batch, beam_size, beam_size=beam_size, exclude=history)
    assert (ranked.item_ids > 0).all()
    assert not (ranked.item_ids.unsqueeze(2) == history.unsqueeze(1)).any()
    assert all(len(set(row)) == beam_size for row in ranked.item_ids.tolist())
    torch.testing.assert_close(ranked.scores, scores.gather(1, ranked.item_ids), atol=1e-4, rtol=1e-4)
    allowed = torch.tensor([2, 3, 5])
    ranked = world.model.generate(world.batch, 5, allowed_items=world.model.trie.allow(allowed))
    assert (ranked.item_ids[:, :3].sort(dim=1).values == allowed).all()
    assert (ranked.item_ids[:, 3:] == 0).all() and ranked.scores[:, 3:].isneginf().all()


@torch.no_grad()
@pytest.mark.parametrize("seed", range(6))
def test_lists_are_those_of_all_candidates_scored_in_full(make_prior_world, seed):
    """A list gives up items that cannot come into it; what is validated knows all parts of all of them."""
    generator = torch.Generator().manual_seed(seed)
    world = make_prior_world(**ALL, prior_candidates=int(torch.randint(1, 12, (), generator=generator)))
    model, batch, given_up = world.model, world.batch, 0
    for name, parameter in model.backbone.decoder.named_parameters():
        if "heads" in name or "branches" in name:  # far from equal scores, and pairs of equal ones
            parameter.copy_((4 * torch.randn(parameter.shape, generator=generator)).round() / 4)
    allowed = model.trie.allow(torch.randperm(NUM_ITEMS, generator=generator)[:15] + 1)
    history = batch["item_id_list"]
    for codes, softmax, memory, popularity in [
        (0.6, 0.4, 0.7, 0.2),
        (1, 0, 0.1, -0.2),
        (0.1, 1, 3, 0),
        (1, 0, 0, 0),
        (-1, 1, 0, 0),
    ]:
        weights = {"codes": codes, "item_softmax": softmax, "memory": memory, "popularity": popularity}
        model.part_weights.set(weights)
        for k, width, excludes, allowed_items in [
            (1, 1, [None], None),
            (3, 4, [history], None),
            (4, 4, [None, history], None),
            (3, 8, [None, history, history[:, :1]], allowed),
            (20, 24, [history], allowed),
        ]:
            wanted = Wanted(k, width, excludes, allowed_items)
            ranker = model.ranker(batch)
            counted = {part: weight for part, weight in weights.items() if weight}
            ranker.priors = {part: prior for part, prior in ranker.priors.items() if part in counted}
            expected = [found.ranked(counted, k) for found in ranker.candidates(wanted)]
            for found, full in zip(ranker.lists(wanted), expected, strict=True):
                torch.testing.assert_close(found.scores, full.scores)
                is_alone = (full.scores.unsqueeze(2) - full.scores.unsqueeze(1)).abs().lt(1e-4).sum(dim=2) == 1
                is_alone[:, -1] = False  # the next may be equal
                assert torch.equal(found.item_ids[is_alone], full.item_ids[is_alone])
            few = ranker.candidates(wanted, only_best=True)[0]
            given_up += int(few.log_probs["codes"].isneginf().sum() - (few.item_ids == 0).sum())
    assert given_up > 100


@torch.no_grad()
def test_pushed_down_the_trie_they_give_a_distribution(make_prior_world):
    world = make_prior_world(**ALL, prior_weights=WEIGHTS | {"codes": 1.0}, ranking="beams", beam_size=NUM_ITEMS)
    scores = world.scores()
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
    ranked = world.model.generate(world.batch, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    world.batch.update(Interaction({"item_id": ranked.item_ids[:, 3]}))
    torch.testing.assert_close(world.model.predict(world.batch), ranked.scores[:, 3])
    assert not torch.allclose(scores, make_prior_world(beam_size=NUM_ITEMS).scores())


@torch.no_grad()
@pytest.mark.parametrize("ranking", ["union", "beams"])
def test_a_large_catalogue_is_searched_in_blocks_with_equal_lists(make_prior_world, monkeypatch, ranking):
    world = make_prior_world(**ALL, prior_weights=WEIGHTS, ranking=ranking)
    history, allowed = world.batch["item_id_list"], world.model.trie.allow(torch.tensor([2, 3, 5, 7]))
    world.model.backbone.item_softmax.repeat_score.fill_(-0.01)

    def lists():
        masks = ({}, {"exclude": history}, {"allowed_items": allowed})
        return [world.model.generate(world.batch, 4, beam_size=8, **mask) for mask in masks]

    dense, scores = lists(), world.scores()
    monkeypatch.setattr(item_softmax, "DENSE_ITEMS", 0)
    monkeypatch.setattr(item_softmax, "SCORES_AT_A_TIME", 100)
    monkeypatch.setattr(priors, "SCORES_AT_A_TIME", 5 * len(world.batch))
    for found, expected in zip(lists(), dense, strict=True):
        assert torch.equal(found.item_ids, expected.item_ids)
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(world.scores(), scores, atol=1e-4, rtol=1e-4)


def test_items_alone_need_no_codes(make_prior_world):
    world = make_prior_world(item_softmax=True, code_weight=0)
    batch = world.batch
    with torch.no_grad():
        state = world.model.backbone.start(batch["item_id_list"], batch["item_length"])
        expected = (
            world.model.backbone.item_softmax.scores(state.hidden[:, 0], state.history).log_softmax(dim=1).topk(10)
        )
    ranked = world.model.generate(batch, 10)
    assert torch.equal(ranked.item_ids, expected.indices)
    torch.testing.assert_close(ranked.scores, expected.values)
    world.model.train().calculate_loss(next(iter(world.train))).backward()
    decoder = [p.grad for name, p in world.model.named_parameters() if "decoder" in name]
    assert all(grad is None or not grad.any() for grad in decoder)


@pytest.mark.parametrize("weights", [WEIGHTS, {**WEIGHTS, "codes": 0.0}])
def test_offsets_are_added_to_scores(make_prior_world, weights):
    world = make_prior_world(**ALL, prior_weights=weights)
    before, masks = world.scores(), {"exclude": world.batch["item_id_list"]}
    offsets = torch.zeros(NUM_ITEMS + 1)
    offsets[[7, 9]] = torch.tensor([2.0, -1.0])
    world.model.let_in(JoinedItems(offsets=offsets))
    added = world.scores() - before
    torch.testing.assert_close(added[:, 1:] - added[:, 1:2], (offsets[1:] - offsets[1]).expand_as(added[:, 1:]))
    everything = torch.arange(1, NUM_ITEMS + 1).expand(len(before), -1)
    torch.testing.assert_close(world.model.score_items(world.batch, everything), world.scores()[:, 1:])
    parts = world.model.ranker(world.batch).terms(everything)
    torch.testing.assert_close(sum(parts.values()), world.scores()[:, 1:])
    allowed = world.model.trie.allow(torch.arange(3, 20))
    ranked = world.model.generate(world.batch, 5, beam_size=NUM_ITEMS, allowed_items=allowed, **masks)
    expected = world.scores().scatter(1, masks["exclude"], -torch.inf)[:, 3:20].topk(5)
    assert torch.equal(ranked.item_ids, expected.indices + 3)
    torch.testing.assert_close(ranked.scores, expected.values)


def test_offsets_need_scores_that_are_summed(make_prior_world):
    for settings in ({}, {**ALL, "prior_weights": WEIGHTS, "ranking": "beams"}):
        world = make_prior_world(**settings)
        before = world.scores()
        world.model.let_in(JoinedItems(offsets=torch.arange(NUM_ITEMS + 1.0)))
        assert torch.equal(world.scores(), before)


def test_items_count_as_new_for_one_call_or_from_there_on(make_prior_world):
    world = make_prior_world(**ALL, prior_weights=WEIGHTS)
    model, before = world.model, world.scores()
    likeness = sparse.lil_matrix((NUM_ITEMS + 1, NUM_ITEMS + 1))
    likeness[24, 1], likeness[24, 3], likeness[22, 2] = 0.7, 0.3, 1.0
    joined = model.joining(likeness.tocsr(), torch.linspace(0, 1, NUM_ITEMS + 1))
    found = model.generate(world.batch, 10, joined=joined)
    assert torch.equal(world.scores(), before)
    model.let_in(joined)
    kept = model.generate(world.batch, 10)
    assert torch.equal(found.item_ids, kept.item_ids) and torch.equal(found.scores, kept.scores)
    assert not torch.allclose(world.scores()[:, [22, 24]], before[:, [22, 24]])


def test_where_popularity_alone_counts_everybody_gets_a_list(make_prior_world):
    world = make_prior_world("MGRLF", popularity=True, prior_weights={"codes": 0.0, "popularity": 1.0})
    (ranked,) = world.model.generate_lists(world.batch, 5, excludes=[None])
    counts = world.model.item_counts[1:]
    assert ranked.item_ids.shape == (len(world.batch), 5)
    assert torch.equal(counts[ranked.item_ids - 1], counts.topk(5).values.expand(len(world.batch), -1))
