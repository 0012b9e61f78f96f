"""What RecBole, the pipeline and a table may expect of every closed-form baseline."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.utils import get_trainer

from recbole_mgr.baselines.closed_form import next_choice
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.dataset import CheckedDataset, training_sequences
from recbole_mgr.integration.registry import CLOSED_FORM, is_generative
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.table_page import markdown

QUIET = {"gpu_id": "", "show_progress": False, "state": "ERROR", "topk": [5, 10], "floors": False}


@pytest.fixture
def settings(tmp_path, write_dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path)
    return {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), **QUIET}


def prepared(settings, name, **changes):
    """A fitted model and its three loaders."""
    config = make_config(name, "tiny", [], {**settings, **changes})
    loaders = data_preparation(config, create_dataset(config))
    model = config.model_class(config, loaders[0]._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    trainer.fit(loaders[0], loaders[1], show_progress=False)
    return model, loaders, trainer


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_a_baseline_scores_every_item_as_recbole_asks(settings, name):
    model, loaders, trainer = prepared(settings, name, metrics=["Recall", "NDCG", "GiniIndex", "ItemCoverage"])
    assert not is_generative(name) and isinstance(loaders[0]._dataset, CheckedDataset)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 0
    batch = loaders[2]._dataset.inter_feat
    scores = model.full_sort_predict(batch).view(len(batch), -1)
    assert scores.shape[1] == model.n_items and (scores[:, 0] == -torch.inf).all() and scores[:, 1:].isfinite().all()
    torch.testing.assert_close(model.predict(batch), scores[torch.arange(len(batch)), batch["item_id"]])
    assert torch.equal(model.full_sort_predict(batch[:1]), scores[0])
    recall = trainer.evaluate(loaders[2], load_best_model=False)["recall@10"]
    assert 0 < recall <= 1 and recall == trainer.evaluate(loaders[2], load_best_model=True)["recall@10"]


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_recboles_own_functions_train_and_load_it(settings, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["test"])
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 0.0)
    result = run_recbole(name, "tiny", config_dict=settings)["test_result"]
    (file,) = Path("saved").glob("*.pth")
    config, model, _, train, _, test = load_data_and_model(str(file))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train)
    assert trainer.evaluate(test, load_best_model=False) == result


def test_they_stand_in_one_table_with_others_and_are_read_back(settings, tiny_settings, capsys):
    requests = [ModelRequest(name, {}) for name in ("TIGER", "Pop", *CLOSED_FORM)]
    settings = {**tiny_settings(Path(settings["data_path"])), **settings, "modalities": ["text"], "n_layers": 1}
    first = run_comparison(requests, "tiny", settings=settings)
    again = run_comparison(requests, "tiny", settings=settings)
    assert capsys.readouterr().out.count("finished before") == 6
    for one, other in zip(first.results, again.results, strict=True):
        assert (one.test, one.test_masked, one.notes) == (other.test, other.test_masked, other.notes)
    assert "| HistoryAgain |" in markdown(first)


def test_settings_are_tried_one_after_the_other_and_the_best_is_kept():
    grid = {"a": [1, 2, 3], "b": [10], "c": [5, 6]}
    worth = {(1, 5): 0.1, (2, 5): 0.4, (3, 5): 0.2, (2, 6): 0.3}
    scores, tried = [], []
    while (choice := next_choice(grid, scores)) is not None:
        tried.append((choice["a"], choice["c"]))
        scores.append(worth[tried[-1]])
    assert tried == [(1, 5), (2, 5), (3, 5), (2, 6)]


def test_the_choice_is_made_on_validation_told_and_survives_an_interruption(settings, monkeypatch):
    grid = {"ridge": [1000.0, 1.0], "history_decay": [1.0, 0.1], "max_entries": None}
    request = [ModelRequest("ItemMemory", grid)]
    whole = run_comparison(request, "tiny", settings=settings).results[0]
    assert whole.epochs == 3
    assert whole.notes[0].startswith("chosen on validation: history_decay 0.1, ridge ")

    from recbole_mgr.baselines.item_memory import ItemMemory

    fit, fits = ItemMemory.fit, []

    def interrupted(self, sequences, chosen):
        fits.append(chosen)
        if len(fits) == 3:
            raise KeyboardInterrupt
        fit(self, sequences, chosen)

    monkeypatch.setattr(ItemMemory, "fit", interrupted)
    settings = {**settings, "checkpoint_dir": "again"}
    with pytest.raises(KeyboardInterrupt):
        run_comparison(request, "tiny", settings=settings)
    resumed = run_comparison(request, "tiny", settings=settings).results[0]
    assert len(fits) == 4 and fits[3] == fits[2]  # what was fitted before is not fitted again
    assert (resumed.test, resumed.valid, resumed.notes) == (whole.test, whole.valid, whole.notes)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_a_refit_has_seen_the_validation_items_and_says_so(settings, name):
    plain, loaders, _ = prepared(settings, name)
    refitted, _, _ = prepared(settings, name, refit_on_validation=True)
    by_hand, _, _ = prepared(settings, name)
    by_hand.fit(training_sequences(loaders[0]._dataset, loaders[1]._dataset), by_hand.chosen)
    batch = loaders[2]._dataset.inter_feat
    assert torch.equal(refitted.full_sort_predict(batch), by_hand.full_sort_predict(batch))
    assert not torch.equal(refitted.full_sort_predict(batch), plain.full_sort_predict(batch))
    own = ModelRequest(name, {"refit_on_validation": True})
    comparison = run_comparison([ModelRequest(name, {}), own], "tiny", settings=settings)
    assert list(comparison.rows)[0] == name and "(refitted with validation)" in list(comparison.rows)[1]
    assert "which other rows do not see" in markdown(comparison)
    assert comparison.results[0].valid == comparison.results[1].valid  # the choice is made before


@pytest.mark.parametrize("longest", [1, 3, 50])
def test_training_sequences_are_those_of_the_file_without_the_last_two(settings, longest):
    rows = [line.split("\t") for line in Path("tiny/tiny.inter").read_text().splitlines()[1:]]
    config = make_config("HistoryAgain", "tiny", [], {**settings, "MAX_ITEM_LIST_LENGTH": longest})
    dataset = create_dataset(config)
    train, valid, _ = dataset.build()
    for sequences, held_out in ((train.training_sequences, 2), (training_sequences(train, valid), 1)):
        for user, token in enumerate(dataset.field2id_token["user_id"]):
            items = [item for own, item, _ in rows if own == token][:-held_out]
            ids = sequences.item_ids[sequences.starts[user] : sequences.starts[user + 1]]
            assert dataset.field2id_token["item_id"][ids].tolist() == items


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("ItemMemory", "ridge", 0),
        ("ItemMemory", "ridge", [10, 10]),
        ("ItemMemory", "history_decay", 1.5),
        ("ItemMemory", "content_weight", "much"),
        ("ItemMemory", "max_entries", 0),
        ("ItemMemory", "precision", "float16"),
        ("ItemMemory", "modalities", ["text", "text"]),
        ("ItemMemory", "modalities", ["smell"]),
        ("ItemMemory", "semantic_ids", "nowhere.tsv"),
        ("TGH", "ring_sizes", [7, -1]),
        ("TGH", "edge_weight", -1),
        ("HistoryAgain", "refit_on_validation", "perhaps"),
        ("HistoryAgain", "ridge", 1),
    ],
)
def test_bad_settings_are_refused_by_name(settings, name, key, value):
    with pytest.raises(ValueError, match=key):
        run_comparison([ModelRequest(name, {key: value})], "tiny", settings=settings)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_tried(settings, monkeypatch):
    monkeypatch.setattr("recbole_mgr.baselines.item_memory.dense_bytes", lambda *_: 2**60)
    with pytest.raises(ValueError, match="dense_items"):
        prepared(settings, "ItemMemory")
    prepared(settings, "ItemMemory", dense_items=5)  # on a support instead


def test_results_are_plain_data(settings):
    (result,) = run_comparison([ModelRequest("ItemMemory", {})], "tiny", settings=settings).results
    json.dumps(result.plain())
    assert result.parameters == 0 and isinstance(result.ranks, np.ndarray)
