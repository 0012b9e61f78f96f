"""LF++'s alignment stage: its loss against a loop, what it changes, and its state across an interruption."""

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed
from torch import nn

from recbole_mgr.integration.config import make_config
from recbole_mgr.model.alignment import AlignmentStage, info_nce
from recbole_mgr.semantic_id.table import SemanticIdTable

BLOCKS = {
    "text": np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1]]),
    "image": np.array([[2, 0], [0, 1], [0, 0], [1, 1], [1, 1]]),
}


class FakeBackbone(nn.Module):
    """An embedding per item and modality; a translation costs 1."""

    def __init__(self, table: SemanticIdTable):
        super().__init__()
        self.codes = table.codes
        generator = torch.Generator().manual_seed(0)
        self.vectors = nn.ParameterDict(
            {name: torch.randn(table.num_items + 1, 6, generator=generator) for name in table.modalities}
        )

    def modality_encodings(self, item_ids):
        return {name: vectors[item_ids] for name, vectors in self.vectors.items()}

    def modality_translation_loss(self, source, target, item_ids):
        assert source != target
        return 1 + 0 * self.vectors[source].sum()


def stage_of(*modalities: str, **changes) -> AlignmentStage:
    table = SemanticIdTable.from_blocks({name: BLOCKS[name] for name in modalities}, list("abcde"))
    settings = {
        "epochs": 60,
        "losses": ["infonce"],
        "temperature": 0.5,
        "learning_rate": 0.05,
        "batch_size": 5,
        "seed": 0,
        **changes,
    }
    return AlignmentStage(backbone=FakeBackbone(table), table=table, **settings)


def test_info_nce_is_a_cross_entropy_over_the_negatives():
    source, target = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
    same = torch.zeros(4, 4, dtype=torch.bool)
    same[0, 2] = same[3, 1] = True
    expected = 0.0
    for row in range(4):
        similarity = torch.stack([torch.cosine_similarity(source[row], other, dim=0) for other in target]) / 0.2
        kept = [column for column in range(4) if not same[row, column]]
        expected -= (similarity[row] - similarity[kept].logsumexp(dim=0)) / 4
    torch.testing.assert_close(info_nce(source, target, same, 0.2), expected)


