"""The trainers: learning-rate schedule, clipping, mixed precision, validation beam, checkpoints, history masks."""

import functools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_trainer, init_seed

from recbole_mgr.integration.config import make_config, settings_read
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.integration.seen_items import SeenItems, mark_seen_items
from recbole_mgr.integration.trainer import ComparableTrainer, GenerativeTrainer, comparable
from recbole_mgr.integration.user_sample import sample_of_users, users_that_steer
from recbole_mgr.semantic_id.table import SemanticIdTable


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("trainer")
    write_dataset(folder)
    return folder


@pytest.fixture
def prepare(folder, tiny_settings, tmp_path, monkeypatch):
    """Trainer and loaders of one model; RecBole's own log files go to a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def prepare(name="MGRLFpp", **changes):
        settings = tiny_settings(folder, n_layers=1, checkpoint_dir=str(tmp_path / "saved"))
        config = make_config(name, "tiny", [], {**settings_read(name, settings), **changes})
        init_seed(1, True)
        dataset = create_dataset(config)
        histories = histories_of(dataset)
        loaders = data_preparation(config, dataset)
        mark_seen_items(histories, loaders[1]._dataset, loaders[2]._dataset)
        model = config.model_class(config, loaders[0]._dataset)
        return comparable(get_trainer(config["MODEL_TYPE"], name))(config, model), *loaders

    return prepare


def rates_of(trainer, train) -> list[float]:
    """The learning rate of each optimiser step of a fit."""
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.fit(train, verbose=False, saved=False)
    return rates


SHAPES = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_learning_rate_warms_up_and_follows_its_shape(prepare, shape, warmup):
    trainer, train, *_ = prepare(
        "MGRLF", lr_scheduler=shape, warmup_epochs=warmup, epochs=3, learning_rate=0.01, train_batch_size=8
    )
    steps = len(train)
    assert steps == 4  # 30 users
    expected = [0.01 * (step + 1) / steps for step in range(steps * warmup)]
    rest = steps * (3 - warmup)
    expected += [0.01 * SHAPES[shape](step / rest) for step in range(rest)]
    assert rates_of(trainer, train) == pytest.approx(expected)


def test_a_second_fit_follows_the_same_schedule(prepare):
    trainer, train, *_ = prepare("MGRLF", lr_scheduler="constant", warmup_epochs=1, epochs=2, train_batch_size=8)
    first = list(rates_of(trainer, train))  # its hook hears the second fit too
    assert rates_of(trainer, train) == first


def test_gradients_are_clipped_before_each_step(prepare):
    for max_norm in (1e-3, 1e3):
        trainer, train, *_ = prepare("MGRLF", clip_grad_norm={"max_norm": max_norm})
        norms = []

        def note(optimizer, *_, norms=norms):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

        trainer.optimizer.register_step_pre_hook(note)  # after the hook that clips
        trainer.fit(train, verbose=False, saved=False)
        assert norms
        assert (max(norms) <= 1.001e-3) == (max_norm == 1e-3)


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_mixed_precision_trains_on_a_cpu(prepare, backbone):
    losses = {}
    for amp in (False, True):
        trainer, train, valid, _ = prepare(backbone=backbone, enable_amp=amp, t5_head_size=8, hidden_dropout_prob=0.0)
        _, result = trainer.fit(train, valid, verbose=False)
        losses[amp] = trainer.train_loss_dict[0]
        assert result["recall@10"] > 0
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
    assert losses[True] != losses[False]


def test_a_compiled_loss_is_the_same_loss(prepare, monkeypatch):
    """Captured, but not turned into machine code, which takes minutes on a CPU."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # else the compiler looks for a GPU that is hidden
    still = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "codebook_levels": 1}
    compiled, train, *_ = prepare("TIGER", compile=True, **still)
    plain, *_ = prepare("TIGER", **still)
    batch = next(iter(train))
    loss = compiled.model.calculate_loss(batch)
    loss.backward()
    torch.testing.assert_close(loss, plain.model.calculate_loss(batch))
    assert all(p.grad is not None for p in compiled.model.parameters())


