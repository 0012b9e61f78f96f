"""One task of a trained UniMP run for one user: what it was asked, what it saw, what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from recbole_mgr.serving.prompt_text import prompt_text
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.serving.run_directory import HISTORIES_FILE, RATINGS_FILE, Run
from recbole_mgr.unimp.tasks import make_tasks, task_names
from recbole_mgr.unimp.tasks.cases import Question, Reply
from recbole_mgr.unimp.tasks.task import Task


class PersonalRequest(NamedTuple):
    """What is asked, and for whom.

    Attributes:
        task: one task, by its full or short name.
        user: a user of the data that the run was trained on, or
        history: item ids, oldest first.
        query: words to search for, or of the picture to draw.
        item: the item to rate or to explain.
        candidates: the items to select from.
        k: items of a recommendation or a search.
        temperature: draw a picture's codes by chance with it; None takes the likeliest.
    """

    task: str
    user: str | None = None
    history: Sequence[str] | None = None
    query: str | None = None
    item: str | None = None
    candidates: Sequence[str] = ()
    k: int = 10
    temperature: float | None = None


class FoundItem(NamedTuple):
    """An item of an answer; ``score`` is its log-probability where the answer is a ranked list."""

    item_id: str
    title: str
    score: float | None = None


class PersonalAnswer(NamedTuple):
    """What a task answers.

    Attributes:
        prompt: as text.
        images: file names of the pictures that it shows.
        answer: the answer's lines.
        picture: where one was drawn.
        items: the answer as items, where it is some.
    """

    prompt: str
    images: list[str]
    answer: list[str]
    picture: Image.Image | None = None
    items: Sequence[FoundItem] = ()


class _Ranking(NamedTuple):
    """What `UniMP.ranking_by` reads of a task, about one question; its prompts depend on histories only."""

    name: str
    prompt: Any
    query: Any
    reads_target: bool = False


def personalize(run: Run, request: PersonalRequest) -> PersonalAnswer:
    """Answer a request.

    Args:
        run: as read from its folder.
        request: with what its task needs: a query (search, image_generation), an item (preference, explanation) or
            candidates (selection).

    Raises:
        ValueError: If the run is no UniMP run or has not learned the task, user or item are unknown, or the task
            needs something that the request does not have.
    """
    if run.about["model"] != "UniMP":
        raise ValueError(f"this is a run of {run.about['model']}, which only recommends; use recbole-mgr recommend")
    (name,) = _one_task(request.task)
    if name not in run.network.task_names:
        raise ValueError(
            f"task {request.task}: this run has learned {', '.join(run.network.task_names)}; name one of these, or "
            "train with it"
        )
    reader = _RequestReader(run, request, make_tasks([name], run.network.personal, run.settings)[0])
    reply, found = answer_to(run, reader.task, reader.question(), request.k)
    lines = list(reply.lines)
    if reply.is_ranking:
        lines = [f"{item.score:8.3f}  {item.item_id}  {item.title}".rstrip() for item in found]
    elif reply.item_ids is not None:
        lines = [f"{item.item_id}  {item.title}".rstrip() for item in found] or ["none of them"]
    data = run.network.personal
    images = [data.catalogue.pictures[item_id] for item_id in reply.row.images]
    picture = None if reply.pixels is None else Image.fromarray(reply.pixels)
    return PersonalAnswer(prompt_text(reply.row, data), images, lines, picture, found)


def answer_to(run: Run, task: Task, question: Question, k: int) -> tuple[Reply, list[FoundItem]]:
    """What a task replies, and the items of its answer: at most k where it is a ranked list.

    Args:
        run: of UniMP.
        task: one of those that it has learned.
        question: with what the task asks for.
        k: items of a list.
    """
    data, reply = run.network.personal, task.reply(run.network, question)
    tokens, titles = data.table.item_tokens, data.catalogue.titles
    if not reply.is_ranking:
        item_ids = [] if reply.item_ids is None else reply.item_ids
        return reply, [FoundItem(tokens[item_id - 1], titles[item_id]) for item_id in item_ids]
    asked = _Ranking(task.name, lambda history, target: reply.row, lambda target: question.query_token_ids)
    network = run.network.ranking_by(asked)
    recommender = Recommender(run._replace(network=network), run_dir=Path())
    ranked = recommender.recommend(histories=[[tokens[item_id - 1] for item_id in question.history]], k=k)
    id_of = {token: item_id for item_id, token in enumerate(tokens, start=1)}
    pairs = zip(ranked.item_ids[0], ranked.scores[0], strict=True)
    return reply, [FoundItem(token, titles[id_of[token]], score) for token, score in pairs]


class _RequestReader:
    """A request on its way to a question."""

    def __init__(self, run: Run, request: PersonalRequest, task: Task) -> None:
        self.run, self.request, self.task, self.data = run, request, task, run.network.personal
        self.id_of = {token: item_id for item_id, token in enumerate(self.data.table.item_tokens, start=1)}
        self.history, self.interactions = self._history()  # int64 [n] each

    def question(self) -> Question:
        """The request in item ids and token ids, with what the task asks for."""
        question = Question(self.history, self.interactions, temperature=self.request.temperature)
        if self.task.asks_for == "query":
            return question._replace(query_token_ids=self._query())
        if self.task.asks_for == "item":
            return question._replace(item_id=self._item())
        if self.task.asks_for == "candidates":
            items = [self._item_id("candidates", token) for token in self.request.candidates]
            return question._replace(candidates=np.array(items, dtype=np.int64))
        return question

    def _history(self) -> tuple[np.ndarray, np.ndarray]:
        """Item ids, oldest first, of whom the request is for, and their interactions, -1 where nothing was said."""
        if self.request.history is not None:
            items = np.array([self._item_id("history", token) for token in self.request.history], dtype=np.int64)
            return items, np.full_like(items, -1)
        if self.run.histories is None:
            raise ValueError("user: this run keeps no histories of its users (keep_histories: False); give a history")
        history = self.run.histories.of_user(self.request.user)
        if history is None:
            raise ValueError(f"user: {self.request.user!r} is not in the training data; correct it or give a history")
        interactions = self.run.histories.interactions_of_user(self.request.user)
        known, wanted = self.data.num_interactions, self.run.histories.num_interactions
        if known == 0:  # nobody said anything, or the run is older than its keeping it
            interactions = np.full_like(interactions, -1)
        elif known != wanted:
            raise ValueError(
                f"{RATINGS_FILE} is about {known} interactions, {HISTORIES_FILE} about {wanted}; copy the run "
                "directory whole"
            )
        return history.astype(np.int64), interactions

    def _query(self) -> np.ndarray:
        if not (self.request.query or "").strip():
            raise ValueError(f"task {self.task.name} needs words to look for; give a query")
        # the network learned each word in the spelling of the catalogue
        spelled = {word.lower(): word for query in self.task.catalogue.queries for word in query.split()}
        return self.task.tokenize(" ".join(spelled.get(word.lower(), word) for word in self.request.query.split()))

    def _item(self) -> int:
        if self.request.item is None:
            raise ValueError(f"task {self.task.name} is about an item; name an item")
        return self._item_id("item", self.request.item)

    def _item_id(self, option: str, token: str) -> int:
        if token not in self.id_of:
            raise ValueError(f"{option}: no such item {token!r} in this run; its items.tsv lists them all")
        return self.id_of[token]


def _one_task(value: str) -> list[str]:
    names = task_names(value)
    if len(names) > 1:
        raise ValueError(f"task {value}: one task at a time")
    return names
