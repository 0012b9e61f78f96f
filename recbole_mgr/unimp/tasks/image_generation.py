"""Image generation: the picture of what a user would like, drawn in discrete codes from words and their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from recbole_mgr.data.pictures import read_picture
from recbole_mgr.files import replacing
from recbole_mgr.integration.task_results import Estimate, TaskResult, estimate
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.pictures.contact_sheet import SheetRow, contact_sheet
from recbole_mgr.unimp.pictures.likeness import PictureLikeness
from recbole_mgr.unimp.pictures.pixels import read_pixels
from recbole_mgr.unimp.rows import SEES_ALL, Row, RowBuilder
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply
from recbole_mgr.unimp.tasks.task import AnsweringModel, EvaluatedTask
from recbole_mgr.unimp.user_sequences import UserSequence

SHEET_FILE = "contact_sheet.png"
_CASES_SHOWN = 20
_ROWS_AT_ONCE = 64
_MOST_COMPARED = 10_000  # pictures of the catalogue among which the nearest one is looked for


@dataclass(frozen=True, eq=False, kw_only=True)
class FreePicture(Case):
    """A picture asked for in words of the user's own, int64 [q] token ids."""

    query_token_ids: np.ndarray


class ImageGenerationTask(EvaluatedTask):
    """What would it look like? The question is the words of the target's category and, by setting, of its title.

    A picture is the G codes of the run's `PictureCodec`, one token each. Items without a picture are left out of
    histories, for their chunks would have no answer.

    Deviation: the paper's code gives history items no context target in this task; here ``context_targets`` decides.

    Args:
        data, settings: as of `Task`.

    Raises:
        ValueError: If the data have no pictures, or no words to ask with.
    """

    name = "image_generation"
    short_name = "image"
    instruction = "Show a picture of:"
    stage = 6
    needs = frozenset({"pictures"})
    asks_for = "query"

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        super().__init__(data, settings)
        if data.pictures is None:
            raise ValueError(f"task {self.name}: this data set's items have no pictures; leave it out of tasks")
        if not any(data.catalogue.queries):
            raise ValueError(f"task {self.name}: no item has words to ask for it; set category_field or leave it out")
        self.pictures = data.pictures
        self._has_picture = data.pictures.has_picture  # bool [N+1]
        self._picture_token_ids = self.vocabulary.picture_ids.numpy()[data.pictures.codes]  # [N+1, G]

    @property
    def max_answer_tokens(self) -> int:
        return self.pictures.codec.num_tokens + 1

    def answer(self, case: Case) -> np.ndarray:
        return self._picture_token_ids[case.target]

    def history_answer(self, case: Case, index: int) -> np.ndarray:
        return self._picture_token_ids[case.history[index]]

    def ask(self, builder: RowBuilder, case: Case) -> None:
        super().ask(builder, case)
        free = isinstance(case, FreePicture)
        query = case.query_token_ids if free else self.catalogue.query_token_ids(case.target)
        builder.text(query, sees=SEES_ALL)

    def case_at(self, sequence: UserSequence, position: int, generator: np.random.Generator) -> Case | None:
        target = sequence.item_ids[position]
        if not self._has_picture[target] or not len(self.catalogue.query_token_ids(target)):
            return None
        case = super().case_at(sequence, position, generator)
        return None if case is None else self._with_pictures_only(case)

    def prompt(
        self, history: Sequence[int], target: int | None = None, *, query_token_ids: np.ndarray | None = None
    ) -> Row:
        """A row that ends where a picture is to be generated.

        Args:
            history: item ids, oldest first; at least one of the last ``history_items`` has a picture.
            target: the item whose words are the query, or
            query_token_ids: int64 [q], the query itself.

        Raises:
            ValueError: If there is no query, or no picture in the history.
        """
        items = np.asarray(history, dtype=np.int64)[-self.settings["history_items"] :]
        if query_token_ids is not None:
            case = FreePicture(0, items, 0, np.full_like(items, -1), query_token_ids=query_token_ids)
        elif target is not None:
            case = Case(0, items, target, np.full_like(items, -1))
        else:
            raise ValueError(f"task {self.name}: nothing to draw; give a query")
        case = self._with_pictures_only(case)
        if case is None:
            raise ValueError(f"task {self.name}: none of the last {len(items)} items of the history has a picture")
        return self.row(case, answer=False)

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        row = self.prompt(question.history, query_token_ids=question.query_token_ids)
        (pixels,) = self.draw(model, [row], temperature=question.temperature)
        return Reply(row, pixels=pixels)

    def draw(self, model: AnsweringModel, rows: Sequence[Row], *, temperature: float | None = None) -> np.ndarray:
        """Pictures uint8 [n, size, size, 3] for n prompts.

        Args:
            model: in evaluation mode.
            rows: prompts.
            temperature: draw the codes by chance with it; None takes the likeliest, one after another.
        """
        drawn: list[list[int]] = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            drawn += model.generate_answers(
                model.collate_prompts(rows[start : start + _ROWS_AT_ONCE]),
                allowed_token_ids=self.vocabulary.picture_ids,
                max_new_tokens=self.pictures.codec.num_tokens,
                temperature=temperature,
            )
        codes = np.array(drawn, dtype=np.int64) - int(self.vocabulary.picture_ids[0])  # [n, G]
        return self.pictures.codec.decode(codes)

    def evaluate(self, model: AnsweringModel, cases: Sequence[Case], run_dir: Path) -> TaskResult:
        """Compare generated pictures with the targets', all scaled to the codec's size.

        ``similarity`` is the cosine of `PictureLikeness`; ``category`` the share of pictures whose nearest picture of
        the catalogue shows an item of the target's category.
        """
        generated = self.draw(model, [self.row(case, answer=False) for case in cases])  # [n, size, size, 3]
        targets = np.array([case.target for case in cases])  # [n]
        generator = np.random.default_rng(0)
        compared = np.sort(generator.permutation(np.flatnonzero(self._has_picture))[:_MOST_COMPARED])
        judge = _Judge(self._pixels(compared), self.catalogue.category[compared])
        truth = _Truth(judge.vectors(self._pixels(targets)), self.catalogue.category[targets])
        reconstructed = self.pictures.codec.decode(self.pictures.codes[targets])
        self._write_pictures(cases, generated, run_dir / self.name)
        return TaskResult(
            task=self.name,
            cases=len(cases),
            metrics=judge.metrics(generated, truth),
            baselines={
                "random picture": judge.metrics(self._pixels(generator.choice(compared, len(cases))), truth),
                "another of its category": judge.metrics(self._pixels(self._others_alike(targets, generator)), truth),
                "retrieved by query": judge.metrics(self._pixels(self._most_popular_of_query(targets)), truth),
                "target through the codec": judge.metrics(reconstructed, truth),
            },
            notes=[
                "Another of its category: the picture of another item of the target's category, taken by chance.",
                "Retrieved by query: the picture of the most popular item with the same words, for orientation.",
                "Target through the codec: what a perfect drawing in these codes would reach.",
                f"To look at: {self.name}/{SHEET_FILE} in the run directory.",
            ],
        )

    def _with_pictures_only(self, case: Case) -> Case | None:
        """The case without history items that have no picture; None where none is left."""
        kept = self._has_picture[case.history]
        if not kept.any():
            return None
        return replace(case, history=case.history[kept], history_interactions=case.history_interactions[kept])

    def _pixels(self, item_ids: np.ndarray) -> np.ndarray:
        """The real pictures of items, uint8 [n, size, size, 3]."""
        distinct, rows = np.unique(item_ids, return_inverse=True)
        return read_pixels([self.pictures.paths[item] for item in distinct], self.pictures.codec.picture_size)[rows]

    def _others_alike(self, targets: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """For each target, another item of its category with a picture, by chance; any item where there is no other."""
        shown, categories = np.flatnonzero(self._has_picture), self.catalogue.category
        others = []
        for target in targets:
            alike = shown[(categories[shown] == categories[target]) & (shown != target)]
            others.append(generator.choice(alike if len(alike) else shown))
        return np.array(others)

    def _most_popular_of_query(self, targets: np.ndarray) -> np.ndarray:
        """For each target, the item with a picture and the same query that training users took most often."""
        popularity = self.data.training_popularity()
        best: dict[str, int] = {}
        for item in np.flatnonzero(self._has_picture)[np.argsort(-popularity[self._has_picture], kind="stable")]:
            best.setdefault(self.catalogue.queries[item], item)
        return np.array([best[self.catalogue.queries[target]] for target in targets])

    def _write_pictures(self, cases: Sequence[Case], generated: np.ndarray, folder: Path) -> None:
        rows = []
        for number, (case, pixels) in enumerate(zip(cases[:_CASES_SHOWN], generated, strict=False), start=1):
            picture = Image.fromarray(pixels)
            write_picture(picture, folder / f"{number:02}.png")
            history = [read_picture(self.pictures.paths[item]) for item in case.history]
            target = read_picture(self.pictures.paths[case.target])
            rows.append(SheetRow(history, self.catalogue.queries[case.target], picture, target))
        write_picture(contact_sheet(rows), folder / SHEET_FILE)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of the file's suffix, whole or not at all."""
    with replacing(path) as unfinished:
        picture.save(unfinished)


class _Truth(NamedTuple):
    """Vectors [n, dim] and categories [n] of the targets."""

    vectors: np.ndarray
    categories: np.ndarray


class _Judge:
    """Compares pictures with targets, and finds the nearest picture of a catalogue.

    Args:
        pixels: uint8 [c, size, size, 3], the catalogue.
        categories: int64 [c], of its items.
    """

    def __init__(self, pixels: np.ndarray, categories: np.ndarray) -> None:
        likeness = PictureLikeness(pixels)
        self.vectors = likeness.vectors
        self._catalogue, self._categories = likeness.vectors(pixels), categories

    def metrics(self, pixels: np.ndarray, truth: _Truth) -> dict[str, Estimate]:
        """Of pictures uint8 [n, size, size, 3] that stand for n targets."""
        vectors = self.vectors(pixels)
        nearest = [int(np.argmax(self._catalogue @ vector)) for vector in vectors]
        return {
            "similarity": estimate((vectors * truth.vectors).sum(axis=1)),
            "category": estimate(self._categories[nearest] == truth.categories),
        }
