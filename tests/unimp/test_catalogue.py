"""Items as tokens, vectors and names: cut, kept and read back."""

import numpy as np
import pytest
import torch

from recbole_mgr.unimp.catalogue import FILE, ItemCatalogue, RaggedTokenIds
from recbole_mgr.unimp.item_words import ItemWords
from recbole_mgr.unimp.tokenizer import train_tokenizer
from recbole_mgr.unimp.visual_features import VisualFeatures

WORDS = ItemWords(
    fields={"title": ["Rose soap", "Clay mask for oily skin"], "brand": ["Acme", "unknown"]},
    titles=["Rose soap", "Clay mask for oily skin"],
    pictures=["", "mask.jpg"],
    categories=["Soap", ""],
    queries=["Soap", "unknown"],
)
SIZES = {"num_items": 2, "num_tokens": 400}
VECTORS = np.arange(6, dtype=np.float16).reshape(1, 2, 3)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text for texts in WORDS.fields.values() for text in texts] * 3, vocabulary_size=400)


@pytest.fixture
def make(tokenizer):
    def make(words=WORDS, **text_fields) -> ItemCatalogue:
        visual = VisualFeatures(VECTORS, np.array([-1, -1, 0]))
        return ItemCatalogue.of(words, tokenizer, visual, text_fields=text_fields or {"title": 3, "brand": 9})

    return make


def test_some_of_the_texts():
    texts = [[1, 2, 3], [], [4], [5, 6], []]
    some = RaggedTokenIds.of(texts).take(np.array([3, 4, 0, 3]))
    assert [some[index].tolist() for index in range(4)] == [[5, 6], [], [1, 2, 3], [5, 6]]
    assert len(some.starts) == 5
    assert RaggedTokenIds.of(texts).take(np.empty(0, dtype=np.int64)).values.size == 0


def test_attributes_are_cut_and_joined_in_the_order_of_the_setting(make, tokenizer):
    title, brand = (
        tokenizer.encode(f" {text}", add_special_tokens=False) for text in ("Clay mask for oily skin", "unknown")
    )
    assert len(title) > 3
    assert make(title=3, brand=9).text_token_ids(2).tolist() == title[:3] + brand
    assert make(brand=9, title=3).text_token_ids(2).tolist() == brand + title[:3]
    assert tokenizer.decode(make(title=9, brand=9).text_token_ids(1)) == " Rose soap Acme"
    assert tokenizer.decode(make().query_token_ids(1)) == " Soap"
    assert make().text_token_ids(0).size == make().query_token_ids(0).size == 0  # PAD
    assert make().text_token_ids(1).dtype == np.int64


def test_vectors_by_item(make):
    catalogue = make()
    assert catalogue.has_image.tolist() == [False, False, True]
    assert catalogue.visual_shape == (2, 3)
    vectors = catalogue.features(torch.tensor([[2, 0], [1, 2]]))
    assert vectors.shape == (2, 2, 2, 3)
    assert vectors.dtype == torch.float32
    assert torch.equal(vectors[0, 0], torch.from_numpy(VECTORS[0]).float())
    assert torch.equal(vectors[1, 1], vectors[0, 0])
    assert not vectors[0, 1].any() and not vectors[1, 0].any()


@pytest.mark.parametrize(("share", "moved"), [(0.0, 0), (0.5, 5), (1.0, 10)])
def test_noise_gives_a_share_of_the_items_the_pictures_and_words_of_others(share, moved):
    names = [""] * 12
    clean = ItemCatalogue(
        text=RaggedTokenIds.of([[item] * item for item in range(12)]),
        query=RaggedTokenIds.of([[item] for item in range(12)]),
        visual=VisualFeatures(np.arange(10.0).reshape(10, 1, 1), np.array([-1, *range(10), -1])),
        category=np.zeros(12, dtype=np.int64),
        category_names=[""],
        titles=names,
        pictures=names,
        queries=names,
    )
    everything = torch.arange(12)
    pictures = clean.features(everything).flatten()
    noisy = clean.with_noise(share, 0).features(everything).flatten()
    assert (noisy != pictures).sum() == moved
    assert sorted(noisy[1:11]) == sorted(pictures[1:11]) and noisy[11] == 0  # which has none
    words = [clean.with_noise(0, share).text_token_ids(item).tolist() for item in range(12)]
    assert sum(text != [item] * item for item, text in enumerate(words)) == round(share * 11)
    assert sorted(map(len, words)) == list(range(12)) and words[0] == []
    assert clean.with_noise(1, 1).query_token_ids(7).tolist() == [7]
    assert torch.equal(clean.with_noise(0, share).features(everything).flatten(), pictures)


def test_categories(make):
    catalogue = make()
    assert [catalogue.category_names[index] for index in catalogue.category] == ["", "Soap", ""]
    assert catalogue.category.tolist() == [0, 1, 0]
    nowhere = make(WORDS._replace(categories=["", ""]))
    assert nowhere.category_names == [""]
    assert not nowhere.category.any()


@pytest.mark.parametrize("categories", [["Soap", ""], ["", ""]])
def test_saved_and_read_back(tmp_path, make, categories):
    before = make(WORDS._replace(categories=categories))
    before.save(tmp_path)
    after = ItemCatalogue.load(tmp_path, **SIZES)
    for item in range(3):
        assert np.array_equal(after.text_token_ids(item), before.text_token_ids(item))
        assert np.array_equal(after.query_token_ids(item), before.query_token_ids(item))
    everything = torch.arange(3)
    assert torch.equal(after.features(everything), before.features(everything))
    assert np.array_equal(after.category, before.category)
    for names in ("titles", "pictures", "queries", "category_names"):
        assert getattr(after, names) == getattr(before, names)
    assert after.num_items == 2
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_damaged_file(tmp_path, make):
    with pytest.raises(ValueError, match=rf"{FILE}: this file is damaged"):
        ItemCatalogue.load(tmp_path, **SIZES)
    make().save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{FILE}: this file is damaged"):
        ItemCatalogue.load(tmp_path, **SIZES)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("text_starts", np.array([0, 2, 1, 2])),
        ("text_starts", np.array([0.5, 1, 2, 3])),
        ("text_starts", np.array([0, 0, 10**12, 10**12])),
        ("text", np.array(3)),
        ("query", np.full(4, 400)),
        ("visual", np.zeros(3)),
        ("visual_rows", np.array([-1, -1, 1])),
        ("visual_rows", np.array([-1, -1])),
        ("category", np.array([0, 9, 0])),
        ("titles", np.frombuffer(b"one", dtype=np.uint8)),
    ],
)
def test_a_file_whose_parts_do_not_fit(tmp_path, make, name, array):
    make().save(tmp_path)
    with np.load(tmp_path / FILE) as arrays:
        changed = {**arrays, name: array}
    np.savez(tmp_path / FILE, **changed)
    with pytest.raises(ValueError, match=rf"{FILE}: not a readable catalogue .*copy the run directory whole"):
        ItemCatalogue.load(tmp_path, **SIZES)
