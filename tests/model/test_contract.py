"""What RecBole and our trainer may expect of every generating model, with either backbone."""

import itertools

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.registry import MODELS
from recbole_mgr.integration.trainer import GenerativeTrainer

NUM_ITEMS = 24
# UniMP's prompts have tests of their own in tests/unimp
ALL = [*itertools.product([name for name in MODELS if name != "UniMP"], ("hierarchical", "t5"))]
ITEM_METRICS = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "ItemCoverage", "AveragePopularity", "GiniIndex"]


class World:
    """One model on the tiny data set, in eval mode, its three loaders and the test users as one batch."""

    def __init__(self, settings: dict, name: str, **changes):
        self.config = make_config(name, "tiny", [], {**settings, **changes})
        self.train, self.valid, self.test = data_preparation(self.config, create_dataset(self.config))
        self.model = self.new_model(seed=1)
        self.batch = self.test._dataset.inter_feat

    def new_model(self, seed: int):
        init_seed(seed, True)
        return self.config.model_class(self.config, self.train._dataset).eval()

    @torch.no_grad()
    def scores(self, batch=None) -> torch.Tensor:
        """[B, N + 1]"""
        return self.model.full_sort_predict(self.batch if batch is None else batch).view(-1, NUM_ITEMS + 1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # RecBole's trainers leave log files where they run


@pytest.fixture(scope="module")
def make_world(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("contract")
    write_dataset(folder, num_items=NUM_ITEMS)
    settings = tiny_settings(folder, beam_size=NUM_ITEMS, n_layers=1, t5_head_size=8, metrics=ITEM_METRICS)
    return lambda name, backbone, **changes: World(settings, name, **{"backbone": backbone, **changes})


@pytest.fixture(scope="module", params=[*ALL, ("MGRLFpp", "hierarchical", "ours")], ids="-".join)
def world(request, make_world):
    name, backbone, *ours = request.param
    return make_world(name, backbone, branch_size=3 if ours else 0, learn_repeats=bool(ours))


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_the_loss_is_finite_and_reaches_every_parameter(world, code_softmax):
    model = world.new_model(seed=2).train()
    model.backbone.code_softmax = code_softmax
    loss = model.calculate_loss(next(iter(world.train)))
    loss.backward()
    assert loss.isfinite()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in idle if ".branches." not in name] == []  # those of forced digits are never asked


def test_training_learns_a_batch(world):
    model, batch = world.new_model(seed=2).train(), next(iter(world.train))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(model.calculate_loss(batch))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@torch.no_grad()
@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_generate_is_the_top_of_all_scores(world, code_softmax, monkeypatch):
    for part in (world.model, world.model.backbone):
        monkeypatch.setattr(part, "code_softmax", code_softmax)
    ranked = world.model.generate(world.batch, 10)
    scores, item_ids = world.scores().topk(10)
    assert torch.equal(ranked.item_ids, item_ids)
    torch.testing.assert_close(ranked.scores, scores, atol=1e-5, rtol=1e-5)
    everything = world.model.generate(world.batch, NUM_ITEMS)
    assert (everything.item_ids.sort(dim=1).values == torch.arange(1, NUM_ITEMS + 1)).all()
    assert (everything.scores.diff(dim=1) <= 0).all()


@torch.no_grad()
def test_a_narrow_beam_returns_distinct_items_with_their_own_scores(world):
    ranked = world.model.generate(world.batch, 5, beam_size=5)
    assert ((ranked.item_ids >= 1) & (ranked.item_ids <= NUM_ITEMS)).all()
    assert all(len(set(row)) == 5 for row in ranked.item_ids.tolist())
    assert (ranked.scores.diff(dim=1) <= 0).all()
    torch.testing.assert_close(ranked.scores, world.scores().gather(1, ranked.item_ids), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_predict_is_the_score_of_the_candidate(world):
    batch = world.batch[torch.arange(len(world.batch))]
    candidates = torch.arange(len(batch)) % NUM_ITEMS + 1
    batch.update(Interaction({"item_id": candidates}))
    scores = world.scores()
    expected = scores.gather(1, candidates[:, None]).squeeze(1)
    torch.testing.assert_close(world.model.predict(batch), expected, atol=1e-5, rtol=1e-5)
    assert (scores[:, 0] == -torch.inf).all()
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))  # code_softmax: legal


