"""What only a real GPU shows; skipped without one."""

import numpy as np
import pytest
import torch
from recbole.utils import init_seed
from test_device_placement import GENERATIVE_KEYS, STILL, VARIANTS, lists_of, trained

from recbole_mgr.integration.collector import best_scores

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings_of(tmp_path, write_dataset, tiny_settings):
    """The settings of a variant, on data that fill one batch and a part of another."""
    write_dataset(tmp_path, num_users=20)

    def settings_of(name, **changes):
        settings = tiny_settings(tmp_path, **{**STILL, **VARIANTS[name], **changes})
        return {key: value for key, value in settings.items() if name != "SASRec" or key not in GENERATIVE_KEYS}

    return settings_of


@pytest.mark.parametrize("name", VARIANTS)
def test_results_are_those_of_the_cpu(name, settings_of):
    reference, test = trained(settings_of(name), name, torch.device("cpu"))
    expected = [lists_of(reference, test, masked=masked) for masked in (False, True)]
    trainer, test = trained(settings_of(name), name, GPU)
    assert trainer.train_loss_dict == pytest.approx(reference.train_loss_dict, rel=1e-3)
    trainer.model.load_state_dict(reference.model.state_dict())
    for masked, (metrics, item_ids) in zip((False, True), expected, strict=True):
        own_metrics, own_item_ids = lists_of(trainer, test, masked=masked)
        np.testing.assert_array_equal(own_item_ids, item_ids)
        assert own_metrics == pytest.approx(metrics)


@pytest.mark.parametrize("name", ["MGRLFpp-ours", "MGRLF-t5", "MGRLF-full-softmax"])
def test_a_recorded_training_is_the_same_training(name, settings_of):
    """Of batches of two shapes, several times each."""
    plain, _ = trained(settings_of(name, train_batch_size=16, epochs=3), name, GPU)
    recorded, _ = trained(settings_of(name, train_batch_size=16, epochs=3, compile=True), name, GPU)
    assert recorded.train_loss_dict == pytest.approx(plain.train_loss_dict, rel=1e-4)
    weights = dict(plain.model.named_parameters())
    for weight, found in recorded.model.named_parameters():
        torch.testing.assert_close(found, weights[weight], atol=1e-4, rtol=1e-3, msg=weight)


def test_mixed_precision_is_bfloat16(settings_of):
    exact, _ = trained(settings_of("MGRLFpp-ours"), "MGRLFpp", GPU)
    mixed, _ = trained(settings_of("MGRLFpp-ours", enable_amp=True), "MGRLFpp", GPU)
    assert torch.get_autocast_dtype("cuda") == torch.bfloat16
    assert mixed.train_loss_dict == pytest.approx(exact.train_loss_dict, rel=0.02)
    assert mixed.train_loss_dict != exact.train_loss_dict


def test_equal_scores_are_ranked_the_same_each_time():
    init_seed(1, True)
    scores = torch.randint(0, 5, (300, 2000), device=GPU).float()
    expected = np.argsort(-scores.cpu().numpy(), axis=1, kind="stable")[:, :10]
    for _ in range(3):
        np.testing.assert_array_equal(best_scores(scores, 10)[1].cpu().numpy(), expected)
