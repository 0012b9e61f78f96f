"""Which priors a model has, what they count, and the settings that say so."""

import logging

import pytest
import torch
from prior_world import ALL, NUM_ITEMS

from recbole_mgr.integration.config import default_settings, make_config
from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.model.priors import PartWeights
from recbole_mgr.model.ranking import Candidates


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


def test_the_trainer_chooses_weights_on_validation_and_keeps_them(make_prior_world, caplog):
    world = make_prior_world(**ALL, epochs=2)
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


def test_what_grows_with_a_large_catalogue_is_said(make_prior_world, monkeypatch, caplog):
    make_prior_world(memory=True)
    assert "grows with the catalogue" not in caplog.text
    monkeypatch.setattr("recbole_mgr.model.generative.DENSE_ITEMS", NUM_ITEMS - 1)
    make_prior_world(memory=True)
    assert f"memory: their cost in training grows with the catalogue, and there are {NUM_ITEMS} items" in caplog.text


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