@torch.no_grad()
def test_a_user_alone_gets_what_he_gets_in_a_batch(world):
    together = world.model.generate(world.batch, 10)
    for user in (0, 7, len(world.batch) - 1):
        alone = world.model.generate(world.batch[torch.tensor([user])], 10)
        assert torch.equal(alone.item_ids[0], together.item_ids[user])
        torch.testing.assert_close(alone.scores[0], together.scores[user], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_is_excluded_is_left_out_and_changes_no_other_score(world):
    history = world.batch["item_id_list"]
    ranked = world.model.generate(world.batch, 10, exclude=history)
    scores = world.scores().scatter(1, history, -torch.inf)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    torch.testing.assert_close(ranked.scores, scores.topk(10).values, atol=1e-5, rtol=1e-5)
    stock = torch.tensor([2, 3, 5, 7, 11])
    ranked = world.model.generate(world.batch, 6, allowed_items=world.model.trie.allow(stock))
    assert (ranked.item_ids[:, :5].sort(dim=1).values == stock).all()
    assert (ranked.item_ids[:, 5] == 0).all() and (ranked.scores[:, 5] == -torch.inf).all()


@torch.no_grad()
def test_the_weights_come_back_and_only_to_the_same_semantic_ids(world):
    twin = world.new_model(seed=3)
    assert not torch.equal(twin.full_sort_predict(world.batch), world.scores().flatten())
    twin.load_state_dict(world.model.state_dict())
    twin.load_other_parameter(world.model.other_parameter())
    assert torch.equal(twin.full_sort_predict(world.batch), world.scores().flatten())
    for other in ({"semantic_id_fingerprint": "0" * 64}, {}, None):
        with pytest.raises(ValueError, match="the checkpoint was trained on semantic IDs .* train again"):
            twin.load_other_parameter(other)


def test_a_trainer_refuses_weights_of_other_semantic_ids(make_world):
    world = make_world("MGRLF", "hierarchical")
    trainer = GenerativeTrainer(world.config, world.model)
    trainer._save_checkpoint(0, verbose=False)
    other = make_world("MGRLF", "hierarchical", semantic_id_seed=5)
    assert other.model.semantic_ids.fingerprint != world.model.semantic_ids.fingerprint
    with pytest.raises(ValueError, match="features, items or settings changed"):
        GenerativeTrainer(other.config, other.model).evaluate(other.test, model_file=trainer.saved_model_file)


@pytest.mark.parametrize("mode", ["full", "uni15"])
@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_metrics_are_those_of_recboles_own_path_over_scores(make_world, backbone, mode):
    world = make_world("MGRLFpp", backbone, eval_args=_args(mode))
    results = []
    for trainer_class in (GenerativeTrainer, Trainer):
        trainer = trainer_class(world.config, world.model)
        trainer.eval_collector.data_collect(world.train)
        np.random.seed(0)  # draws the negatives
        results.append(trainer.evaluate(world.test, load_best_model=False))
    assert results[0] == results[1]
    assert results[0]["recall@10"] > 0
    assert len(results[0]) == len(ITEM_METRICS) * 2


def _args(mode: str) -> dict:
    return {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": mode}


@pytest.mark.parametrize("mode", ["full", "uni15"])
def test_masked_metrics_rank_the_target_among_unseen_items(make_world, mode):
    world = make_world("MGRLFpp", "hierarchical", eval_args=_args(mode), mask_history=True)
    trainer = GenerativeTrainer(world.config, world.model)
    trainer.eval_collector.data_collect(world.train)
    trainer.evaluate(world.test, load_best_model=False)
    ranking = trainer.eval_collector.ranking
    history = dict(zip(world.batch["user_id"].tolist(), world.batch["item_id_list"].tolist(), strict=True))
    for user, listed in zip(ranking.users, ranking.item_ids, strict=True):
        seen = set(history[user]) - {0}
        assert seen and not seen & set(listed.tolist())
    if mode == "full":
        scores = world.scores().scatter(1, world.batch["item_id_list"], -torch.inf)
        own = world.scores().gather(1, world.batch["item_id"][:, None])
        ranks = 1 + (scores > own).sum(dim=1)
        assert ranking.ranks.tolist() == torch.where(ranks <= 10, ranks, 0).tolist()


def test_the_trainer_does_not_mask_unless_told(make_world):
    world = make_world("MGRLFpp", "hierarchical")
    trainer = GenerativeTrainer(world.config, world.model)
    trainer.eval_collector.data_collect(world.train)
    trainer.evaluate(world.test, load_best_model=False)
    assert np.array_equal(trainer.eval_collector.ranking.item_ids, world.scores().topk(10).indices.numpy())
