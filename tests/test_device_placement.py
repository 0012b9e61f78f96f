"""All models but UniMP through training, resume, evaluation and generation on an emulated GPU.

The emulator computes on the CPU, so without dropout the results must be those of the CPU as well.
"""

import numpy as np
import pytest
import torch
from device_emulator import DEVICE, EmulatedTensor, emulated_gpu
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed

from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.integration.seen_items import mark_seen_items
from recbole_mgr.integration.trainer import comparable

# Adam makes whole steps of what rounding leaves of a gradient of 0, so steps are small
STILL = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "n_layers": 1, "n_heads": 2, "learning_rate": 1e-5}
ALIGNED = {"alignment_epochs": 1, "alignment_learning_rate": 1e-5}
VARIANTS = {
    "TIGER": {"modalities": ["text"]},
    "MGREF": {},
    "MGRLF-full-softmax": {"code_softmax": "full"},
    "MGRLF-t5": {"backbone": "t5", "t5_head_size": 8},
    "MGRLFpp": {**ALIGNED, "alignment_losses": ["infonce", "id_to_id"], "alignment_weight": 0.1},
    "MGRLFpp-ours": {**ALIGNED, "branch_size": 2, "learn_repeats": True},
    "MGRLFpp-t5": {"backbone": "t5", "t5_head_size": 8, **ALIGNED},
    "SASRec": {"train_neg_sample_args": None, "loss_type": "CE"},
}

GENERATIVE_KEYS = ("preset", "codebook_size", "codebook_levels", "beam_size")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(settings, name, device):
    """Trainer after one epoch, and the test loader."""
    config = make_config(name.partition("-")[0], "tiny", [], settings)
    config["device"] = device
    init_seed(1, True)
    dataset = create_dataset(config)
    histories = histories_of(dataset)
    train, valid, test = data_preparation(config, dataset)
    mark_seen_items(histories, valid._dataset, test._dataset)
    model = config.model_class(config, train._dataset).to(device)
    trainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
    trainer.fit(train, valid, verbose=False)
    return trainer, test


def lists_of(trainer, test, *, masked):
    """Metrics and ranked items of the weights that the trainer's model has now."""
    trainer.mask_history = masked
    metrics = trainer.evaluate(test, load_best_model=False)
    return metrics, trainer.eval_collector.ranking.item_ids


@pytest.mark.parametrize("name", VARIANTS)
def test_results_on_the_emulated_gpu_are_those_of_the_cpu(name, tmp_path, write_dataset, tiny_settings):
    write_dataset(tmp_path, num_users=20)
    settings = tiny_settings(tmp_path, **{**STILL, **VARIANTS[name]})
    if name == "SASRec":
        settings = {key: value for key, value in settings.items() if key not in GENERATIVE_KEYS}
    reference, test = trained(settings, name, torch.device("cpu"))
    expected = [lists_of(reference, test, masked=masked) for masked in (False, True)]
    with emulated_gpu():
        trainer, test = trained(settings, name, DEVICE)
        assert {type(parameter.data) for parameter in trainer.model.parameters()} == {EmulatedTensor}
        assert trainer.train_loss_dict == pytest.approx(reference.train_loss_dict, rel=1e-3)
        assert trainer.evaluate(test).keys() == expected[0][0].keys()  # with the best checkpoint, read from its file
        trainer.model.load_state_dict({key: value.to(DEVICE) for key, value in reference.model.state_dict().items()})
        for masked, (metrics, item_ids) in zip((False, True), expected, strict=True):
            own_metrics, own_item_ids = lists_of(trainer, test, masked=masked)
            np.testing.assert_array_equal(own_item_ids, item_ids)
            assert own_metrics == pytest.approx(metrics)


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_a_training_is_resumed_on_the_emulated_gpu(backbone, tmp_path, write_dataset, tiny_settings):
    write_dataset(tmp_path, num_users=20)
    settings = tiny_settings(tmp_path, **{**STILL, "backbone": backbone, "t5_head_size": 8, "epochs": 2})
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with emulated_gpu():
        config = make_config("MGRLFpp", "tiny", [], settings)
        config["device"] = DEVICE
        train, valid, _ = data_preparation(config, create_dataset(config))
        losses = []
        for stop_after in (1, 2):
            init_seed(1, True)
            model = config.model_class(config, train._dataset).to(DEVICE)
            trainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
            trainer.use_run_dir(run_dir)
            trainer.epochs = stop_after
            trainer.fit(train, valid, verbose=False)
            losses.append(dict(trainer.train_loss_dict))
    assert losses[1][0] == losses[0][0] and set(losses[1]) == {0, 1}


FAULTS = {
    "two devices": lambda here, there: here + there,
    "values": lambda here, there: here.numpy(),
    "array": lambda here, there: np.asarray(here),
    "indices": lambda here, there: there[here.long()],
    "generator": lambda here, there: torch.rand(3, device=DEVICE, generator=torch.Generator()),
    "new tensor": lambda here, there: here.scatter(0, torch.arange(3), 1.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulator_refuses_what_a_gpu_refuses(fault):
    with emulated_gpu(), pytest.raises((RuntimeError, TypeError)):
        FAULTS[fault](torch.ones(3, device=DEVICE), torch.ones(3))


def test_the_emulator_allows_what_a_gpu_allows():
    with emulated_gpu():
        here, there = torch.arange(3.0, device=DEVICE), torch.arange(3)
        assert (here * torch.tensor(2.0)).tolist() == [0, 2, 4]  # a number
        assert here[there].cpu().tolist() == [0, 1, 2]  # indices of the CPU
        assert here[[2, 0]].cpu().tolist() == [2, 0]  # a list
        here[there[:1]] = 5.0
        assert type(there.to(DEVICE)) is EmulatedTensor and here.cpu().numpy().tolist() == [5, 1, 2]
        layer = torch.nn.Linear(3, 1).to(DEVICE)
        layer(here).sum().backward()
        assert layer.weight.grad.device == DEVICE and layer.weight.grad.cpu().tolist() == [[5, 1, 2]]
