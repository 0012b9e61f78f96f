"""Models with an item softmax, a memory and popularity: how items are ranked, and what is kept."""

import logging

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import init_seed
from scipy import sparse

import recbole_mgr.generation.priors as priors
import recbole_mgr.model.backbone.item_softmax as item_softmax
from recbole_mgr.generation.item_memory import Counts, FittedMemory, MemorySettings
from recbole_mgr.generation.ridge import largest_of_rows
from recbole_mgr.integration.config import default_settings, make_config
from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.model.memory import MemoryPrior, item_likeness
from recbole_mgr.model.priors import Candidates, PartWeights

NUM_ITEMS = 24
ALL = {"item_softmax": True, "memory": True, "popularity": True}
WEIGHTS = {"codes": 0.6, "item_softmax": 0.4, "memory": 0.7, "popularity": 0.2}


class World:
    def __init__(self, settings: dict, name: str = "MGRLFpp", **changes):
        self.config = make_config(name, "tiny", [], {**settings, **changes})
        self.train, self.valid, self.test = data_preparation(self.config, create_dataset(self.config))
        init_seed(1, True)
        self.model = self.config.model_class(self.config, self.train._dataset).eval()
        for name, parameter in self.model.named_parameters():
            if "item_softmax" in name and parameter.dim() == 2:  # far from equal scores
                torch.nn.init.normal_(parameter, std=0.5)
        self.batch = self.test._dataset.inter_feat

    @torch.no_grad()
    def scores(self) -> torch.Tensor:
        return self.model.full_sort_predict(self.batch).view(-1, NUM_ITEMS + 1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def make_world(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("priors")
    write_dataset(folder, num_items=NUM_ITEMS)
    settings = tiny_settings(folder, beam_size=10, n_layers=1, t5_head_size=8)
    return lambda name="MGRLFpp", **changes: World(settings, name, **changes)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(**ALL, prior_weights=WEIGHTS)


@pytest.fixture(scope="module", params=["hierarchical", "t5"])
def either_world(request, make_world):
    own = {"memory": True, "popularity": True}
    if request.param == "hierarchical":
        return make_world(**ALL, prior_weights=WEIGHTS)
    return make_world("MGRLF", backbone="t5", **own, prior_weights={"codes": 1.0, "memory": 0.7, "popularity": 0.2})


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
    state = model.backbone.start(batch["item_id_list"], batch["item_length"])
    priors = model._priors(state, batch["item_id_list"], batch["item_length"])
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
def test_pushed_down_the_trie_they_give_a_distribution(make_world):
    world = make_world(**ALL, prior_weights=WEIGHTS | {"codes": 1.0}, ranking="beams", beam_size=NUM_ITEMS)
    scores = world.scores()
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
    ranked = world.model.generate(world.batch, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    world.batch.update(Interaction({"item_id": ranked.item_ids[:, 3]}))
    torch.testing.assert_close(world.model.predict(world.batch), ranked.scores[:, 3])
    assert not torch.allclose(scores, make_world(beam_size=NUM_ITEMS).scores())


@torch.no_grad()
@pytest.mark.parametrize("ranking", ["union", "beams"])
def test_a_large_catalogue_is_searched_in_blocks_with_equal_lists(make_world, monkeypatch, ranking):
    world = make_world(**ALL, prior_weights=WEIGHTS, ranking=ranking)
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


@pytest.mark.parametrize("rows_at_once", [2, 100])
def test_the_loss_a_few_rows_at_a_time_is_the_cross_entropy_of_all_scores(make_world, monkeypatch, rows_at_once):
    part = make_world(item_softmax=True).model.backbone.item_softmax
    part.repeat_score.data.fill_(-0.01)
    monkeypatch.setattr(item_softmax, "VALUES_IN_CACHE", rows_at_once * NUM_ITEMS)
    draw = torch.Generator().manual_seed(1)
    hidden = torch.randn(7, part.embedding.shape[1], generator=draw, requires_grad=True)
    items = torch.randint(1, NUM_ITEMS + 1, (7,), generator=draw)
    history = torch.stack([torch.randperm(NUM_ITEMS + 1, generator=draw)[:5] for _ in items])
    names, weights = zip(*part.named_parameters(), strict=True)
    loss = part.loss(hidden, items, history)
    found = torch.autograd.grad(3 * loss, (hidden, *weights))
    plain = torch.nn.functional.cross_entropy(part.scores(hidden, history)[:, 1:], items - 1)
    expected = torch.autograd.grad(3 * plain, (hidden, *weights))
    torch.testing.assert_close(loss, plain)
    for name, own, other in zip(("hidden", *names), found, expected, strict=True):
        torch.testing.assert_close(own, other, msg=lambda text, name=name: f"{name}: {text}")


def test_items_alone_need_no_codes(make_world):
    world = make_world(item_softmax=True, code_weight=0)
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


def test_the_memory_has_seen_training_interactions_alone(make_world):
    world = make_world(memory=True, memory_options={"content_weight": 0, "max_entries": NUM_ITEMS + 1})
    dataset = world.train._dataset
    users, histories = world.batch["user_id"].tolist(), world.batch["item_id_list"].tolist()
    sequences = dataset.training_sequences
    for user, history in zip(users, histories, strict=True):  # the test history less the validation item
        own = slice(*sequences.starts[user : user + 2])
        assert sequences.item_ids[own].tolist() == [item for item in history if item][:-1]
    settings = MemorySettings(max_entries=None)
    plain = FittedMemory.fit(Counts.of(sequences, NUM_ITEMS, settings), settings).weights
    found = torch.zeros_like(plain).scatter(1, world.model.memory.targets.long(), world.model.memory.weights)
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("entries", [6, 2])
def test_new_items_get_what_those_like_them_have(entries):
    generator = np.random.default_rng(0)
    known = generator.normal(size=(7, 7)) * (generator.random((7, 7)) < 0.4)
    known[0] = known[:, 0] = known[5:] = known[:, 5:] = 0  # items 5 and 6 are new
    likeness = np.zeros((7, 7))
    likeness[5, [1, 2]], likeness[6, 4] = [0.7, 0.3], 1.0
    memory = MemoryPrior(6, MemorySettings(max_entries=entries), 0.003)
    weights, targets = largest_of_rows(sparse.csr_matrix(known), entries)
    memory.weights.copy_(weights), memory.targets.copy_(targets)
    known = np.zeros((7, 7))
    np.add.at(known, (np.arange(7)[:, None], targets.numpy()), weights.numpy())
    memory.let_in(sparse.csr_matrix(likeness))
    found = np.zeros((7, 7))
    np.add.at(found, (np.arange(7)[:, None], memory.targets.numpy()), memory.weights.numpy())
    others = known - np.diag(known.diagonal())  # what an item says of itself is not passed on

    def of_alike(rows):  # means of the rows of those alike, as long as these are on average
        means = likeness @ rows
        lengths = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
        return means * (likeness @ np.linalg.norm(rows, axis=1) / lengths)[:, None]

    following = of_alike(others.T).T
    expected = known + following + of_alike(others + following)
    smallest = -np.sort(-np.abs(expected), axis=1)[:, entries - 1 : entries]
    np.testing.assert_allclose(found, np.where(np.abs(expected) >= smallest, expected, 0), atol=1e-6)


def test_what_a_memory_knew_of_items_that_count_as_new_is_forgotten():
    generator = np.random.default_rng(1)
    known = np.pad(generator.normal(size=(6, 6)), (1, 0))
    without = known.copy()
    without[5:] = without[:, 5:] = 0
    likeness = np.zeros((7, 7))
    likeness[5, [1, 2]], likeness[6, 4] = [0.7, 0.3], 1.0
    found = []
    for matrix in (known, without):
        memory = MemoryPrior(6, MemorySettings(max_entries=7), 0.003)
        memory.weights.copy_(torch.from_numpy(matrix)), memory.targets.copy_(torch.arange(7))
        memory.let_in(sparse.csr_matrix(likeness))
        found.append(torch.zeros(7, 7).scatter(1, memory.targets.long(), memory.weights))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("weights", [WEIGHTS, {**WEIGHTS, "codes": 0.0}])
def test_offsets_are_added_to_scores(make_world, weights):
    world = make_world(**ALL, prior_weights=weights)
    before, masks = world.scores(), {"exclude": world.batch["item_id_list"]}
    offsets = torch.zeros(NUM_ITEMS + 1)
    offsets[[7, 9]] = torch.tensor([2.0, -1.0])
    world.model.offset_scores(offsets)
    added = world.scores() - before
    torch.testing.assert_close(added[:, 1:] - added[:, 1:2], (offsets[1:] - offsets[1]).expand_as(added[:, 1:]))
    everything = torch.arange(1, NUM_ITEMS + 1).expand(len(before), -1)
    torch.testing.assert_close(world.model.score_items(world.batch, everything), world.scores()[:, 1:])
    parts = world.model.score_parts(world.batch, everything)
    torch.testing.assert_close(sum(parts.values()), world.scores()[:, 1:])
    allowed = world.model.trie.allow(torch.arange(3, 20))
    ranked = world.model.generate(world.batch, 5, beam_size=NUM_ITEMS, allowed_items=allowed, **masks)
    expected = world.scores().scatter(1, masks["exclude"], -torch.inf)[:, 3:20].topk(5)
    assert torch.equal(ranked.item_ids, expected.indices + 3)
    torch.testing.assert_close(ranked.scores, expected.values)


def test_offsets_need_scores_that_are_summed(make_world):
    for settings in ({}, {**ALL, "prior_weights": WEIGHTS, "ranking": "beams"}):
        world = make_world(**settings)
        before = world.scores()
        world.model.offset_scores(torch.arange(NUM_ITEMS + 1.0))
        assert torch.equal(world.scores(), before)


@pytest.mark.parametrize("dense", [True, False])
def test_new_items_are_as_probable_as_those_like_them(make_world, monkeypatch, dense):
    world = make_world(item_softmax=True, item_vector_dropout=0.0)
    part = world.model.backbone.item_softmax
    torch.nn.init.normal_(part.item_bias)
    part.repeat_score.data.fill_(-0.02)
    hidden, history = torch.randn(5, 16), torch.tensor([[1, 24], [2, 0], [3, 4], [23, 5], [22, 6]])
    with torch.no_grad():
        before = part.scores(hidden, torch.zeros_like(history))  # of known items nobody has
        likeness = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
        likeness[24, [1, 3]], likeness[22, 2] = [0.7, 0.3], 1.0  # item 23 is new, too, and like no other
        part.let_in(sparse.csr_matrix(likeness))
        if not dense:
            monkeypatch.setattr(item_softmax, "DENSE_ITEMS", NUM_ITEMS - 1)
            monkeypatch.setattr(priors, "SCORES_AT_A_TIME", 5 * 7)  # seven items at a time
        prior = part.prior(world.model.trie, hidden, history)
        found = prior.log_probs(torch.arange(1, NUM_ITEMS + 1).expand(5, -1))
    expected = before.clone()
    expected[:, 24] = (0.7 * before[:, 1].exp() + 0.3 * before[:, 3].exp()).log()
    expected[:, 22] = before[:, 2]
    for user, items in enumerate(history.tolist()):  # what a user has counts for itself, not for what is like it
        for item in filter(None, items):
            expected[user, item] += item_softmax.STRETCH * -0.02
    torch.testing.assert_close(found, expected[:, 1:].log_softmax(dim=1))
    assert prior.best(4).tolist() == (expected[:, 1:].topk(4).indices + 1).tolist()


def test_own_vectors_are_left_out_in_training_alone(make_world):
    part = make_world(item_softmax=True, item_vector_dropout=0.5).model.backbone.item_softmax
    codes_alone = part.keys() - part.item_vectors
    torch.manual_seed(2)
    part.train()
    own = (part.keys() - codes_alone) / part.item_vectors  # of each item its own vector twice, or not at all
    assert set(own[:, 0].detach().round(decimals=3).tolist()) == {0.0, 2.0}
    torch.testing.assert_close(own, own[:, :1].expand_as(own), atol=1e-3, rtol=1e-3)


def test_what_grows_with_a_large_catalogue_is_said(make_world, monkeypatch, caplog):
    make_world(memory=True)
    assert "grows with the catalogue" not in caplog.text
    monkeypatch.setattr("recbole_mgr.model.generative.DENSE_ITEMS", NUM_ITEMS - 1)
    make_world(memory=True)
    assert f"memory: their cost in training grows with the catalogue, and there are {NUM_ITEMS} items" in caplog.text


def test_content_is_what_the_items_vectors_say(make_world):
    world = make_world(memory=True)
    likeness = item_likeness(world.train._dataset)
    np.testing.assert_allclose(likeness.sum(axis=1).A1[1:], 1.0, rtol=1e-5)


def test_weights_are_those_with_the_best_ndcg():
    weights = PartWeights(["codes", "item_softmax", "memory"], None)
    assert weights.as_dict() == {"codes": 0.5, "item_softmax": 0.5, "memory": 1.0}
    generator = torch.Generator().manual_seed(0)
    item_ids = torch.arange(1, 13).repeat(40, 1)
    log_probs = {part: torch.randn(40, 12, generator=generator) for part in weights.parts}
    truth = {"codes": 0.25, "item_softmax": 0.75, "memory": 1.5}
    targets = 1 + sum(truth[part] * values for part, values in log_probs.items()).argmax(dim=1)
    batches = [(Candidates(item_ids, log_probs), targets)]
    assert weights.choose(batches, k=10) == truth == weights.as_dict()


def test_the_trainer_chooses_weights_on_validation_and_keeps_them(make_world, caplog):
    world = make_world(**ALL, epochs=2)
    assert world.model.chooses_weights
    trainer = GenerativeTrainer(world.config, world.model)
    caplog.set_level(logging.INFO)
    trainer.fit(world.train, world.valid, saved=True, show_progress=False)
    assert "weights: codes" in caplog.text
    kept = torch.load(trainer.saved_model_file, weights_only=False)["state_dict"]["part_weights.values"]
    world.model.part_weights.set(dict.fromkeys(world.model.part_weights.parts, 9.0))
    trainer.evaluate(world.test, load_best_model=True)
    assert torch.equal(world.model.part_weights.values, kept) and (kept != 9).all()
    (note,) = world.model.notes
    assert note.endswith(", ".join(f"{part} {w:g}" for part, w in world.model.part_weights.as_dict().items()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_softmax": True, "backbone": "t5"}, "item_softmax: needs backbone: hierarchical"),
        ({"code_weight": 0}, "code_weight: 0 leaves nothing to learn"),
        ({"memory": True, "memory_options": {"ridge": 0}}, "memory_options: ridge: 0 must be a number > 0"),
        ({"memory": True, "memory_options": {"rigde": 1}}, "memory_options has no key 'rigde'; did you mean 'ridge'"),
        ({"memory": True, "prior_weights": {"popularity": 1}}, "prior_weights: .*popularity.* is not among"),
        ({"memory": True, "ranking": "beams"}, "prior_weights: auto is chosen for ranking: union"),
        ({"memory": True, "ranking": "beams", "code_softmax": "full"}, "needs code_softmax: legal"),
        ({"ranking": "items"}, "ranking: 'items' must be one of"),
        ({"memory_floor": 0}, "memory_floor: 0 must be a number > 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, write_dataset, tiny_settings, changes, message):
    write_dataset(tmp_path)
    with pytest.raises(ValueError, match=message):
        make_config("MGRLF", "tiny", [], {**tiny_settings(tmp_path), **changes})


def test_a_preset_gives_defaults_that_a_users_settings_beat(tmp_path, write_dataset, tiny_settings):
    write_dataset(tmp_path)
    settings = tiny_settings(tmp_path)
    default = {key: value for key, value in settings.items() if key != "preset"}
    assert make_config("MGRLFpp", "tiny", [], default)["memory"] and default_settings("MGRLFpp")["branch_size"] == 32
    for name, changes in (("MGRLF", {}), ("MGRLFpp", {"preset": None})):
        assert not any(make_config(name, "tiny", [], {**default, **changes})[key] for key in ("memory", "branch_size"))
    with pytest.raises(ValueError, match="preset: best asks for it, preset: None does not"):
        make_config("MGRLFpp", "tiny", [], {**default, "backbone": "t5"})
    best = make_config("MGRLFpp", "tiny", [], {**settings, "preset": "best", "memory": False})
    assert best["item_softmax"] and best["branch_size"] == 32 and best["alignment_epochs"] == 0
    assert not best["memory"] and best["epochs"] == settings["epochs"] == best["eval_step"] == 1
    assert make_config("TIGER", "tiny", [], {**settings, "modalities": ["text"], "preset": "best"})["memory"]
    paper = make_config("MGRLFpp", "tiny", [], {**settings, "preset": "paper"})
    assert (paper["backbone"], paper["code_softmax"], paper["quantizer"]) == ("t5", "full", "rqvae")
    assert paper["transitions"] and not paper["item_softmax"]
    with pytest.raises(ValueError, match="preset: 'worst' must be"):
        make_config("MGRLFpp", "tiny", [], {**settings, "preset": "worst"})
