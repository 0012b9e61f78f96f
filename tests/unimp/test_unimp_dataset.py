"""UniMP's data set beside RecBole's own, and the files it reads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation

from recbole_mgr.integration.config import known_keys, make_config
from recbole_mgr.unimp.personal_data import PersonalData

SAMPLE = Path(__file__).parents[2] / "dataset_atomic"
TASKS = ["recommendation", "preference", "explanation"]


def build(model, folder, name, **changes):
    known = known_keys(model)
    settings = {"gpu_id": "", "state": "ERROR", "data_path": str(folder), "tasks": TASKS, **changes}
    dataset = create_dataset(make_config(model, name, [], {k: v for k, v in settings.items() if k in known}))
    return dataset, dataset.build()


def targets(part):
    return sorted(zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist(), strict=True))


def last_items(personal, part):
    return [(sequence.user_id, int(sequence.item_ids[-1])) for sequence in personal.sequences(part)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return build("UniMP", SAMPLE, "Beauty", checkpoint_dir=str(tmp_path_factory.mktemp("saved")))


def test_leave_one_out_has_the_targets_of_the_other_models(sample, tmp_path):
    dataset, parts = sample
    _, theirs = build("SASRec", SAMPLE, "Beauty", checkpoint_dir=str(tmp_path))
    personal = dataset.personal
    for name, ours, other in zip(("train", "valid", "test"), parts, theirs, strict=True):
        assert ours.personal is personal
        assert targets(ours) == targets(other)
        if name != "train":
            assert last_items(personal, name) == targets(other)
    histories = {
        user: items
        for user, items in zip(
            theirs[2].inter_feat["user_id"].tolist(), theirs[2].inter_feat["item_id_list"], strict=True
        )
    }
    for sequence in personal.sequences("test"):
        history = sequence.item_ids[:-1]
        assert histories[sequence.user_id][: len(history)].tolist() == history.tolist()
    trained = [
        (sequence.user_id, int(item)) for sequence in personal.sequences("train") for item in sequence.item_ids[1:]
    ]
    assert sorted(trained) == targets(theirs[0])


def test_the_sample_by_hand(sample):
    personal = sample[0].personal
    catalogue, table = personal.catalogue, personal.table
    assert catalogue.num_items == len(table.item_tokens) == 623
    assert catalogue.has_image.sum() == 617
    item = 1 + table.item_tokens.index("B0SYN00001")
    assert catalogue.titles[item] == "Calyndra Studio Blush for Dullness, Sandalwood Scent, 6 g"
    assert catalogue.pictures[item] == "B0SYN00001.jpg"
    assert catalogue.queries[item] == catalogue.category_names[catalogue.category[item]] == "Blush"
    text = personal.tokenizer.decode(catalogue.text_token_ids(item))
    assert text.startswith(" Calyndra Studio Blush for") and "Makeup" in text
    row = int(
        np.flatnonzero((SAMPLE / "Beauty" / "Beauty.image.ids").read_text().split("\n") == np.array("B0SYN00001"))[0]
    )
    expected = torch.from_numpy(np.load(SAMPLE / "Beauty" / "Beauty.image.npy")[row]).float()
    assert torch.equal(catalogue.features(torch.tensor(item))[0], expected)

    assert personal.rating_values.tolist() == [1, 2, 3, 4, 5]
    user = sample[0].token2id("user_id", "U00000")
    whole = next(sequence for sequence in personal.sequences("test") if sequence.user_id == user)
    assert [table.item_tokens[item - 1] for item in whole.item_ids[:3]] == ["B0SYN00540", "B0SYN00344", "B0SYN00473"]
    assert personal.rating(whole.interactions[:3]).tolist() == [5, 3, 4]
    assert personal.review_text(whole.interactions[0]) == ""
    assert personal.review_text(whole.interactions[1]).startswith("The ruby shade is exactly my colour")
    longest = max(
        len(personal.review_text(row).split())
        for sequence in personal.sequences("test")
        for row in sequence.interactions
    )
    assert 10 < longest <= 20


def test_by_user_parts_are_disjoint(tmp_path):
    dataset, parts = build(
        "UniMP", SAMPLE, "Beauty", checkpoint_dir=str(tmp_path), user_split="by_user", tasks=["recommendation"]
    )
    users = [set(part.inter_feat["user_id"].tolist()) for part in parts]
    assert [len(members) for members in users] == [956, 119, 119]
    assert len(set.union(*users)) == 1194
    personal = dataset.personal
    for name, part in zip(("valid", "test"), parts[1:], strict=True):
        assert last_items(personal, name) == targets(part)
        assert all(
            row["item_length"] == len(sequence.item_ids) - 1
            for row, sequence in zip(sorted_rows(part), personal.sequences(name), strict=True)
        )
    assert len(parts[0].inter_feat) == sum(len(sequence.item_ids) - 1 for sequence in personal.sequences("train"))
    assert {sequence.user_id for sequence in personal.sequences("train")} == users[0]


def sorted_rows(part):
    rows = part.inter_feat
    return [rows[int(place)] for place in np.argsort(rows["user_id"].numpy())]


# -- a data set of one's own --------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path, write_dataset, tiny_settings):
    """A function that builds a tiny data set; it stands in the folder that ``shop.folder`` names."""
    folder = write_dataset(tmp_path)
    items = [f"i{item}" for item in range(24)]
    lines = ["item_id:token\ttitle:token_seq\tgenre:token"] + [
        f"{item}\tThing number {item[1:]}\tg{int(item[1:]) % 3}" for item in items
    ]
    (folder / "tiny.item").write_text("\n".join(lines) + "\n")

    def make(**changes):
        defaults = {"tasks": ["recommendation"], "text_fields": {"title": 8}, "category_field": "genre"}
        settings = tiny_settings(tmp_path, **{**defaults, "bpe_vocabulary": 300, **changes})
        return create_dataset(make_config("UniMP", "tiny", [], settings))

    make.folder = folder
    return make


def with_column(folder, name, values):
    file = folder / "tiny.inter"
    header, *rows = file.read_text().splitlines()
    rows = [f"{row}\t{values(index)}" for index, row in enumerate(rows)]
    file.write_text("\n".join([f"{header}\t{name}", *rows]) + "\n")


def test_atomic_ids_are_one_digit(shop):
    dataset = shop(item_ids="atomic")
    dataset.build()
    table = dataset.personal.table
    assert table.codes.tolist() == [[-1], *([code] for code in range(24))]
    assert dataset.personal.vocabulary.digit_ids(0).stop - dataset.personal.vocabulary.digit_ids(0).start == 24


def test_loaders_of_unseen_users(shop):
    dataset = shop(user_split="by_user")
    loaders = data_preparation(dataset.config, dataset)
    users = [set(loader._dataset.inter_feat["user_id"].tolist()) for loader in loaders]
    assert [len(members) for members in users] == [24, 3, 3]
    evaluated = [batch[0]["user_id"].tolist() for batch in loaders[2]]
    assert sorted(sum(evaluated, [])) == sorted(users[2])


def test_too_many_ratings_matter_to_tasks_that_use_them(shop):
    with_column(shop.folder, "rating:float", lambda row: row / 10)
    with pytest.raises(ValueError, match=r"tiny\.inter: the training part has \d+ different ratings"):
        shop(tasks=["preference"]).build()
    shop().build()


def test_pictures_are_read_where_they_are_shown(shop):
    (shop.folder / "tiny.image.npy").rename(shop.folder / "tiny.photo.npy")
    (shop.folder / "tiny.image.ids").rename(shop.folder / "tiny.photo.ids")
    with pytest.raises(ValueError, match=r"image_features: .* neither tiny\.image\.npy"):
        shop(modalities=["text"]).build()
    for quiet in ({"image_features": None}, {"image_attention": "none"}):
        dataset = shop(modalities=["text"], **quiet)
        dataset.build()
        assert not dataset.personal.catalogue.has_image.any()
    dataset = shop(modalities=["text"], image_features="photo")
    dataset.build()
    assert dataset.personal.catalogue.has_image[1:].all()


def test_reviews_of_the_test_teach_the_tokenizer_nothing(shop):
    rows = [line.split("\t") for line in (shop.folder / "tiny.inter").read_text().splitlines()[1:]]
    last = {user: item for user, item, _ in rows}
    reviews = ["user_id:token\titem_id:token\treview:token_seq"]
    reviews += [f"{user}\t{item}\t{'zyxzyx' if last[user] == item else 'wonderful'}" for user, item, _ in rows]
    (shop.folder / "tiny.review").write_text("\n".join(reviews) + "\n")
    dataset = shop(tasks=["explanation"], bpe_vocabulary=1000)
    dataset.build()
    personal = dataset.personal
    sequence = personal.sequences("test")[0]
    assert personal.review_text(sequence.interactions[-1]) == "zyxzyx"
    assert len(personal.review_token_ids(sequence.interactions[-1])) > 3  # never merged
    assert len(personal.review_token_ids(sequence.interactions[0])) == 1


def test_a_run_is_read_back_with_its_items(shop, tmp_path):
    dataset = shop()
    dataset.build()
    dataset.personal.save(tmp_path / "unimp")
    again = PersonalData.load(tmp_path / "unimp", dataset.semantic_ids)
    items = torch.arange(25)
    assert torch.equal(again.catalogue.features(items), dataset.personal.catalogue.features(items))
    assert all(
        np.array_equal(again.catalogue.text_token_ids(i), dataset.personal.catalogue.text_token_ids(i)) for i in items
    )
