"""SASRecWindows is RecBole's SASRec, whose rows of one target each are the independent answer."""

import pytest
import torch
from recbole.data import create_dataset, data_preparation

from recbole_mgr.baselines import sasrec_windows
from recbole_mgr.integration.config import make_config

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "train_batch_size": 64}
QUIET = {"gpu_id": "", "state": "ERROR", "topk": [5], "valid_metric": "NDCG@5", "shuffle": False}


@pytest.fixture
def prepared(tmp_path, write_dataset, monkeypatch):
    """Function: a model with the weights of seed 0, and its training batches."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path)

    def make(name, **changes):
        config = make_config(name, "tiny", [], {**QUIET, **NO_DROPOUT, "data_path": str(tmp_path), **changes})
        train, _, test = data_preparation(config, create_dataset(config))
        torch.manual_seed(0)
        return config.model_class(config, train._dataset), list(train), test._dataset.inter_feat

    return make


def gradients_of_an_epoch(model, batches) -> dict[str, torch.Tensor]:
    """Of the mean over all targets, whatever rows they stand in."""
    targets = sum(sasrec_windows.count_targets(batch) for batch in batches)
    for batch in batches:
        (model.calculate_loss(batch) * sasrec_windows.count_targets(batch) / targets).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("scores_at_a_time", [1, 100, 2**22])
def test_an_epoch_over_windows_has_the_gradient_of_an_epoch_over_recboles_rows(prepared, monkeypatch, scores_at_a_time):
    """Where no history is longer than a window."""
    monkeypatch.setattr(sasrec_windows, "SCORES_AT_A_TIME", scores_at_a_time)
    theirs, rows, _ = prepared("SASRec")
    ours, windows, _ = prepared("SASRecWindows")
    assert sum(map(len, windows)) < sum(map(len, rows)) == sum(map(sasrec_windows.count_targets, windows))
    expected, found = gradients_of_an_epoch(theirs, rows), gradients_of_an_epoch(ours, windows)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_every_window_reads_no_further_than_its_own_items(prepared):
    ours, windows, _ = prepared("SASRecWindows", MAX_ITEM_LIST_LENGTH=4, window_stride=2)
    theirs, _, _ = prepared("SASRec", MAX_ITEM_LIST_LENGTH=4)
    losses, count = 0.0, 0
    for batch in windows:
        for row in range(len(batch)):
            history, length = batch["item_id_list"][row], int(batch["item_length"][row])
            items = [*history[:length].tolist(), int(batch["item_id"][row])]
            for place in range(length - int(batch["target_count"][row]), length):
                prefix = torch.tensor([items[: place + 1] + [0] * (3 - place)])
                state = theirs.forward(prefix, torch.tensor([place + 1]))
                losses -= (state @ theirs.item_embedding.weight.T).log_softmax(1)[0, items[place + 1]].item()
                count += 1
    total = sum(float(ours.calculate_loss(batch)) * sasrec_windows.count_targets(batch) for batch in windows)
    assert total / count == pytest.approx(losses / count, rel=1e-5)


def test_scores_are_recboles(prepared):
    theirs, _, rows = prepared("SASRec")
    ours, _, same_rows = prepared("SASRecWindows")
    assert torch.equal(ours.full_sort_predict(same_rows), theirs.full_sort_predict(rows))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window_stride", 51),
        ("window_stride", 0),
        ("hidden_size", 63),
        ("loss_type", "BPR"),
        ("hidden_act", "step"),
        ("modalities", ["text"]),
    ],
)
def test_bad_settings_are_refused_by_name(prepared, key, value):
    with pytest.raises(ValueError, match=key):
        prepared("SASRecWindows", **{key: value})