def test_items_that_share_a_modalitys_codes_are_no_negatives_of_each_other():
    stage = stage_of("text", "image")
    item_ids = torch.tensor([2, 3, 4, 5])  # 2 and 3 share the text's codes, 4 and 5 the image's
    same = torch.zeros(4, 4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = same[2, 3] = same[3, 2] = True
    text, image = stage.backbone.modality_encodings(item_ids).values()
    expected = (info_nce(text, image, same, 0.5) + info_nce(image, text, same, 0.5)) / 2
    torch.testing.assert_close(stage.loss(item_ids), expected)
    stage.losses = ["infonce", "id_to_id"]
    torch.testing.assert_close(stage.loss(item_ids), expected + 1)
    stage.losses = ["id_to_id"]
    torch.testing.assert_close(stage.loss(item_ids), torch.tensor(1.0))


def test_accuracy_counts_items_that_find_themselves_or_equal_codes():
    stage = stage_of("text", "image")
    with torch.no_grad():
        for name in ("text", "image"):
            stage.backbone.vectors[name].zero_()[1:, :5] = torch.eye(5)
        assert stage.retrieval_accuracy() == 1
        stage.backbone.vectors["image"][[1, 2]] = stage.backbone.vectors["image"][[2, 1]]  # a and b exchange places
        assert stage.retrieval_accuracy() == pytest.approx(0.6)
        stage.backbone.vectors["image"][[1, 2]] = stage.backbone.vectors["image"][[2, 1]]
        stage.backbone.vectors["image"][[4, 5]] = stage.backbone.vectors["image"][[5, 4]]
        assert stage.retrieval_accuracy() == pytest.approx(0.8)  # d and e have one image code, but two text codes


def test_the_stage_teaches_items_to_find_themselves():
    stage = stage_of("text", "image")
    losses = []
    while not stage.done:
        losses.append(stage.run_epoch(show_progress=False))
    assert losses[-1] < 0.5 * losses[0]
    assert stage.accuracy["before"] < 1 == stage.accuracy["after"]
    assert not stage.optimizer.state_dict()["state"]  # nothing of it is carried along


def test_one_modality_is_aligned_with_nothing():
    stage = stage_of("text")
    assert stage.done and stage.epochs == 0


def test_an_interrupted_stage_goes_on_as_if_it_had_not_been():
    whole, first, second = (stage_of("text", "image", epochs=5, batch_size=2) for _ in range(3))
    while not whole.done:
        whole.run_epoch(show_progress=False)
    for _ in range(2):
        first.run_epoch(show_progress=False)
    second.backbone.load_state_dict(first.backbone.state_dict())
    second.load_state_dict(first.state_dict())
    while not second.done:
        second.run_epoch(show_progress=False)
    assert second.accuracy == whole.accuracy
    for name, vectors in whole.backbone.vectors.items():
        assert torch.equal(second.backbone.vectors[name], vectors)


@pytest.fixture(scope="module")
def make_model(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("alignment")
    write_dataset(folder, modalities=("text", "image", "audio"))
    settings = tiny_settings(folder, n_layers=1, t5_head_size=8, hidden_dropout_prob=0.0, alignment_epochs=2)

    def make(backbone: str, *, model: str = "MGRLFpp", **changes):
        own = {key: value for key, value in settings.items() if model == "MGRLFpp" or key != "alignment_epochs"}
        config = make_config(model, "tiny", [], {**own, "backbone": backbone, **changes})
        train, _, test = data_preparation(config, create_dataset(config))
        init_seed(3, True)
        return config.model_class(config, train._dataset).eval(), test._dataset.inter_feat

    return make


@pytest.mark.parametrize("modalities", [["text", "image"], ["image", "audio", "text"]], ids="+".join)
@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_each_part_of_the_stage_changes_what_is_recommended(make_model, backbone, modalities):
    outputs = []
    for losses in ([], ["infonce"], ["id_to_id"], ["infonce", "id_to_id"]):
        epochs = 2 if losses else 0
        model, batch = make_model(backbone, modalities=modalities, alignment_losses=losses, alignment_epochs=epochs)
        kinds = [digit.kind for digit in model.semantic_ids.digits]
        assert kinds.count("transition") == len(modalities) - 1
        while not model.alignment.done:
            assert np.isfinite(model.alignment.run_epoch(show_progress=False))
        with torch.no_grad():
            outputs.append(model.full_sort_predict(batch)[1:])
    for first in range(4):
        for second in range(first):
            assert (outputs[first] - outputs[second]).nan_to_num(0).abs().max() > 1e-3
    assert set(model.alignment.accuracy) == {"before", "after"}


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_one_modality_has_neither_transition_nor_stage(make_model, backbone):
    model, _ = make_model(backbone, modalities="text")
    assert model.alignment.done
    assert {digit.kind for digit in model.semantic_ids.digits} <= {"code", "dedup"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"alignment_losses": ["infonc"]},
            "alignment_losses: .*infonc.* must be a list of names among infonce, id_to_id",
        ),
        ({"alignment_losses": None}, "alignment_epochs: 2 needs a loss"),
        ({"alignment_epochs": -1}, "alignment_epochs: -1 must be a whole number >= 0"),
        ({"alignment_batch_size": 1}, "alignment_batch_size: 1 must be a whole number >= 2"),
        ({"alignment_temperature": 0}, "alignment_temperature: 0 must be a number > 0"),
        ({"alignment_learning_rate": 0.0}, "alignment_learning_rate: 0.0 must be a number > 0"),
        ({"alignment_weight": -0.1}, "alignment_weight: -0.1 must be a number >= 0"),
        ({"alignment_weight": float("nan")}, "alignment_weight: nan must be a number >= 0"),
        ({"alignment_weight": True}, "alignment_weight: True must be a number >= 0"),
        ({"alignment_weight": 1, "alignment_epochs": 0, "alignment_losses": []}, "alignment_weight: 1 needs a loss"),
        ({"transitions": "perhaps"}, "transitions: 'perhaps' must be True or False"),
    ],
)
def test_contradictory_settings_are_refused(make_model, changes, message):
    with pytest.raises(ValueError, match=message):
        make_model("hierarchical", **changes)


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_without_transitions_the_tokens_are_gone_and_nothing_else(make_model, backbone):
    modalities = ["image", "audio", "text"]
    model, batch = make_model(backbone, modalities=modalities)
    without, _ = make_model(backbone, modalities=modalities, transitions=False)
    kept = [d for d, digit in enumerate(model.semantic_ids.digits) if digit.kind != "transition"]
    assert len(model.semantic_ids.digits) == len(kept) + 2
    assert [model.semantic_ids.digits[d] for d in kept] == list(without.semantic_ids.digits)
    assert torch.equal(model.semantic_ids.codes[:, kept], without.semantic_ids.codes)
    assert without.alignment.epochs == model.alignment.epochs == 2
    with torch.no_grad():
        assert (model.full_sort_predict(batch) - without.full_sort_predict(batch)).nan_to_num(0).abs().max() > 1e-3


