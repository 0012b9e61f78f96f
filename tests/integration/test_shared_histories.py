"""Rows cut from shared histories are RecBole's own, bit for bit, under every filter, split and length."""

import copy

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction

from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.integration.config import known_keys, make_config
from recbole_mgr.integration.dataset import CheckedDataset
from recbole_mgr.integration.histories import are_plain, histories_of
from recbole_mgr.integration.history_rows import HistoryRows
from recbole_mgr.integration.seen_items import SeenItems, mark_seen_items

START = 1_400_000_000


def shuffled_walks(seed: int) -> list[tuple[str, str, float, float]]:
    """Users of 1 to 14 interactions, items that repeat, times that float32 does not tell apart, many of them equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(12):
        for _ in range(rng.integers(1, 15)):
            rows.append((f"u{user}", f"i{rng.integers(9)}", START + int(rng.integers(40)), float(rng.integers(1, 6))))
    return [rows[place] for place in rng.permutation(len(rows))]


@pytest.fixture
def data_of(tmp_path, write_dataset, tiny_settings):
    """A function that makes the data set of a model of one of the walks."""

    def make(model, seed, *, split=None, **changes):
        if not (tmp_path / str(seed)).exists():
            rows = shuffled_walks(seed)
            folder = write_dataset(
                tmp_path / str(seed), interactions=[row[:3] for row in rows], without_vector=["i1", "i4"]
            )
            lines = ["user_id:token\trating:float\titem_id:token\ttimestamp:float"]
            lines += [f"{user}\t{rating}\t{item}\t{time}" for user, item, time, rating in rows]
            (folder / "tiny.inter").write_text("\n".join(lines) + "\n")
        known = known_keys(model)
        settings = tiny_settings(tmp_path / str(seed), missing_modality="zero", **changes)
        settings = {key: value for key, value in settings.items() if key in known}
        config = make_config(model, "tiny", [], settings)
        if split:  # no comparison has them
            config["eval_args"] = {**config["eval_args"], **split}
        return create_dataset(config)

    return make


@pytest.fixture
def recboles_own(monkeypatch):
    """A function that switches our ways off."""

    def switch():
        monkeypatch.setattr(SequentialDataset, "data_augmentation", SequentialDataset.data_augmentation.__wrapped__)
        for name in ("leave_one_out", "_from_scratch"):
            monkeypatch.setattr(Dataset, name, getattr(Dataset, name).__wrapped__)
        monkeypatch.setattr(CheckedDataset, "_from_scratch", Dataset._from_scratch)
        monkeypatch.setattr(CheckedDataset, "_change_feat_format", SequentialDataset._change_feat_format)

    return switch


KNOWN = ("field2type", "field2source", "field2seqlen", "field2bucketnum", "feat_name_list")  # of a data set
SETTINGS = {
    "as they are": {},
    "short lists": {"MAX_ITEM_LIST_LENGTH": 3},
    "lists of one": {"MAX_ITEM_LIST_LENGTH": 1},
    "first of repeats": {"rm_dup_inter": "first"},
    "last of repeats": {"rm_dup_inter": "last", "MAX_ITEM_LIST_LENGTH": 4},
    "counts of users": {"user_inter_num_interval": "[5,inf)"},
    "counts of both": {"user_inter_num_interval": "(3,inf)", "item_inter_num_interval": "[6,inf)"},
    "counts without repeats": {"rm_dup_inter": "first", "item_inter_num_interval": "[3,inf)"},
    "items with vectors": {"drop_items_without": ["text"]},
    "validation alone": {"split": {"split": {"LS": "valid_only"}}},
    "test alone": {"split": {"split": {"LS": "test_only"}}},
    "ratios of each user": {"split": {"split": {"RS": [6, 2, 2]}}},
    "ratios of all": {"split": {"split": {"RS": [6, 2, 2]}, "group_by": "none"}},
    "another column": {"load_col": {"inter": ["user_id", "rating", "item_id", "timestamp"]}},
    "values": {"val_interval": {"timestamp": f"[{START + 8},inf)"}},
    "scaled times": {"normalize_all": True},
}


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("model", ["SASRec", "BPR", "TIGER"])
def test_rows_are_recboles(data_of, recboles_own, model, changes):
    changes = {"backbone": "t5", **changes}  # which trains on RecBole's rows as they are
    ours = [data_of(model, seed, **changes) for seed in range(3)]
    whole = [histories_of(data) for data in ours]
    known = [{name: copy.copy(getattr(data, name)) for name in KNOWN} for data in ours]
    parts = [data.build() for data in ours]
    recboles_own()
    for seed in range(3):
        data = data_of(model, seed, **changes)
        for field in ("user_id", "item_id"):
            assert np.array_equal(data.field2id_token[field], ours[seed].field2id_token[field])
            assert data.field2token_id[field] == dict(ours[seed].field2token_id[field])
        assert {name: getattr(data, name) for name in KNOWN} == known[seed]
        users, items, _ = whole[seed].in_time_order()
        assert data.inter_feat["user_id"].tolist() == users.tolist()
        assert data.inter_feat["item_id"].tolist() == items.tolist()
        for theirs, mine in zip(data.build(), parts[seed], strict=True):
            assert theirs.inter_feat.columns == mine.inter_feat.columns
            for field in theirs.inter_feat.columns:
                expected, found = theirs.inter_feat[field], mine.inter_feat[field]
                assert expected.dtype == found.dtype and torch.equal(expected, found)


def test_a_model_of_recboles_sees_the_same_batches(data_of, recboles_own):
    def batches():
        data = data_of("SASRec", 0, MAX_ITEM_LIST_LENGTH=5)
        train, valid, _ = data_preparation(data.config, data)
        return [*train, *(batch[0] for batch in valid)]

    ours = batches()
    recboles_own()
    for expected, found in zip(batches(), ours, strict=True):
        assert all(torch.equal(expected[field], found[field]) for field in expected.columns)


@pytest.mark.parametrize("split", [None, {"split": {"LS": "valid_only"}}, {"split": {"RS": [6, 2, 2]}}])
@pytest.mark.parametrize("model", ["TIGER", "BPR"])
def test_what_was_seen_is_what_is_left_of_all_pairs(data_of, model, split):
    for seed in range(3):
        data = data_of(model, seed, split=split)
        whole = histories_of(data)
        _, valid, test = data.build()
        mark_seen_items(whole, valid, test)
        targets = [np.stack([part.inter_feat["user_id"], part.inter_feat["item_id"]], axis=1) for part in (valid, test)]
        everybody = torch.arange(1, data.user_num)
        expected = SeenItems.split(whole.users.numpy(), whole.items.numpy(), *targets, data.user_num)
        for part, other in zip((valid, test), expected, strict=True):
            seen = [set(row.tolist()) - {0} for row in part.seen_items.rows(everybody)]
            assert seen == [set(row.tolist()) - {0} for row in other.rows(everybody)]


def test_the_second_model_maps_what_the_first_made(data_of, monkeypatch):
    first = data_of("TIGER", 0)
    monkeypatch.setattr("recbole_mgr.integration.histories.read_interactions", None)  # nobody reads the text again
    for model in ("SASRec", "MGRLFpp"):
        assert torch.equal(data_of(model, 0).histories.items, first.histories.items)
    monkeypatch.undo()
    other = data_of("TIGER", 0, user_inter_num_interval="[6,inf)")
    assert len(other.histories) < len(first.histories)


def test_what_only_recbole_does_is_not_plain(data_of):
    for changes in (SETTINGS["another column"], SETTINGS["values"], SETTINGS["scaled times"]):
        data = data_of("SASRec", 0, **changes)
        assert not are_plain(data.config) and data.histories is None
    assert are_plain(data_of("TIGER", 0).config)


def test_rows_are_chosen_in_every_way_that_recbole_chooses(data_of):
    rows = data_of("TIGER", 0, backbone="t5", MAX_ITEM_LIST_LENGTH=4).build()[0].inter_feat
    lists, users = rows["item_id_list"].clone(), rows["user_id"].clone()
    assert isinstance(rows, HistoryRows)
    for index in ([3, 1, 1], np.array([2, 0]), torch.tensor([4]), slice(1, 6, 2), users == users[0], []):
        chosen = rows[index]
        picked = index if not isinstance(index, list) else torch.tensor(index, dtype=torch.int64)
        assert torch.equal(chosen["item_id_list"], lists[picked])
        assert torch.equal(chosen["user_id"], users[picked])
    assert torch.equal(rows[2]["item_id_list"], lists[2]) and rows[2]["user_id"].dim() == 0
    rows["item_id_list"] = lists + 1  # a column that is put there stays with its rows
    assert torch.equal(rows[[5, 0]]["item_id_list"], lists[[5, 0]] + 1)
    rows.drop("timestamp_list")
    assert "timestamp_list" not in rows[:2] and "timestamp_list" not in rows[:2].to("cpu")


def test_a_damaged_cache_is_named(data_of, tmp_path):
    data_of("TIGER", 0)
    (file,) = (tmp_path / "0" / "saved" / "histories").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"histories.tiny-\w+\.safetensors: this cache file is damaged"):
        InteractionHistories.load(file)


@pytest.mark.parametrize("by", ["timestamp", "item_id", ["user_id", "timestamp"], "item_id_list"])
def test_rows_are_sorted_as_recbole_sorts_them(data_of, by):
    rows = data_of("TIGER", 0, backbone="t5", MAX_ITEM_LIST_LENGTH=4).build()[0].inter_feat
    plain = Interaction(dict(rows.interaction))
    rows.sort(by)
    plain.sort(by)
    assert all(torch.equal(rows[name], column) for name, column in plain.interaction.items())


def test_a_column_that_is_not_there_sorts_nothing(data_of):
    rows = data_of("TIGER", 0, backbone="t5").build()[0].inter_feat
    with pytest.raises(ValueError, match="nowhere"):
        rows.sort("nowhere")


def test_a_loader_holds_no_list_of_its_row_numbers(data_of):
    data = data_of("TIGER", 0)
    for loader in data_preparation(data.config, data):
        assert loader.sampler.data_source == range(loader.sample_size)
