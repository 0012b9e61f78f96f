"""Ranked lists give the same metrics as RecBole's own path over scores."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector, Evaluator

from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.integration.collector import RankedListCollector, Ranking, lower_places_first
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.seen_items import SeenItems

NUM_ITEMS, USERS, BATCHES = 40, 7, 3
METRICS = [
    *("Recall", "NDCG", "MRR", "Hit", "Precision", "MAP", "ItemCoverage"),
    *("AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"),
]


@pytest.fixture(scope="module")
def config():
    settings = {"metrics": METRICS, "topk": [1, 3, 10], "valid_metric": "NDCG@10", "gpu_id": ""}
    return make_config("BPR", "tiny", [], settings)


@pytest.fixture
def batches():
    """Batches of users, scores without ties and PAD at -inf, and 1 to 3 positives per user."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for batch in range(BATCHES):
        scores = torch.rand(USERS, NUM_ITEMS + 1, generator=generator)
        scores[:, 0] = -torch.inf
        users = torch.arange(USERS) + 1 + batch * USERS
        counts = torch.randint(1, 4, (USERS,), generator=generator)
        positive_u = torch.repeat_interleave(torch.arange(USERS), counts)
        positive_i = torch.cat([torch.randperm(NUM_ITEMS, generator=generator)[:count] + 1 for count in counts])
        made.append(({"user_id": users}, scores, positive_u, positive_i))
    return made


def evaluate(collector, config, batches) -> dict[str, float]:
    """What RecBole's evaluator makes of the batches; items are bought 0 to 9 times in training."""
    popularity = Counter({item: item % 10 for item in range(1, NUM_ITEMS + 1)})
    dataset = SimpleNamespace(num=lambda field: NUM_ITEMS + 1, item_counter=popularity)
    collector.data_collect(SimpleNamespace(dataset=dataset))
    for interaction, scores, positive_u, positive_i in batches:
        collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    return Evaluator(config).evaluate(collector.get_data_struct())


def as_ranked_lists(batches, width=10):
    return [
        (interaction, RankedList(*reversed(scores.topk(width))), positive_u, positive_i)
        for interaction, scores, positive_u, positive_i in batches
    ]


def test_ranked_lists_and_scores_give_the_same_metrics(config, batches):
    expected = evaluate(Collector(config), config, batches)
    assert len(expected) == len(METRICS) * 3
    assert all(value > 0 for name, value in expected.items() if not name.endswith("@1"))
    assert evaluate(RankedListCollector(config), config, as_ranked_lists(batches)) == expected
    assert evaluate(RankedListCollector(config), config, batches) == expected


def test_one_positive_per_user_as_in_leave_one_out(config, batches):
    batches = [
        (interaction, scores, torch.arange(USERS), scores.argsort(descending=True)[:, place])
        for place, (interaction, scores, _, _) in zip((0, 2, 20), batches, strict=True)
    ]
    result = evaluate(RankedListCollector(config), config, as_ranked_lists(batches))
    assert result == evaluate(Collector(config), config, batches)
    # a third of the users have their target first, a third in third place, a third not among the first ten
    assert result["recall@1"] == pytest.approx(1 / 3, abs=1e-6)
    assert result["recall@10"] == result["hit@3"] == pytest.approx(2 / 3, abs=1e-6)
    assert result["mrr@10"] == pytest.approx((1 + 1 / 3) / 3, abs=1e-6)
    assert result["ndcg@10"] == pytest.approx((1 + 1 / np.log2(4)) / 3, abs=1e-6)


def test_the_lower_place_comes_first_of_equal_scores():
    scores = torch.randint(0, 5, (300, 50), generator=torch.Generator().manual_seed(0)).float()
    scores[:3, 7:] = -torch.inf
    scores[5] = torch.rand(50)  # a row without equal scores
    for k in (1, 10, 50):
        values, places = lower_places_first(scores, k)
        expected = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_array_equal(values, np.take_along_axis(scores.numpy(), expected, axis=1))


def test_padding_never_hits(config, batches):
    padded = []
    for interaction, scores, positive_u, positive_i in batches:
        ranked = scores.topk(10)
        short = ranked.indices.clone()
        short[:, 4:] = 0  # a beam that found four items
        padded.append((interaction, RankedList(short, ranked.values), positive_u, positive_i))
    result = evaluate(RankedListCollector(config), config, padded)
    full = evaluate(Collector(config), config, batches)
    assert result["recall@3"] == full["recall@3"]
    assert result["hit@10"] < full["hit@10"]


