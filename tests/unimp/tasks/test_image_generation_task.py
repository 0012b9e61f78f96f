"""The task on the shop of nine items, with a codec whose pictures can be told by their codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prompted_model import PromptedModel

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.pictures.item_pictures import ItemPictures
from recbole_mgr.unimp.tasks.image_generation import SHEET_FILE, ImageGenerationTask
from recbole_mgr.unimp.vocabulary import PromptVocabulary

SIZE = 16


class FlatCodec:
    """Four codes a picture, each the brightness of one quarter in one colour."""

    num_tokens, num_codes, picture_size = 4, 6, SIZE

    def decode(self, codes):
        quarters = (codes.reshape(-1, 2, 2) * 50).astype(np.uint8)  # [n, 2, 2]
        grey = quarters.repeat(SIZE // 2, axis=1).repeat(SIZE // 2, axis=2)  # [n, size, size]
        return np.stack([grey, 255 - grey, grey // 2], axis=-1)


class Painter(PromptedModel):
    """Draws the codes that it is given, one row after another."""

    def __init__(self, answers):
        self.answers = iter(answers)
        self.temperatures = set()

    def generate_answers(self, batch, *, allowed_token_ids, max_new_tokens, temperature):
        self.temperatures.add(temperature)
        answers = [next(self.answers).tolist() for _ in batch.token_ids]
        assert {token_id for answer in answers for token_id in answer} <= set(allowed_token_ids.tolist())
        assert {len(answer) for answer in answers} == {max_new_tokens}
        return answers


@pytest.fixture
def data(world, tmp_path):
    """The shop's data with pictures of all items but the ninth."""
    codes = np.full((10, 4), -1)
    codes[1:9] = np.random.default_rng(0).permutation(6**4)[:8, None] // 6 ** np.arange(4) % 6
    codec = FlatCodec()
    paths = [None, *(tmp_path / f"{item}.png" for item in range(1, 9)), None]
    for item in range(1, 9):
        Image.fromarray(codec.decode(codes[item : item + 1])[0]).save(paths[item])
    plain = world.data
    return PersonalData(
        catalogue=plain.catalogue,
        vocabulary=PromptVocabulary(
            plain.vocabulary.base_size, plain.table, num_ratings=4, num_candidates=4, picture_codes=6
        ),
        tokenizer=plain.tokenizer,
        table=plain.table,
        pictures=ItemPictures(codec, codes, paths),
        rating_values=plain.rating_values,
        seed=7,
        sequences=world.parts,
        reviews=world.reviews,
    )


@pytest.fixture
def task(data, settings, monkeypatch):
    monkeypatch.setattr(ImageGenerationTask, "instruction", "Looking for:")  # words that the shop's tokenizer knows
    return ImageGenerationTask(data, settings)


def read(task, row):
    """A row as words; picture codes are p<code>."""
    vocabulary = task.vocabulary
    marks = {vocabulary.image_id: "<image>", vocabulary.answer_id: "<answer>", vocabulary.end_id: "<end>"}
    marks |= {token_id: f"p{code}" for code, token_id in enumerate(vocabulary.picture_ids.tolist())}
    return " ".join(marks.get(token_id) or task.data.tokenizer.words[token_id] for token_id in row.token_ids.tolist())


def picture_words(task, item_id):
    return " ".join(f"p{code}" for code in task.pictures.codes[item_id])


def test_rows_show_pictures_as_codes(task):
    (case,) = [case for case in task.cases("test") if case.user_id == 1]  # took 1 4 7 2, then 5
    chunks = [f"<image> {name} <answer> {picture_words(task, item)} <end>"
              for item, name in ((4, "red comb"), (7, "red mask"), (2, "blue soap"))]  # fmt: skip
    prompt = " ".join([*chunks, "Looking for: comb <answer>"])
    assert read(task, task.row(case, answer=False)) == prompt
    row = task.row(case, answer=True)
    assert read(task, row) == f"{prompt} {picture_words(task, 5)} <end>"
    assert row.is_target.sum() == 5  # the history of a test case teaches nothing
    taught = task.row(replace(case, teaches_history=True), answer=True)
    assert taught.is_target.sum() == 4 * 5


