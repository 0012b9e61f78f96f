"""The generating models' data set: each target once, time to the second, features kept out of batches."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import SequentialDataset

from recbole_mgr.data.features import read_feature_file
from recbole_mgr.integration.config import known_keys, make_config
from recbole_mgr.integration.dataset import GenerativeDataset
from recbole_mgr.integration.windows import TARGET_COUNT

START = 1_400_000_000


@pytest.fixture
def make_dataset(tiny_settings):
    """A function that makes the data set of a model from files in a folder."""

    def make(folder, model="TIGER", **changes):
        known = known_keys(model)
        settings = {key: value for key, value in tiny_settings(folder, **changes).items() if key in known}
        return create_dataset(make_config(model, "tiny", [], settings))

    return make


def tokens(part, *fields) -> list[tuple[str, ...]]:
    """Rows of a built part as tokens."""
    return list(zip(*(part.id2token(field, part.inter_feat[field]).tolist() for field in fields), strict=True))


def walks(num_users=12, longest=23, repeats=True, seed=0) -> list[tuple[str, str, float]]:
    """Interactions of users with 1 to ``longest`` of them each, one second apart or at the same time."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        length = 1 + user * (longest - 1) // (num_users - 1)
        items = rng.integers(8, size=length) if repeats else rng.permutation(longest)[:length]
        times = START + np.sort(rng.integers(length, size=length))
        rows += [(f"u{user}", f"i{item}", time) for item, time in zip(items, times, strict=True)]
    return rows


# -- every interaction trains exactly once ------------------------------------------------------------------------


def pairs_of(part) -> list[tuple[int, int]]:
    return list(zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist(), strict=True))


def targets_of(train) -> Counter:
    """(user, target) pairs that a training part counts, read from the rows alone."""
    pairs = Counter()
    rows = train.inter_feat
    for user, history, length, target, count in zip(
        rows["user_id"], rows["item_id_list"], rows["item_length"], rows["item_id"], rows[TARGET_COUNT], strict=True
    ):
        window = [*history[:length].tolist(), target.item()]
        assert 1 <= count <= length  # every counted item has something before it
        pairs.update((user.item(), item) for item in window[-int(count) :])
    return pairs


