"""Vectors learned from interactions serve the split that they were learned on, and no other."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from recbole.data import create_dataset

from recbole_mgr.data.feature_file import write_features
from recbole_mgr.data.leak_guard import TRAINED_ON, describe_split, refuse_leaking_vectors
from recbole_mgr.integration.config import make_config


@pytest.fixture
def folder(tmp_path, write_dataset):
    return write_dataset(tmp_path)


@pytest.fixture
def split(folder, tiny_settings):
    """(model, **settings) -> data set, validation and test part."""

    def split(model="BPR", **changes):
        settings = {"data_path": str(folder.parent), "topk": [5, 10], "gpu_id": "", "state": "ERROR"}
        if model == "TIGER":
            settings = tiny_settings(folder.parent, modalities=["collaborative"])
        config = make_config(model, "tiny", [], {**settings, **changes})
        dataset = create_dataset(config)
        parts = super(type(dataset), dataset).build() if model == "TIGER" else dataset.build()
        return dataset, *parts[1:]

    return split


def write_vectors(folder: Path, **about) -> None:
    items = (folder / "tiny.text.ids").read_text().split()
    write_features(folder, "tiny", "collaborative", items, np.ones((len(items), 2)))
    (folder / "tiny.collaborative.yaml").write_text(yaml.safe_dump(about))


def test_general_and_sequential_models_have_one_split_and_the_file_decides(split):
    general, sequential = describe_split(*split("BPR")), describe_split(*split("SASRec"))
    assert general == sequential
    assert set(general) == {"interactions", "held_out"}
    dataset, valid, test = split()
    others = [describe_split(dataset, *parts)["held_out"] for parts in ((test, test), (valid, valid), (test, valid))]
    assert len({general["held_out"], *others}) == 4


def test_vectors_of_the_same_split_are_let_through(folder, split):
    write_vectors(folder, trained_on=TRAINED_ON, **describe_split(*split("SASRec")))
    refuse_leaking_vectors(*split("TIGER"))


def test_a_row_more_is_another_training(folder, split):
    write_vectors(folder, trained_on=TRAINED_ON, **describe_split(*split()))
    with open(folder / "tiny.inter", "a", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerow(["u3", "i0", 1_500_000_000])
    with pytest.raises(
        ValueError, match=r"tiny\.collaborative\.yaml.*content of tiny\.inter.*recbole-mgr collaborative"
    ):
        refuse_leaking_vectors(*split("TIGER"))


def test_a_filter_that_moves_targets_into_what_was_training_is_refused(folder, split):
    write_vectors(folder, trained_on=TRAINED_ON, **describe_split(*split()))
    with pytest.raises(ValueError, match="validation and test items"):
        refuse_leaking_vectors(*split("TIGER", val_interval={"timestamp": "[0,1400000006]"}))


def test_other_features_are_no_business_of_the_guard(folder, split):
    write_vectors(folder, encoder="made up")
    refuse_leaking_vectors(*split("TIGER", val_interval={"timestamp": "[0,1400000006]"}))
    (folder / "tiny.collaborative.yaml").unlink()
    refuse_leaking_vectors(*split("TIGER"))


def test_user_supplied_semantic_ids_read_no_vectors(folder, split, tmp_path):
    write_vectors(folder, trained_on=TRAINED_ON, interactions="other", held_out="other")
    supplied = tmp_path / "user_supplied.tsv"
    supplied.write_text("item_id:token\tcollaborative_codes:token_seq\ni0\t1\n")
    refuse_leaking_vectors(*split("TIGER", semantic_ids=str(supplied)))
    with pytest.raises(ValueError, match="content of tiny"):
        refuse_leaking_vectors(*split("TIGER"))


def test_vectors_beside_user_supplied_semantic_ids_are_looked_at(folder, split, tmp_path):
    write_vectors(folder, trained_on=TRAINED_ON, interactions="other", held_out="other")
    supplied = tmp_path / "user_supplied.tsv"
    supplied.write_text("item_id:token\ttext_codes:token_seq\ni0\t1\n")
    with pytest.raises(ValueError, match="content of tiny"):
        refuse_leaking_vectors(*split("TIGER", semantic_ids=str(supplied)))


def test_an_unreadable_description_is_named(folder, split):
    write_vectors(folder)
    (folder / "tiny.collaborative.yaml").write_text("- a list")
    with pytest.raises(ValueError, match=r"tiny\.collaborative\.yaml: expected 'key: value' lines"):
        refuse_leaking_vectors(*split("TIGER"))


def test_a_run_asks_the_guard(folder, tiny_settings):
    """The data set itself, as every run builds it."""
    write_vectors(folder, trained_on=TRAINED_ON, interactions="other", held_out="other")
    config = make_config("TIGER", "tiny", [], tiny_settings(folder.parent, modalities=["collaborative"]))
    with pytest.raises(ValueError, match="they may know what this run tests on"):
        create_dataset(config).build()