def test_items_without_a_picture_are_no_target_and_no_history(task):
    assert all(case.target != 9 for part in ("valid", "test") for case in task.cases(part))
    assert all(9 not in case.history for epoch in range(5) for case in task.training_rows(epoch))
    assert 9 not in task.prompt([4, 9, 1], 2).images
    with pytest.raises(ValueError, match="none of the last 1 items"):
        task.prompt([9], 2)


def test_a_prompt_in_free_words_is_that_of_an_item_with_these_words(task):
    free = task.prompt([1, 2], query_token_ids=task.tokenize("comb"))
    assert read(task, free) == read(task, task.prompt([1, 2], 5))
    assert read(task, free) != read(task, task.prompt([1, 2], 1))
    with pytest.raises(ValueError, match="query"):
        task.prompt([1, 2])


def test_a_perfect_painter_is_as_good_as_the_codec(task, tmp_path):
    cases = task.cases("test")
    model = Painter([task.answer(case) for case in cases])
    result = task.evaluate(model, cases, tmp_path)
    assert result.task == "image_generation" and result.cases == len(cases) > 3
    assert result.metrics == result.baselines["target through the codec"]
    assert result.metrics["similarity"].value == pytest.approx(1, abs=1e-4)  # this codec loses nothing
    assert result.metrics["category"].value == 1
    assert result.baselines["random picture"]["similarity"].value < 0.9
    assert result.baselines["retrieved by query"]["category"].value == 1
    assert result.baselines["another of its category"]["category"].value == 1
    assert result.baselines["another of its category"]["similarity"].value < 0.9
    assert model.temperatures == {None}
    drawn = np.asarray(Image.open(tmp_path / "image_generation" / "01.png"))
    assert (drawn == task.pictures.codec.decode(task.pictures.codes[[cases[0].target]])[0]).all()
    assert (tmp_path / "image_generation" / SHEET_FILE).is_file()


def test_a_painter_of_wrong_pictures_is_seen_through(task, tmp_path):
    cases = task.cases("test")
    wrong = [task._picture_token_ids[1 + case.target % 8] for case in cases]
    result = task.evaluate(Painter(wrong), cases, tmp_path)
    assert result.metrics["similarity"].value < 0.7
    categories = task.catalogue.category
    expected = np.mean([categories[1 + case.target % 8] == categories[case.target] for case in cases])
    assert result.metrics["category"].value == pytest.approx(expected)


def test_retrieved_is_the_most_popular_of_the_query(task):
    popularity = np.zeros(10)
    for sequence in task.data.sequences("train"):
        np.add.at(popularity, sequence.item_ids, 1)
    retrieved = task._most_popular_of_query(np.array([1, 5, 8]))
    for item, group in zip(retrieved, ([1, 2, 3], [4, 5, 6], [7, 8]), strict=True):
        assert item in group and popularity[item] == popularity[group].max()


def test_another_of_its_category_is_never_the_target(task, monkeypatch):
    targets = np.array([1, 5, 8] * 20)
    others = task._others_alike(targets, np.random.default_rng(0))
    for target, group in ((1, {2, 3}), (5, {4, 6}), (8, {7})):  # 9 has no picture
        assert set(others[targets == target].tolist()) == group
    monkeypatch.setattr(task.catalogue, "category", np.arange(10))  # none is alike
    assert set(task._others_alike(targets, np.random.default_rng(0)).tolist()) == set(range(1, 9))


def test_data_without_pictures_are_refused(world, settings, monkeypatch):
    monkeypatch.setattr(ImageGenerationTask, "instruction", "Looking for:")
    with pytest.raises(ValueError, match="task image_generation: .* no pictures"):
        ImageGenerationTask(world.data, settings)