def test_the_ranking_keeps_one_row_per_target(config, batches):
    collector = RankedListCollector(config)
    evaluate(collector, config, as_ranked_lists(batches))
    from_lists = collector.ranking
    collector.start_evaluation(None, new_targets_only=False)
    evaluate(collector, config, batches)
    assert all(np.array_equal(one, other) for one, other in zip(from_lists, collector.ranking, strict=True))
    users = np.concatenate([i["user_id"][u].numpy() for i, _, u, _ in batches])
    ranks = []
    for _, scores, positive_u, positive_i in batches:
        better = (scores[positive_u] > scores[positive_u, positive_i][:, None]).sum(dim=1) + 1
        ranks += torch.where(better <= 10, better, 0).tolist()
    assert from_lists.users.tolist() == users.tolist()
    assert from_lists.targets.tolist() == torch.cat([i for *_, i in batches]).tolist()
    assert from_lists.ranks.tolist() == ranks
    assert from_lists.item_ids.shape == (len(ranks), 10)


def test_masked_items_of_scoring_models_are_no_ranked_items(config, batches):
    interaction, scores, positive_u, positive_i = batches[0]
    scores[:, 6:] = -torch.inf  # five items are left, ten are asked for
    collector = RankedListCollector(config)
    collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    assert (collector.ranking.item_ids[:, :5] > 0).all()
    assert (collector.ranking.item_ids[:, 5:] == 0).all()


def test_a_users_candidates_in_sampled_evaluation_are_one_row(config, batches):
    interaction, scores, positive_u, positive_i = batches[0]
    candidates = {"user_id": interaction["user_id"].repeat_interleave(6)}  # uniN repeats a user for each candidate
    collector = RankedListCollector(config)
    collector.eval_batch_collect(scores, candidates, positive_u, positive_i)
    assert collector.ranking.users.tolist() == interaction["user_id"][positive_u].tolist()


def test_ranks_count_from_one():
    item_ids = np.array([[3, 5, 0], [3, 5, 0], [3, 5, 0]])
    ranking = Ranking(np.arange(3), np.array([3, 5, 7]), item_ids, repeated=np.zeros(3, dtype=bool))
    assert ranking.ranks.tolist() == [1, 2, 0]


@pytest.mark.parametrize("as_lists", [False, True])
def test_users_whose_target_repeats_can_be_left_out_of_the_metrics(config, batches, as_lists):
    single = []
    for interaction, scores, positive_u, positive_i in batches:  # one target a user, as our tests have it
        first = torch.tensor([int((positive_u == row).nonzero()[0]) for row in range(len(scores))])
        single.append((interaction, scores, positive_u[first], positive_i[first]))
    users = torch.cat([interaction["user_id"] for interaction, *_ in single])
    targets = torch.cat([positive_i for *_, positive_i in single])
    again = torch.arange(len(users)) % 3 == 0  # every third user has the target already
    seen = SeenItems(users[again].numpy(), targets[again].numpy(), num_users=int(users.max()) + 1)
    collector = RankedListCollector(config)
    collector.start_evaluation(seen, new_targets_only=True)
    result = evaluate(collector, config, as_ranked_lists(single) if as_lists else single)
    ranking = collector.ranking
    assert ranking.repeated.tolist() == again.tolist()  # the ranking keeps everybody
    new = ranking.ranks[~ranking.repeated]
    assert result["recall@10"] == pytest.approx((new > 0).mean(), abs=1e-6)
    assert result["mrr@10"] == pytest.approx(np.where(new > 0, 1 / np.maximum(new, 1), 0).mean(), abs=1e-6)


def test_nothing_is_left_to_measure_where_every_target_repeats(config, batches):
    interaction, scores, positive_u, positive_i = batches[0]
    first = torch.tensor([int((positive_u == row).nonzero()[0]) for row in range(len(scores))])
    users = interaction["user_id"].numpy()
    seen = SeenItems(users, positive_i[first].numpy(), num_users=int(users.max()) + 1)
    collector = RankedListCollector(config)
    collector.start_evaluation(seen, new_targets_only=True)
    collector.eval_batch_collect(scores, interaction, positive_u[first], positive_i[first])
    with pytest.raises(ValueError, match="every target repeats .* leave mask_history at False"):
        collector.get_data_struct()
