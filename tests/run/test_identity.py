"""What trains a model anew, what only tests it again, and what changes nothing; damaged results and their remedy."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import recbole_mgr.run.one_run as one_run
from recbole_mgr.integration.config import make_config, settings_read
from recbole_mgr.integration.resume import ResumableTrainer
from recbole_mgr.run import identity as identity_module
from recbole_mgr.run.evaluation import evaluate_runs
from recbole_mgr.run.identity import RunIdentity
from recbole_mgr.run.pipeline import ModelRequest, run_comparison


@pytest.fixture
def world(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """(name, **changes) -> result of a run in an empty working directory; ``world.trained`` counts trainings."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path)
    fit = ResumableTrainer.fit
    settings = tiny_settings(tmp_path, n_layers=1, num_threads=1, checkpoint_dir="saved", valid_beam_size=10)

    def counted(self, *args, **kwargs):
        world.trained += 1
        return fit(self, *args, **kwargs)

    def world(name: str, **changes):
        own = {**settings_read(name, settings), **changes}
        return run_comparison([ModelRequest(name, {})], "tiny", settings=own).results[0]

    world.trained, world.settings = 0, settings
    monkeypatch.setattr(ResumableTrainer, "fit", counted)
    return world


def the_run(name: str = "MGRLF") -> Path:
    (run_dir,) = Path("saved").glob(f"*/{name}-*/seed-*")
    return run_dir


@pytest.mark.parametrize("name", ["MGRLF", "BPR", "SASRec"])
def test_what_a_model_does_not_read_and_what_is_tested_train_nothing(world, name, monkeypatch):
    first = world(name)
    np.save("tiny/tiny.audio.npy", np.ones((2, 3), dtype=np.float32))
    Path("tiny/tiny.audio.ids").write_text("i1\ni2\n")
    Path("tiny/tiny.provenance.yaml").write_text("licence: none\n")
    monkeypatch.setattr(one_run, "__version__", "99.0")
    again = world(name)
    assert again.plain() == first.plain()
    longer = world(
        name, topk=[5, 10, 12] if name == "MGRLF" else [5, 10, 12], **({"beam_size": 24} if name == "MGRLF" else {})
    )
    fewer = world(name, metrics=["NDCG"])
    assert world.trained == 1
    assert "recall@12" in longer.test and list(fewer.test) == [f"ndcg@{k}" for k in (5, 10)]
    for key, value in fewer.test.items():
        assert value == first.test[key]
    assert (longer.epochs, longer.train_seconds, longer.parameters) == (
        first.epochs,
        first.train_seconds,
        first.parameters,
    )
    written = {file: file.stat().st_mtime_ns for file in Path("saved").rglob("*")}
    assert world(name, metrics=["NDCG"]).plain() == fewer.plain()  # read back
    assert {file: file.stat().st_mtime_ns for file in Path("saved").rglob("*")} == written


def test_what_a_model_reads_and_learns_by_trains_it_anew(world):
    world("MGRLF")
    for changes in ({"learning_rate": 0.5}, {"valid_metric": "NDCG@5"}, {"valid_beam_size": 11}):
        before = world.trained
        world("MGRLF", **changes)
        assert world.trained == before + 1
    change_features("image")
    world("MGRLF")
    assert world.trained == 5