def test_validation_has_its_own_beam(prepare, monkeypatch):
    trainer, train, valid, test = prepare("MGRLF", beam_size=15, valid_beam_size=10)
    widths = []
    generate = trainer.model.generate_lists
    monkeypatch.setattr(
        trainer.model, "generate_lists", lambda *a, beam_size, **k: widths.append(beam_size) or generate(*a, **k)
    )
    trainer.fit(train, valid, verbose=False)
    trainer.evaluate(test)
    assert widths == [10, 15]
    monkeypatch.setattr(trainer.model, "generate_lists", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer._valid_epoch(valid)
    assert trainer.beam_size == 15


def test_the_semantic_ids_beside_a_checkpoint_are_its_own(prepare):
    trainer, train, valid, _ = prepare("MGRLF", epochs=2)
    table_file = Path(trainer.saved_model_file).with_suffix(".semantic_ids.tsv")
    table_file.parent.mkdir(exist_ok=True)
    table_file.write_text("of another run, which was saved in the same second")
    trainer.fit(train, valid, verbose=False)
    table = trainer.model.semantic_ids
    loaded = SemanticIdTable.load(table_file, item_tokens=table.item_tokens)
    assert loaded.fingerprint == table.fingerprint
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert saved["other_parameter"]["semantic_id_fingerprint"] == table.fingerprint


def unseen(trainer, loader) -> tuple[np.ndarray, list[set], dict]:
    """[n, k] ranked items, what each of these users had before the target, and the metrics."""
    metrics = trainer.evaluate(loader, load_best_model=False)
    ranking = trainer.eval_collector.ranking
    rows = loader._dataset.seen_items.rows(torch.from_numpy(ranking.users))
    return ranking.item_ids, [set(row) - {0} for row in rows.tolist()], metrics


@pytest.mark.parametrize("mode", ["full", "uni12"])
@pytest.mark.parametrize("name", ["MGRLF", "SASRec", "BPR", "ItemKNN"])
def test_every_model_can_be_tested_with_and_without_its_users_history(prepare, name, mode):
    arguments = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": mode}
    trainer, train, valid, test = prepare(name, eval_args=arguments, topk=[10], valid_metric="NDCG@10")
    sequential = name in ("MGRLF", "SASRec")
    assert not trainer.mask_history  # so that all models are validated alike
    trainer.fit(train, verbose=False)
    for loader in (valid, test):
        shown = {}
        for trainer.mask_history in (False, True):
            np.random.seed(0)
            listed, seen, metrics = unseen(trainer, loader)
            assert all(seen)
            shown[trainer.mask_history] = sum(
                len(before & set(row)) for before, row in zip(seen, listed.tolist(), strict=True)
            )
            assert metrics["recall@10"] == pytest.approx((trainer.eval_collector.ranking.ranks > 0).mean(), abs=1e-4)
        assert shown[True] == 0
        # RecBole draws no seen item as a negative of a general model
        assert (shown[False] > 0) == (mode == "full" or sequential)


PRIORS = {"item_softmax": True, "memory": True}
TESTED = {
    "codes": ("MGRLF", {}),
    "codes, a narrow beam": ("MGRLF", {"beam_size": 10}),
    "codes and items": ("MGRLF", PRIORS | {"prior_weights": {"codes": 0.5, "item_softmax": 0.5, "memory": 1.0}}),
    "items": ("MGRLF", PRIORS | {"prior_weights": {"codes": 0.0, "item_softmax": 1.0, "memory": 1.0}}),
    "sequential": ("SASRec", {}),
    "general": ("BPR", {}),
}


@pytest.mark.parametrize("mode", ["full", "uni12"])
@pytest.mark.parametrize("what", TESTED)
def test_one_pass_gives_both_rankings_and_their_metrics(prepare, what, mode):
    name, changes = TESTED[what]
    trainer, train, valid, test = prepare(name, eval_args={"mode": mode}, topk=[3, 10], **changes)
    trainer.fit(train, valid, verbose=False)
    np.random.seed(0)
    together = trainer.test(test, load_best_model=False)
    for trainer.mask_history, tested in zip((False, True), together, strict=True):
        np.random.seed(0)
        metrics = trainer.evaluate(test, load_best_model=False)
        assert tested.metrics == pytest.approx(metrics, abs=1e-6)
        for one, other in zip(tested.ranking, trainer.eval_collector.ranking, strict=True):
            assert np.array_equal(one, other)


def test_where_every_target_repeats_there_are_no_masked_metrics(prepare):
    trainer, train, valid, test = prepare("MGRLF", mask_history=True)
    for loader in (valid, test):
        rows = loader._dataset.inter_feat
        users, items = rows["user_id"].numpy(), rows["item_id"].numpy()
        loader._dataset.seen_items = SeenItems(users, items, num_users=int(users.max()) + 1)
    with pytest.raises(ValueError, match="mask_history: every target repeats"):  # before the training
        trainer.fit(train, valid, verbose=False)
    assert trainer.start_epoch == 0 and not trainer.train_loss_dict
    as_it_is, masked = trainer.test(test, load_best_model=False)
    assert as_it_is.metrics["recall@10"] > 0
    assert masked.metrics == {} and masked.ranking.repeated.all()


def test_masked_metrics_of_a_general_model_are_recboles_own(prepare):
    """Nobody takes an item twice here; RecBole would leave such a target as the only seen item in the list."""
    trainer, train, _, test = prepare("BPR", mask_history=True)
    trainer.fit(train, verbose=False)
    plain = Trainer(trainer.config, trainer.model)
    plain.eval_collector.data_collect(train)
    assert trainer.evaluate(test, load_best_model=False) == plain.evaluate(test, load_best_model=False)
    trainer.mask_history = False
    assert trainer.evaluate(test, load_best_model=False) != plain.evaluate(test, load_best_model=False)


def test_a_mask_needs_to_know_what_was_seen(prepare):
    trainer, train, _, test = prepare("SASRec", mask_history=True)
    trainer.fit(train, verbose=False)
    del test._dataset.seen_items
    with pytest.raises(ValueError, match="mask_history: this data set does not know"):
        trainer.evaluate(test)
    assert trainer.evaluate(None) is None


def test_any_trainer_of_recbole_becomes_comparable():
    assert comparable(GenerativeTrainer) is GenerativeTrainer
    mixed = comparable(get_trainer(None, "RecVAE"))
    assert mixed.__name__ == "RecVAETrainer" and issubclass(mixed, ComparableTrainer) and issubclass(mixed, Trainer)


# -- a sample of users to validate on


def targets(trainer, loader):
    """User -> target of an evaluation over the loader, from the lists that were ranked."""
    trainer.evaluate(loader, load_best_model=False)
    ranking = trainer.eval_collector.ranking
    return dict(zip(ranking.users.tolist(), ranking.targets.tolist(), strict=True)), ranking


@pytest.mark.parametrize("mode", ["full", "uni20"])
def test_every_model_validates_on_the_same_users_and_ranks_them_as_ever(prepare, mode):
    samples = []
    for name in ("MGRLF", "SASRec", "BPR"):
        trainer, train, valid, _ = prepare(name, eval_args={"mode": mode})
        trainer.eval_collector.data_collect(train)
        everyone, all_lists = targets(trainer, valid)
        sample, lists = targets(trainer, sample_of_users(valid, 7))
        assert len(sample) == 7 and sample.items() <= everyone.items()
        if mode == "full":  # sampled negatives are drawn anew
            rows = [all_lists.users.tolist().index(user) for user in lists.users]
            assert np.array_equal(lists.item_ids, all_lists.item_ids[rows])
        samples.append(sample)
    assert samples[0] == samples[1] == samples[2]


def test_as_many_users_as_there_are_need_no_sample(prepare):
    _, _, valid, _ = prepare("SASRec")
    assert sample_of_users(valid, 10**6) is valid


def validation_of(users):
    part = SimpleNamespace(uid_field="user_id", inter_feat={"user_id": torch.arange(users).repeat(2)})
    return SimpleNamespace(_dataset=part)


def test_many_users_are_sampled_unless_their_number_is_said():
    assert [users_that_steer(None, validation_of(count)) for count in (1, 50_000, 50_001)] == [None, None, 10_000]
    assert users_that_steer(70_000, validation_of(80_000)) == 70_000


def test_all_users_are_no_sample():
    """A table must not speak of a sample where every user was validated."""
    assert [users_that_steer(3_000, validation_of(count)) for count in (1_194, 3_000, 3_001)] == [None, None, 3_000]


def test_the_setting_steers_training_and_leaves_the_test_alone(prepare):
    trainer, train, valid, _ = prepare("TIGER", modalities=["text"], valid_users=5)
    seen = []
    evaluate = trainer.evaluate

    def counting(loader, *args, **kwargs):
        result = evaluate(loader, *args, **kwargs)
        seen.append(len(trainer.eval_collector.ranking.users))
        return result

    trainer.evaluate = counting
    trainer.fit(train, valid, verbose=False)
    counting(valid, load_best_model=False)
    assert set(seen[:-1]) == {5} and seen[-1] > 5
