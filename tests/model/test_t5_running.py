"""T5 in training and out of it, in half precision, on other devices, compiled."""

import pytest
import torch
from tiny_t5 import HISTORY, LENGTHS, TARGETS, build, step_of
from whole_programs import assert_loss_compiles_as_a_whole, assert_search_compiles_as_a_whole

from recbole_mgr.generation.exact_scores import exhaustive_scores


def test_dropout_acts_in_training_only():
    backbone = build("two with transition and dedup", dropout=0.3)
    batch = (HISTORY, LENGTHS, TARGETS)
    assert torch.equal(backbone.loss(*batch), backbone.loss(*batch))
    backbone.train()
    first, second = backbone.loss(*batch), backbone.loss(*batch)
    assert first.isfinite() and second.isfinite() and first != second


def test_attention_weights_are_dropped_in_training(monkeypatch):
    backbone = build("one modality", dropout=0.3).train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            monkeypatch.setattr(module, "p", 0.0)
    batch = (HISTORY, LENGTHS, TARGETS)
    assert backbone.loss(*batch) != backbone.loss(*batch)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_autocast_stays_close(training, dtype):
    backbone = build("two with transition and dedup").train(training)
    expected = backbone.loss(HISTORY, LENGTHS, TARGETS)
    with torch.autocast("cpu", dtype=dtype):
        loss = backbone.loss(HISTORY, LENGTHS, TARGETS)
        scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
        logits, _ = backbone.step(0, torch.zeros(5, 1, dtype=torch.long), None, None, backbone.start(HISTORY, LENGTHS))
    loss.backward()
    assert loss.dtype == scores.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=0.05, rtol=0.05)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(5))


def test_every_tensor_is_made_on_the_inputs_device():
    backbone = build("two with transition and dedup")
    item_ids = torch.arange(1, 7)

    def check(embedding, inputs):  # an embedding takes indices of any device without complaint
        assert inputs[0].device.type == "cpu"

    backbone.t5.shared.register_forward_pre_hook(check)
    with torch.device("meta"):  # a tensor made on the default device cannot meet those of the model
        loss = backbone.loss(HISTORY, LENGTHS, TARGETS)
        losses = loss + backbone.modality_translation_loss("image", "text", item_ids)
        assert all(encoding.device.type == "cpu" for encoding in backbone.modality_encodings(item_ids).values())
        scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    assert losses.device.type == scores.device.type == "cpu"


def test_semantic_ids_stay_out_of_checkpoints():
    backbone = build("one modality")
    assert all(name.startswith("t5.") for name in backbone.state_dict())


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="code_softmax.*vocabulary"):
        build("one modality", "vocabulary")
    with pytest.raises(ValueError, match="audio"):
        build("one modality").modality_translation_loss("text", "audio", TARGETS)


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_the_loss_compiles_as_a_whole(code_softmax):
    """The program computes padding and forced digits, too: it has other shapes, and the same loss and gradients."""
    backbone = build("two with transition and dedup", code_softmax)
    assert_loss_compiles_as_a_whole(backbone, HISTORY, LENGTHS, TARGETS)


def test_the_search_compiles_as_a_whole():
    assert_search_compiles_as_a_whole(build("one modality"), HISTORY, LENGTHS, k=3, beam_width=4)