@pytest.mark.parametrize("longest_list", [1, 3, 5, 50])
@pytest.mark.parametrize("repeats", [True, False], ids=["items repeat", "items differ"])
def test_windows_count_each_of_recboles_targets_once(tmp_path, write_dataset, make_dataset, longest_list, repeats):
    write_dataset(tmp_path, interactions=walks(repeats=repeats))
    theirs = SequentialDataset(make_dataset(tmp_path, "SASRec", MAX_ITEM_LIST_LENGTH=longest_list).config).build()
    expected = Counter(pairs_of(theirs[0]))
    per_user = Counter(theirs[0].inter_feat["user_id"].tolist())
    for stride in sorted({1, 2, longest_list - 1, longest_list}):
        if not 1 <= stride <= longest_list:
            continue
        ours = make_dataset(tmp_path, MAX_ITEM_LIST_LENGTH=longest_list, window_stride=stride).build()
        assert targets_of(ours[0]) == expected
        rows = Counter(ours[0].inter_feat["user_id"].tolist())
        assert rows == {user: -(-count // stride) for user, count in per_user.items()}  # no more rows than needed
        assert ours[0].item_counter == theirs[0].item_counter
        assert ours[0].user_counter == theirs[0].user_counter
        for part in (1, 2):
            assert ours[part].inter_feat.columns == theirs[part].inter_feat.columns
            for field in theirs[part].inter_feat.columns:
                assert torch.equal(ours[part].inter_feat[field], theirs[part].inter_feat[field])


def test_a_window_is_a_piece_of_the_users_history(tmp_path, write_dataset, make_dataset):
    interactions = walks(repeats=False)
    write_dataset(tmp_path, interactions=interactions)
    sequence = {}
    for user, item, _ in interactions:
        sequence.setdefault(user, []).append(item)
    train = make_dataset(tmp_path, MAX_ITEM_LIST_LENGTH=5, window_stride=3).build()[0]
    rows = train.inter_feat
    counted = Counter()
    for index in range(len(rows)):
        user = train.id2token("user_id", rows["user_id"][index])
        ids = [*rows["item_id_list"][index][: rows["item_length"][index]].tolist(), rows["item_id"][index].item()]
        items = train.id2token("item_id", ids).tolist()
        start = sequence[user].index(items[0])
        assert items == sequence[user][start : start + len(items)]
        end = start + len(items)
        counted.update((user, place) for place in range(end - int(rows[TARGET_COUNT][index]), end))
    # the first item has no history; the last two of four and more are validation and test
    last = {user: len(items) - min(2, max(0, len(items) - 2)) for user, items in sequence.items()}
    assert counted == Counter((user, place) for user in sequence for place in range(1, last[user]))


def test_the_widest_window_is_the_default(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path, interactions=walks())
    default = make_dataset(tmp_path, MAX_ITEM_LIST_LENGTH=4).build()[0]
    widest = make_dataset(tmp_path, MAX_ITEM_LIST_LENGTH=4, window_stride=4).build()[0]
    assert torch.equal(default.inter_feat[TARGET_COUNT], widest.inter_feat[TARGET_COUNT])
    assert torch.equal(default.inter_feat["item_id_list"], widest.inter_feat["item_id_list"])


def test_t5_trains_on_recboles_rows_as_they_are(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path, interactions=walks())
    ours = make_dataset(tmp_path, backbone="t5", MAX_ITEM_LIST_LENGTH=5).build()[0]
    theirs = make_dataset(tmp_path, "SASRec", MAX_ITEM_LIST_LENGTH=5).build()[0]
    assert ours.inter_feat.columns == theirs.inter_feat.columns
    for field in theirs.inter_feat.columns:
        assert torch.equal(ours.inter_feat[field], theirs.inter_feat[field])


# -- order of time ------------------------------------------------------------------------------------------------


def test_split_follows_the_second_and_then_the_line(tmp_path, write_dataset, make_dataset):
    """float32 rounds these times to multiples of 128 s, and an unstable sort would swap ties."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        [(f"u{u}", f"i{rng.integers(15)}", START + rng.integers(12)) for u in range(40) for _ in range(4 + u % 9)],
        columns=["user", "item", "time"],
    ).sample(frac=1, random_state=1)
    write_dataset(tmp_path, interactions=list(rows.itertuples(index=False, name=None)))
    sequences = rows.sort_values("time", kind="stable").groupby("user", sort=False)["item"].agg(list)
    rounded = rows.assign(time=rows["time"].astype(np.float32)).sort_values("time", kind="stable")
    assert (rounded.groupby("user", sort=False)["item"].agg(list).reindex(sequences.index) != sequences).any()
    for model in ("TIGER", "SASRec", "BPR"):
        train, valid, test = make_dataset(tmp_path, model).build()
        assert dict(tokens(test, "user_id", "item_id")) == {u: items[-1] for u, items in sequences.items()}
        assert dict(tokens(valid, "user_id", "item_id")) == {u: items[-2] for u, items in sequences.items()}
        if model == "BPR":
            expected = Counter((u, item) for u, items in sequences.items() for item in items[:-2])
            assert Counter(tokens(train, "user_id", "item_id")) == expected
        else:
            histories = test.id2token("item_id", test.inter_feat["item_id_list"])
            for (user,), history in zip(tokens(test, "user_id"), histories.tolist(), strict=True):
                assert [item for item in history if item != "[PAD]"] == sequences[user][:-1]


def test_what_users_have_seen_before_each_phase(tmp_path, write_dataset, make_dataset):
    interactions = [row for row in walks(seed=3) if row[0] not in ("u0", "u1")]
    write_dataset(tmp_path, interactions=interactions)
    _, valid, test = make_dataset(tmp_path).build()
    sequences = pd.DataFrame(interactions).groupby(0, sort=False)[1].agg(list)
    for part, place in ((valid, -2), (test, -1)):
        rows = part.inter_feat
        seen = part.seen_items.rows(rows["user_id"])
        for (user,), items in zip(tokens(part, "user_id"), seen, strict=True):
            assert {part.id2token("item_id", item) for item in items.tolist() if item} == set(sequences[user][:place])


# -- features -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_features_enter_neither_batches_nor_weights(tmp_path, write_dataset, make_dataset, backbone):
    folder = write_dataset(tmp_path)
    for modality in ("text", "image"):  # 7 values per item: no tensor of the model has that width
        ids = (folder / f"tiny.{modality}.ids").read_text().split()
        np.save(folder / f"tiny.{modality}.npy", np.random.default_rng(0).normal(size=(len(ids), 7)).astype(np.float32))
    dataset = make_dataset(tmp_path, "MGRLFpp", backbone=backbone)
    train_data, valid_data, _ = data_preparation(dataset.config, dataset)
    for batch in (next(iter(train_data)), next(iter(valid_data))[0]):
        floats = {field for field in batch.columns if batch[field].is_floating_point()}
        assert floats == {"timestamp", "timestamp_list"}
        assert "item_id_list" in batch.columns
    model = dataset.config.model_class(dataset.config, train_data._dataset)
    kept = {**model.state_dict(), **{k: v for k, v in model.other_parameter().items() if torch.is_tensor(v)}}
    assert kept
    assert not [name for name, tensor in kept.items() if 7 in tensor.shape]


def test_semantic_ids_stand_in_the_order_of_recboles_items(tmp_path, write_dataset, make_dataset):
    folder = write_dataset(tmp_path)
    dataset = make_dataset(tmp_path, codebook_size=24, codebook_levels=1)
    parts = dataset.build()
    assert all(part.semantic_ids is dataset.semantic_ids for part in parts)
    table = dataset.semantic_ids
    assert table.item_tokens == dataset.field2id_token["item_id"][1:].tolist()
    # as many codes as items: an item has the code of the vector that is its own, so like vectors share a code
    file = read_feature_file(folder, "tiny", "text")
    vectors = np.array(file.vectors)
    twin, of = file.item_tokens.index("i3"), file.item_tokens.index("i11")
    vectors[twin] = vectors[of]
    np.save(folder / "tiny.text.npy", vectors)
    table = make_dataset(tmp_path, codebook_size=24, codebook_levels=1).build()[0].semantic_ids
    codes = dict(zip(table.item_tokens, table.codes[1:, 0].tolist(), strict=True))
    assert [item for item in codes if codes[item] == codes["i3"]] == [i for i in codes if i in ("i3", "i11")]
    assert len(set(codes.values())) == len(codes) - 1


def test_what_user_supplied_semantic_ids_lack_is_built(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path)
    built = make_dataset(tmp_path, "MGRLF").build()[0].semantic_ids
    for modality in ("text", "image"):
        supplied = tmp_path / f"{modality}.semantic_ids.tsv"
        codes = built.codes[1:, built.block(modality)].tolist()
        rows = (f"{item}\t{' '.join(map(str, row))}" for item, row in zip(built.item_tokens, codes, strict=True))
        supplied.write_text("\n".join([f"item_id:token\t{modality}_codes:token_seq", *rows]) + "\n")
        dataset = make_dataset(tmp_path, "MGRLF", semantic_ids=str(supplied))
        assert torch.equal(dataset.build()[0].semantic_ids.codes, built.codes)
        assert dataset.item_tokenizer is None  # nothing tells the user-supplied codes of items to come
    (tmp_path / "tiny" / "tiny.text.npy").unlink()
    with pytest.raises(ValueError, match="'text' has no features"):
        make_dataset(tmp_path, "MGRLF", semantic_ids=str(supplied)).build()


def test_items_without_features_are_kept_or_dropped(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path, without_vector=["i0", "i7"])
    for policy in ("mean", "zero"):
        kept = make_dataset(tmp_path, "MGRLF", missing_modality=policy)
        assert kept.item_num - 1 == 24
        kept.build()
    dropped = make_dataset(tmp_path, "MGRLF", missing_modality="drop")
    assert not {"i0", "i7"} & set(dropped.item_tokens)
    assert len(dropped.item_tokens) == 22
    baseline = make_dataset(tmp_path, "BPR", drop_items_without=["text"])
    assert set(baseline.field2id_token["item_id"]) == set(dropped.field2id_token["item_id"])
    assert len(baseline.inter_feat) == len(dropped.inter_feat)
    dropped.build()


def test_dropping_comes_before_the_filters_by_count(tmp_path, write_dataset, make_dataset):
    rows = [("u1", item, START + k) for k, item in enumerate("abcde")]
    rows += [("u2", item, START + k) for k, item in enumerate("abcdx")]
    write_dataset(tmp_path, interactions=rows, without_vector=["x"])
    dataset = make_dataset(tmp_path, missing_modality="drop", user_inter_num_interval="[5,inf)")
    assert dataset.field2id_token["user_id"].tolist() == ["[PAD]", "u1"]


# -- bad input ----------------------------------------------------------------------------------------------------


def test_a_modality_without_a_file_is_named(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path, modalities=["text"])
    with pytest.raises(ValueError, match=r"modalities: 'image' has no features.*tiny.image.npy"):
        make_dataset(tmp_path, "MGRLF").build()
    with pytest.raises(ValueError, match=r"modalities: 'image' has no features"):
        make_dataset(tmp_path, "MGRLF", missing_modality="drop")


def test_features_of_another_catalogue_are_refused(tmp_path, write_dataset, make_dataset):
    folder = write_dataset(tmp_path, modalities=["text"])
    ids = (folder / "tiny.text.ids").read_text()
    (folder / "tiny.text.ids").write_text(ids.replace("i", "B0"))
    with pytest.raises(ValueError, match=r"none of its 24 item ids .* is an item of tiny"):
        make_dataset(tmp_path).build()
    with pytest.raises(ValueError, match="missing_modality: drop leaves no interaction of tiny"):
        make_dataset(tmp_path, missing_modality="drop")


@pytest.mark.parametrize(
    "filters",
    [{"user_inter_num_interval": "[100,inf)"}, {"item_inter_num_interval": "[100,inf)"}]
    + [{"val_interval": {"timestamp": "[0,1]"}}],
    ids=["users", "items", "values"],
)
def test_filters_that_leave_nothing_are_named(tmp_path, write_dataset, make_dataset, filters):
    write_dataset(tmp_path)
    with pytest.raises(ValueError, match="tiny: the filters leave no interaction; loosen user_inter_num_interval"):
        make_dataset(tmp_path, **filters)


def test_histories_too_short_to_split_are_refused(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path, interactions=[(f"u{u}", f"i{i}", START + i) for u in range(5) for i in range(3)])
    with pytest.raises(ValueError, match="no user has 4 interactions left after filtering"):
        make_dataset(tmp_path).build()


def test_files_are_checked_before_recbole_reads_them(tmp_path, write_dataset, make_dataset):
    folder = write_dataset(tmp_path)
    with open(folder / "tiny.inter", "a") as file:
        file.write("u1\ti1\tyesterday\n")
    with pytest.raises(ValueError, match=r"tiny.inter, line \d+: timestamp is not a finite number"):
        make_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"none.inter does not exist; --data_path must name the folder"):
        GenerativeDataset(make_config("TIGER", "none", [], {"data_path": str(tmp_path)}))


def test_benchmark_files_are_refused(tmp_path, write_dataset, make_dataset):
    write_dataset(tmp_path)
    with pytest.raises(ValueError, match="benchmark_filename: .* give one .inter file"):
        make_dataset(tmp_path, benchmark_filename=["train", "valid", "test"])
