"""UniMP through training and the test of each task on an emulated GPU: nothing lies on the wrong side."""

import pytest
import torch
from device_emulator import DEVICE, EmulatedTensor, emulated_gpu
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed
from tiny_shop import TASKS, shop_settings, write_shop

from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.trainer import comparable


def test_every_task_is_learned_and_tested_on_the_emulated_gpu(tmp_path, write_dataset, tiny_settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path, write_dataset)
    settings = shop_settings(tiny_settings, tmp_path, epoch_rows=8, task_cases=4)
    losses, results = [], []
    for device in (torch.device("cpu"), DEVICE):
        with emulated_gpu():
            config = make_config("UniMP", "tiny", [], settings)
            config["device"] = device
            init_seed(1, True)
            train, valid, test = data_preparation(config, create_dataset(config))
            model = config.model_class(config, train._dataset).to(device)
            trainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
            trainer.fit(train, valid, verbose=False)
            losses.append(trainer.train_loss_dict[0])
            results.append(trainer.evaluate_tasks(test))
            trained = {type(parameter.data) for parameter in model.parameters() if parameter.requires_grad}
            assert trained == {EmulatedTensor if device == DEVICE else torch.Tensor}
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    for result in results:
        assert [task["task"] for task in result] == TASKS[1:]
