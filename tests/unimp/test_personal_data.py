"""Ratings and reviews by interaction, and what a run directory keeps."""

import numpy as np
import pytest

from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.catalogue import ItemCatalogue
from recbole_mgr.unimp.item_words import ItemWords
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tokenizer import train_tokenizer
from recbole_mgr.unimp.user_sequences import UserSequence
from recbole_mgr.unimp.visual_features import VisualFeatures
from recbole_mgr.unimp.vocabulary import PromptVocabulary

TITLES = ["soap", "mask", "balm"]
SEQUENCE = UserSequence(1, np.array([1, 2, 3]), np.array([0, 1, 2]))


def table(last=2):
    return SemanticIdTable.from_blocks({"item": np.array([[0], [1], [last]])}, list("abc"))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TITLES * 3, vocabulary_size=300)


@pytest.fixture
def make(tokenizer):
    def make(**said) -> PersonalData:
        words = ItemWords({"title": TITLES}, TITLES, [""] * 3, [""] * 3, TITLES)
        return PersonalData(
            catalogue=ItemCatalogue.of(words, tokenizer, VisualFeatures.none(3), text_fields={"title": 5}),
            vocabulary=PromptVocabulary(len(tokenizer), table(), num_ratings=3, num_candidates=2, picture_codes=0),
            tokenizer=tokenizer,
            table=table(),
            pictures=None,
            seed=7,
            sequences={"train": [SEQUENCE]},
            **{"rating_values": np.array([1.0, 3.0, 5.0]), **said},
        )

    return make


def test_ratings_and_their_places(make):
    data = make(ratings=np.array([3, np.nan, 4.5]))
    asked = np.array([[0, 1], [2, -1]])  # -1: an interaction that nobody knows
    assert np.array_equal(data.rating(asked), [[3, np.nan], [4.5, np.nan]], equal_nan=True)
    assert data.rating_index(asked).tolist() == [[1, -1], [2, -1]]  # 4.5 takes the place of 5
    assert data.has_ratings


def test_without_ratings(make):
    data = make(rating_values=np.array([]), ratings=np.array([np.nan, 2]))
    assert not data.has_ratings
    assert data.rating_index(np.array([0, 1, -1])).tolist() == [-1, -1, -1]


def test_reviews(make, tokenizer):
    data = make(ratings=np.full(3, np.nan), reviews=["soap mask", "", "balm"])
    assert data.has_reviews
    assert [data.review_text(row) for row in (0, 1, 2, -1)] == ["soap mask", "", "balm", ""]
    assert [len(data.review_token_ids(row)) for row in (1, -1)] == [0, 0]
    assert tokenizer.decode(data.review_token_ids(0)) == " soap mask"
    assert tokenizer.decode(data.review_token_ids(2)) == " balm"


def test_without_reviews(make):
    data = make(ratings=np.full(3, np.nan))
    assert not data.has_reviews
    assert data.review_text(2) == data.review_text(-1) == ""
    assert data.review_token_ids(2).size == 0


def test_a_run_keeps_items_and_no_user(tmp_path, make):
    before = make(ratings=np.array([1, 3, 5.0]), reviews=["secret one", "", ""])
    before.save(tmp_path / "unimp")
    after = PersonalData.load(tmp_path / "unimp", table())
    assert after.sequences("train") == after.sequences("test") == []
    assert after.has_ratings and after.has_reviews  # the model can still be asked for them
    assert after.rating_values.tolist() == [1, 3, 5]
    assert after.rating_index(np.array([-1, -1])).tolist() == [-1, -1]
    assert after.review_text(-1) == "" and after.review_token_ids(-1).size == 0
    assert after.seed == 7
    assert after.pictures is None
    assert after.vocabulary.state() == before.vocabulary.state()
    assert after.catalogue.titles == before.catalogue.titles
    assert after.tokenizer.encode(" soap mask balm") == before.tokenizer.encode(" soap mask balm")
    assert after.tokenizer.pad_token_id == before.tokenizer.pad_token_id
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_run_keeps_what_users_said_where_it_is_told(tmp_path, make, tokenizer):
    before = make(ratings=np.array([1, np.nan, 4.5]), reviews=["soap mask", "", "balm"])
    before.save(tmp_path, np.array([2, 0, 1]))
    after = PersonalData.load(tmp_path, table())
    assert after.num_interactions == before.num_interactions == 3
    assert after.rating_index(np.array([0, 1, 2, -1])).tolist() == [2, 0, -1, -1]
    said = [tokenizer.decode(after.review_token_ids(row)) for row in (0, 1, 2, -1)]
    assert said == [" balm", " soap mask", "", ""]
    with np.load(tmp_path / "ratings_and_reviews.npz", allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(kind) for kind in (np.int8, np.int32, np.int64)}
    (tmp_path / "ratings_and_reviews.npz").rename(tmp_path / "opinions.npz")  # as earlier versions called it
    assert PersonalData.load(tmp_path, table()).rating_index(np.array([0, 1])).tolist() == [2, 0]


def test_where_nobody_can_say_anything_no_file_is_kept(tmp_path, make):
    make(rating_values=np.array([]), ratings=np.full(3, np.nan)).save(tmp_path, np.array([0, 1, 2]))
    assert not (tmp_path / "ratings_and_reviews.npz").exists()
    assert PersonalData.load(tmp_path, table()).num_interactions == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: np.savez(path, rating_index=np.zeros(1, np.int8)),
        lambda path: np.savez(path, rating_index=np.zeros(2, np.int8), review=np.zeros(0), review_starts=np.zeros(2)),
        lambda path: np.savez(path, rating_index=np.full(1, 3), review=np.zeros(0), review_starts=np.zeros(2)),
        lambda path: np.savez(path, rating_index=np.array([print], dtype=object)),
        lambda path: np.savez(path, rating_index=np.array(1), review=np.zeros(0, int), review_starts=np.zeros(2, int)),
        lambda path: np.savez(path, rating_index=np.ones(1, int), review=[10**6], review_starts=[0, 1]),
    ],
    ids=["cut short", "no reviews", "more ratings", "another scale", "code", "one number", "words beyond all"],
)
def test_damaged_ratings_and_reviews_are_named(tmp_path, make, damage):
    make(ratings=np.array([1, 3, 5.0])).save(tmp_path, np.array([0, 1, 2]))
    damage(tmp_path / "ratings_and_reviews.npz")
    with pytest.raises(
        ValueError, match=r"ratings_and_reviews\.npz: (this file is damaged|not readable).*copy the run"
    ):
        PersonalData.load(tmp_path, table())


def test_other_semantic_ids_and_damage(tmp_path, make):
    with pytest.raises(ValueError, match=r"personal\.yaml: missing or damaged"):
        PersonalData.load(tmp_path, table())
    make().save(tmp_path)
    with pytest.raises(ValueError, match=r"personal\.yaml: belongs to other semantic IDs"):
        PersonalData.load(tmp_path, table(last=3))
    (tmp_path / "personal.yaml").write_text("seed: 1\n")
    with pytest.raises(ValueError, match=r"personal\.yaml: missing or damaged"):
        PersonalData.load(tmp_path, table())