def test_without_transitions_and_alignment_it_is_naive_late_fusion(make_model):
    model, batch = make_model("hierarchical", transitions=False, alignment_epochs=0)
    naive, _ = make_model("hierarchical", model="MGRLF")
    assert model.state_dict().keys() == naive.state_dict().keys()
    for (name, weights), other in zip(model.state_dict().items(), naive.state_dict().values(), strict=True):
        assert torch.equal(weights, other), name
    with torch.no_grad():
        assert torch.equal(model.full_sort_predict(batch), naive.full_sort_predict(batch))
    assert torch.equal(model.calculate_loss(batch), naive.calculate_loss(batch))


@pytest.mark.parametrize("losses", [["infonce"], ["id_to_id"], ["infonce", "id_to_id"]], ids="+".join)
@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_a_weight_adds_the_alignment_loss_of_drawn_items_and_nothing_else(make_model, backbone, losses):
    settings = {"alignment_losses": losses, "alignment_epochs": 0, "alignment_batch_size": 7}
    plain, batch = make_model(backbone, **settings)
    joint, _ = make_model(backbone, alignment_weight=0.3, **settings)
    assert joint.alignment.done  # the stage before training stays off
    for name, weights in plain.state_dict().items():
        assert torch.equal(joint.state_dict()[name], weights)
    with torch.no_grad():
        assert torch.equal(joint.full_sort_predict(batch), plain.full_sort_predict(batch))
    torch.manual_seed(5)
    item_ids = joint.alignment.draw_items()
    assert item_ids.shape == (7,) and item_ids.min() >= 1 and item_ids.max() <= joint.semantic_ids.num_items
    torch.manual_seed(5)
    expected = plain.calculate_loss(batch) + 0.3 * plain.alignment.loss(item_ids)
    loss = joint.calculate_loss(batch)
    torch.testing.assert_close(loss, expected)
    assert loss > plain.calculate_loss(batch)


def test_no_weight_draws_nothing(make_model):
    model, batch = make_model("hierarchical")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    model.calculate_loss(batch)
    assert torch.equal(torch.rand(1), expected)


def test_one_modality_has_no_joint_loss(make_model):
    model, batch = make_model("hierarchical", modalities="text", alignment_weight=0.5)
    plain, _ = make_model("hierarchical", modalities="text")
    assert torch.equal(model.calculate_loss(batch), plain.calculate_loss(batch))


def test_items_drawn_come_from_the_whole_catalogue():
    stage = stage_of("text", "image", batch_size=4)
    torch.manual_seed(0)
    drawn = torch.cat([stage.draw_items() for _ in range(50)])
    assert len(drawn) == 200 and drawn.unique().tolist() == [1, 2, 3, 4, 5]
    assert torch.isfinite(stage.loss(torch.tensor([2, 2, 2])))  # one item drawn three times has no negatives


def test_the_order_of_modalities_moves_blocks_of_the_same_codes(make_model):
    tables = [
        make_model("hierarchical", modalities=order)[0].semantic_ids for order in (["text", "image"], ["image", "text"])
    ]
    assert [table.modalities for table in tables] == [["text", "image"], ["image", "text"]]
    for modality in ("text", "image"):
        first, second = (table.codes[:, table.block(modality)] for table in tables)
        assert torch.equal(first, second)


def test_one_loss_may_be_written_without_brackets(make_model):
    model, _ = make_model("hierarchical", alignment_losses="id_to_id")
    assert model.alignment.losses == ["id_to_id"]