def change_features(modality: str) -> None:
    file = Path(f"tiny/tiny.{modality}.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["ItemMemory", "TGH"])
def test_a_closed_form_model_reads_the_features_of_its_modalities(world, name):
    world(name, modalities=["text"])
    change_features("image")
    world(name, modalities=["text"])
    assert world.trained == 1
    change_features("text")
    world(name, modalities=["text"])
    assert world.trained == 2


def test_a_preset_is_the_settings_that_it_stands_for(world):
    digests = set()
    for settings in ({"preset": "paper"}, {"preset": None, "backbone": "t5"}):
        keys = (
            "code_softmax",
            "quantizer",
            "n_layers",
            "n_heads",
            "t5_head_size",
            "hidden_dropout_prob",
            "lr_scheduler",
        )
        own = {"preset": None, **settings, "stopping_step": 3, "MAX_ITEM_LIST_LENGTH": 9, "weight_decay": 0.1}
        own |= dict(zip(keys, ("full", "rqvae", 1, 2, 8, 0.2, "linear"), strict=True)) | {"warmup_epochs": 0}
        digests.add(RunIdentity.of(make_config("MGRLF", "tiny", [], {**world.settings, **own})).training_digest)
    assert len(digests) == 1


def test_equal_numbers_are_one_setting_and_files_are_read_once(world, monkeypatch):
    digests = {
        RunIdentity.of(make_config("MGRLF", "tiny", [], {**world.settings, "weight_decay": zero})).training_digest
        for zero in (0, 0.0)
    }
    assert len(digests) == 1
    monkeypatch.setattr("recbole_mgr.files.content_digest", lambda path: 1 / 0)
    RunIdentity.of(make_config("MGRLF", "tiny", [], world.settings))


def test_a_setting_that_came_later_does_not_lose_a_run(world, monkeypatch):
    first = world("MGRLF")
    path = the_run() / "settings.yaml"
    about = yaml.safe_load(path.read_text())
    del about["branch_size"]  # as if the run were older than it
    path.write_text(yaml.safe_dump(about))
    the_run().parent.rename(the_run().parent.with_name("MGRLF-otherwise"))
    assert world("MGRLF").plain() == first.plain()
    assert world.trained == 1
    world("MGRLF", branch_size=2)
    assert world.trained == 2


def test_a_setting_that_a_model_never_reads_does_not_tell_its_runs_apart(world):
    first = world("ItemMemory")
    path = the_run("ItemMemory") / "settings.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "epochs": 7}))
    the_run("ItemMemory").parent.rename(the_run("ItemMemory").parent.with_name("ItemMemory-otherwise"))
    assert world("ItemMemory").plain() == first.plain()
    (again,) = evaluate_runs([the_run("ItemMemory")], {}).results
    assert again.test == first.test and world.trained == 1


def test_a_run_that_an_earlier_release_trained_otherwise_is_told_and_not_used(world, capsys, monkeypatch):
    world("MGRLF")
    run_dir = the_run()
    monkeypatch.setattr(identity_module, "TRAINING_FORMAT", identity_module.TRAINING_FORMAT + 1)
    capsys.readouterr()
    world("MGRLF")
    assert world.trained == 2
    assert f"{run_dir} has the same settings, but an earlier release trained it otherwise" in capsys.readouterr().out


# --- evaluate


@pytest.mark.parametrize("name", ["MGRLF", "BPR", "SASRec", "ItemKNN"])
def test_evaluate_is_the_test_of_the_run(world, name):
    first = world(name)
    (again,) = evaluate_runs([the_run(name)], {}).results
    for key in ("test", "test_masked", "id_level", "valid", "epochs", "parameters"):
        assert getattr(again, key) == getattr(first, key)
    assert again.users.tolist() == first.users.tolist() and again.ranks.tolist() == first.ranks.tolist()
    (other,) = evaluate_runs([the_run(name)], {"topk": [3, 10]}).results
    assert other.test["recall@10"] == first.test["recall@10"] and "recall@3" in other.test
    assert world(name).plain() == again.plain()  # the run's own result stays its own
    assert world.trained == 1


def test_evaluate_averages_no_runs_that_differ_wherever_they_were_copied_to(world):
    for name in ("MGRLF", "MGRLFpp"):
        world(name)
        the_run(name).rename(name)
    world("MGRLF", learning_rate=0.5)
    the_run().rename("other")
    world("MGRLF", seed=7)
    the_run().rename("seed")
    of_two = evaluate_runs([Path("MGRLF"), Path("MGRLFpp")], {})
    assert list(of_two.rows) == ["MGRLF", "MGRLFpp"]
    rows = evaluate_runs([Path(name) for name in ("MGRLF", "MGRLFpp", "other", "seed")], {}).rows
    assert sorted(len(runs) for runs in rows.values()) == [1, 1, 2]
    assert [run.seed for runs in rows.values() for run in runs if len(runs) == 2] == [2020, 7]
    assert all(label.startswith(f"{runs[0].model}-") or label == "MGRLFpp" for label, runs in rows.items())


def test_evaluate_refuses_what_would_not_be_the_run(world, tmp_path):
    world("MGRLF")
    run_dir = the_run()
    for settings, message in (
        ({"learning_rate": 0.5}, "--learning_rate: 0.5 changes what is learned"),
        ({"eval_args": {"order": "RO"}}, "eval_args: "),
        ({"beem_size": 9}, "unknown setting 'beem_size'"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_runs([run_dir], settings)
    with pytest.raises(ValueError, match="no finished run with settings.yaml and best.pth is here"):
        evaluate_runs([tmp_path], {})
    with Path("tiny/tiny.text.ids").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="tiny.text.ids in .*tiny is not what .* was trained on"):
        evaluate_runs([run_dir], {})


# --- damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("result.json", lambda path: path.write_text("")),
        ("result.json", lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "epochs": 7}))),
        ("ranking.npz", cut),
        ("ranking.npz", flip),
    ],
)
def test_a_damaged_result_is_named_with_the_command_that_mends_it(world, name, damage):
    first = world("BPR")
    run_dir = the_run("BPR")
    damage(run_dir / name)
    with pytest.raises(ValueError, match=f"{name}: .*damaged.*recbole-mgr evaluate {run_dir}"):
        world("BPR")
    evaluate_runs([run_dir], {})
    assert world("BPR").test == first.test
    assert world.trained == 1


def test_a_damaged_checkpoint_and_state_of_training_are_named(world, monkeypatch):
    world("BPR")
    flip(the_run("BPR") / "best.pth")
    with pytest.raises(ValueError, match="best.pth is damaged .*remove it and run the same command again"):
        evaluate_runs([the_run("BPR")], {})
    monkeypatch.setattr(one_run._Work, "_export", lambda *_: 1 / 0)  # killed before the training is marked as done
    with pytest.raises(ZeroDivisionError):
        world("SASRec")
    flip(the_run("SASRec") / "progress.pth")
    with pytest.raises(ValueError, match="progress.pth is damaged .*remove it and run the same command again"):
        world("SASRec")


def test_training_that_ended_is_not_repeated_when_its_test_is_killed(world, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(one_run._Work, "_test", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world("MGRLF")
    run_dir = the_run()
    assert not (run_dir / "progress.pth").exists() and not (run_dir / "result.json").exists()
    (run_dir / ".model-0123456789ab.safetensors").write_text("left by a kill")
    world("MGRLF")
    assert world.trained == 1
    assert not list(run_dir.glob(".*"))
