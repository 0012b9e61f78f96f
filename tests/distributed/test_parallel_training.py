"""What several processes train and measure is what one does: every step, the weights, every ranked list."""

import re

import pytest
import torch
from as_alone import assert_as_alone
from parallel_work import prepared, trained
from tiny_shop import shop_settings, write_shop
from together import together

from recbole_mgr.integration.config import settings_read
from recbole_mgr.integration.parallel import refuse_indivisible

OURS = {"n_layers": 1, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "eval_batch_size": 8}
BASELINE = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "hidden_size": 16, "inner_size": 32, "n_layers": 1}
MODELS = {
    # the stage before the training, the loss beside it, and priors whose weights are chosen on validation
    "MGRLFpp": {
        **OURS,
        "alignment_epochs": 2,
        "alignment_batch_size": 8,
        "alignment_weight": 0.5,
        "item_softmax": True,
        "memory": True,
    },
    "TIGER": {**OURS, "modalities": ["text"], "backbone": "t5", "weight_decay": 0.1},
    "UniMP": {"tasks": ["recommendation", "explanation", "selection"]},
    "SASRec": BASELINE,
    "SASRecWindows": BASELINE,
    "BPR": {"embedding_size": 8},  # draws negatives
    "Pop": {},
    "ItemMemory": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("parallel")
    write_dataset(folder)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, write_dataset)
    return folder


def settings_of(name: str, folder, **changes) -> dict:
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": "saved",
        "epochs": 2,
        "train_batch_size": 7,  # odd shares, and a last batch of fewer rows than processes
        "topk": [5, 10],
        "gpu_id": "",
        "show_progress": False,
        "state": "ERROR",
    }
    if "n_layers" in MODELS[name] and "SASRec" not in name:
        settings |= {"hidden_size": 16, "inner_size": 32, "codebook_size": 4, "codebook_levels": 2, "beam_size": 10}
    return settings_read(name, {**settings, **MODELS[name], **changes})


@pytest.mark.parametrize("name", MODELS)
def test_three_processes_train_what_one_trains(name, folder, shop, tiny_settings):
    if name == "UniMP":
        settings = shop_settings(tiny_settings, shop, epochs=2, checkpoint_dir="saved", **MODELS[name])
    else:
        settings = settings_of(name, folder)
    alone, answers = trained(name, settings), together(3, trained, name, settings)
    assert_as_alone(alone, answers)


@pytest.mark.parametrize("name", ["TIGER", "SASRec"])
def test_workers_of_a_loader_bring_the_very_batches(name, folder):
    loaders = [prepared(name, settings_of(name, folder, worker=worker))[1:] for worker in (0, 2)]
    for plain, by_workers in zip(*loaders, strict=True):
        for _ in range(2):  # epochs
            for wanted, found in zip(plain, by_workers, strict=True):
                if not isinstance(wanted, tuple):
                    wanted, found = (wanted,), (found,)
                assert wanted[0].interaction.keys() == found[0].interaction.keys()
                assert all(torch.equal(found[0][column], wanted[0][column]) for column in wanted[0].interaction)
                assert all(torch.equal(a, b) for a, b in zip(wanted[2:], found[2:], strict=True))


@pytest.mark.parametrize("name", ["SASRec", "BPR"])
def test_processes_whose_loaders_have_workers_train_what_one_trains(name, folder):
    """RUCAIBox/RecBole#2154. Negatives are drawn by the workers, alike in each process."""
    settings = settings_of(name, folder, worker=2, epochs=1)
    assert_as_alone(trained(name, settings), together(2, trained, name, settings))


def test_a_model_that_is_larger_than_its_gpu_is_told(folder, monkeypatch):
    trainer, train, valid, _ = prepared("BPR", settings_of("BPR", folder))

    def too_large(_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.model, "calculate_loss", too_large)
    with pytest.raises(ValueError, match="train_batch_size: 7: a batch does not fit .* a GPU holds all its layers"):
        trainer.fit(train, valid, verbose=False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LightGCN", "LightGCN penalises the norm of a whole batch; train LightGCN in one process"),
        ("NCL", "NCL has a training loop of its own"),
        ("RecVAE", "RecVAE has a training loop of its own"),
        ("ENMF", "the loss of ENMF is not a mean over the rows of a batch"),
    ],
)
def test_what_cannot_be_divided_is_named(name, reason, folder):
    settings = settings_of("BPR", folder)
    del settings["embedding_size"]
    trainer, train, _, _ = prepared(name, settings)
    with pytest.raises(ValueError, match=re.escape(reason)):
        refuse_indivisible(trainer, train)
