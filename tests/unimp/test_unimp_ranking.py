"""UniMP's rankings, recommended and searched: exact along the trie, with and without priors."""

import pytest
import torch
from recbole.data.interaction import Interaction
from tiny_shop import NUM_ITEMS

from recbole_mgr.generation.priors import FAINTEST


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"item_ids": "atomic"}, {"image_attention": "none"}], ids=str)
def test_generate_is_the_top_of_all_scores(make_world, changes):
    world = make_world(tasks="rec", **changes)
    scores = world.scores()
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
    ranked = world.model.generate(world.users, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    torch.testing.assert_close(ranked.scores, scores.topk(10).values, atol=1e-5, rtol=1e-5)
    candidates = torch.arange(len(world.users)) % NUM_ITEMS + 1
    batch = world.users[torch.arange(len(world.users))]
    batch.update(Interaction({"item_id": candidates}))
    expected = scores.gather(1, candidates[:, None]).squeeze(1)
    torch.testing.assert_close(world.model.predict(batch), expected, atol=1e-5, rtol=1e-5)
    assert (world.model.backbone.vision is None) == ("image_attention" in changes)


@torch.no_grad()
def test_a_user_alone_gets_what_he_gets_in_a_batch(world):
    together = world.model.generate(world.users, 10)
    alone = world.model.generate(world.users[torch.tensor([4])], 10)
    assert torch.equal(alone.item_ids[0], together.item_ids[4])
    torch.testing.assert_close(alone.scores[0], together.scores[4], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_search_reads_its_query_and_recommendation_does_not_know_the_target(world):
    users = world.users[torch.arange(3)]
    other = users[torch.arange(3)]
    other.update(Interaction({"item_id": other["item_id"] % NUM_ITEMS + 1}))  # of another kind
    scores = world.model.full_sort_predict(users)
    assert torch.equal(world.model.full_sort_predict(other), scores)
    searching = world.model.ranking_by(next(task for task in world.tasks if task.name == "search"))
    found = searching.full_sort_predict(users)
    assert not torch.equal(found, scores)
    assert not torch.equal(found, searching.full_sort_predict(other))
    assert torch.equal(world.model.full_sort_predict(users), scores)  # the network itself has no other task than before
    histories_alone = Interaction({key: users[key] for key in ("item_id_list", "item_length")})
    with pytest.raises(ValueError, match="a search needs a query: use recbole-mgr personalize"):
        searching.generate(histories_alone, 3)


@torch.no_grad()
@pytest.mark.parametrize("ranking", ["union", "beams"])
def test_priors_rank_recommendations_and_no_searches(make_world, ranking):
    weights = {"codes": 0.5, "memory": 1.0, "popularity": 0.25} if ranking == "union" else {"memory": 0.5}
    asked = {"memory": True, "popularity": ranking == "union", "memory_options": {"content_weight": 0}}
    world = make_world(tasks="rec,search", ranking=ranking, prior_weights=weights, **asked)
    plain = make_world(tasks="rec,search")
    plain.model.load_state_dict(world.model.state_dict(), strict=False)
    scores = world.scores()
    ranked = world.model.generate(world.users, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    history = world.users["item_id_list"], world.users["item_length"]
    memory = world.model.memory.prior(world.model.trie, *history)
    every = torch.arange(NUM_ITEMS + 1).expand(len(scores), -1)
    if ranking == "union":
        popular = (world.model.item_counts[1:] + 1).log().log_softmax(dim=0)
        expected = 0.5 * plain.scores()[:, 1:] + memory.log_probs(every)[:, 1:] + 0.25 * popular
        torch.testing.assert_close(scores[:, 1:], expected, atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
        assert not torch.allclose(scores[:, 1:], plain.scores()[:, 1:], atol=1e-2)
    search = {one.name: one for one in world.tasks}["search"]
    found, of_plain = (one.model.ranking_by(search).generate(one.users, 10) for one in (world, plain))
    assert torch.equal(found.item_ids, of_plain.item_ids)


@torch.no_grad()
def test_a_search_with_equal_logits_is_the_one_by_words_alone_and_rises_from_there(make_world):
    given = {"codes": 1.0, "query_words": 1.0}
    world = make_world(tasks="rec,search", query_words=True, ranking="beams", prior_weights=given)
    task = next(task for task in world.tasks if task.name == "search")
    targets = world.users["item_id"]
    popularity = world.model.personal.training_popularity()
    assert torch.equal(world.model.item_counts, torch.from_numpy(popularity).float())
    by_words = world.model.query_match.scores([task.query(target) for target in targets.tolist()], popularity)
    by_words = torch.from_numpy(by_words)[:, 1:]
    searching = world.model.ranking_by(task)
    scores = searching.full_sort_predict(world.users).view(-1, NUM_ITEMS + 1)[:, 1:]

    world.model.backbone.head.new.zero_()
    flat = searching.full_sort_predict(world.users).view(-1, NUM_ITEMS + 1)[:, 1:]
    kept = (by_words - by_words.amax(1, keepdim=True)).clamp(min=-FAINTEST)  # lower ones count as this
    torch.testing.assert_close(flat, kept.log_softmax(1).float(), atol=1e-3, rtol=1e-4)
    assert not torch.allclose(flat, scores, atol=1e-2)
    ranked = searching.generate(world.users, NUM_ITEMS).item_ids
    assert (kept.gather(1, ranked - 1).diff(dim=1) <= 1e-4).all()


@torch.no_grad()
def test_a_search_sums_what_its_words_and_the_memory_say_by_weights_of_its_own(make_world):
    asked = {"query_words": True, "memory": True, "memory_options": {"content_weight": 0}}
    world, plain = make_world(tasks="rec,search", **asked), make_world(tasks="rec,search")
    plain.model.load_state_dict(world.model.state_dict(), strict=False)
    world.model.search_weights.set({"codes": 0.5, "query_words": 0.1, "memory": 2.0})
    task = next(task for task in world.tasks if task.name == "search")
    found, of_codes = (
        one.model.ranking_by(task).full_sort_predict(one.users).view(-1, NUM_ITEMS + 1)[:, 1:] for one in (world, plain)
    )
    queries = [task.query(target) for target in world.users["item_id"].tolist()]
    words = world.model.query_match.scores(queries, world.model.item_counts.numpy())[:, 1:]
    memory = world.model.memory.prior(world.model.trie, world.users["item_id_list"], world.users["item_length"])
    every = torch.arange(1, NUM_ITEMS + 1).expand(len(queries), -1)
    expected = 0.5 * of_codes + 0.1 * torch.from_numpy(words).log_softmax(1) + 2 * memory.log_probs(every)
    torch.testing.assert_close(found, expected.float(), atol=1e-3, rtol=1e-4)
    recommended = world.scores()[:, 1:]
    expected = plain.scores()[:, 1:] + memory.log_probs(every)  # the weights of recommendation are as they were
    torch.testing.assert_close(recommended, expected, atol=1e-3, rtol=1e-4)


def test_a_run_without_ranking_tasks_ranks_nothing(make_world):
    world = make_world(tasks="preference")
    with pytest.raises(ValueError, match="tasks: preference: this run has not learned to rank items"):
        world.model.generate(world.users, 3)
