"""Product search: the ID of the item a user wants, from words for it and their history; RecBole evaluates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_mgr.integration.task_results import Estimate, TaskResult, estimate
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.query_match import QueryMatch
from recbole_mgr.unimp.rows import SEES_ALL, Row, RowBuilder
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply
from recbole_mgr.unimp.tasks.recommendation import RecommendationTask
from recbole_mgr.unimp.tasks.task import AnsweringModel

_SCORES_AT_ONCE = 1 << 24  # float64, queries times items
_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class FreeSearch(Case):
    """A search in words of the user's own, int64 [q] token ids."""

    query_token_ids: np.ndarray


class SearchTask(RecommendationTask):
    """Which item does the user mean? The query is the words of the target's category and, by setting, of its title.

    Rows are those of the recommendation task, the query standing in each question.

    Raises:
        ValueError: If all items have the same query.
    """

    name = "search"
    short_name = None
    instruction = "Looking for:"
    loss_weight = 1.0
    stage = 2
    tested_as = "ranking"
    asks_for = "query"
    reads_target = True

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        modes = settings["eval_args"]["mode"]
        if set(modes.values()) != {"full"}:
            raise ValueError(
                f"eval_args: mode {modes['test']}: search ranks all items, because its query tells of the target; use "
                "mode full or leave search out of tasks"
            )

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        super().__init__(data, settings)
        if len(set(self.catalogue.queries[1:])) == 1:
            raise ValueError(
                f"task search: every item's query is {self.catalogue.queries[1]!r}, so it finds none; name a column of "
                "the .item file in category_field, raise search_title_words, or leave the task out of tasks"
            )

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        return Reply(self.prompt(question.history, query_token_ids=question.query_token_ids), is_ranking=True)

    def prompt(
        self, history: Sequence[int], target: int | None = None, *, query_token_ids: np.ndarray | None = None
    ) -> Row:
        """A row that ends where the wanted item's ID is to be generated.

        Args:
            history: item ids, oldest first, at least one; the last ``history_items`` count.
            target: the item whose words are the query, or
            query_token_ids: int64 [q], the query itself.

        Raises:
            ValueError: If there is neither.
        """
        if query_token_ids is None:
            if target is None:
                raise ValueError("task search: nothing to search for; give a query")
            return super().prompt(history, target)
        items = self.latest(history)
        case = FreeSearch(0, items, 0, np.full_like(items, -1), query_token_ids=query_token_ids)
        return self.row(case, answer=False)

    def query(self, target: int) -> np.ndarray:
        return self.catalogue.query_token_ids(target)

    def ask(self, builder: RowBuilder, case: Case) -> None:
        super().ask(builder, case)
        free = isinstance(case, FreeSearch)
        query = case.query_token_ids if free else self.query(case.target)
        builder.text(query, sees=SEES_ALL)

    def result(self, ranks: np.ndarray, targets: np.ndarray, user_ids: np.ndarray, topk: Sequence[int]) -> TaskResult:
        """The model's ranking beside that of searches which know no user.

        Args:
            ranks: int [n], the place of each target in the model's list from 1 on, 0 where it is not in it.
            targets: int [n] item ids of the test part's targets.
            user_ids: int [n], whose they are.
            topk: cut-offs of the metrics.
        """
        popularity = self.data.training_popularity()
        seen = {user.user_id: user.item_ids[:-1] for user in self.data.sequences("test")}
        histories = [seen[user_id] for user_id in user_ids.tolist()]
        by_query = self._ranks_by_query(targets, popularity, [_NOTHING] * len(targets))
        by_query_unseen = self._ranks_by_query(targets, popularity, histories)
        place = np.empty(len(popularity), dtype=np.int64)
        place[1 + np.argsort(-popularity[1:], kind="stable")] = np.arange(1, len(popularity))
        return TaskResult(
            task=self.name,
            cases=len(targets),
            metrics=_ranking_metrics(ranks, topk),
            baselines={
                "query words": _ranking_metrics(by_query, topk),
                "query words, seen items left out": _ranking_metrics(by_query_unseen, topk),
                "popularity": _ranking_metrics(place[targets], topk),
            },
            notes=[
                "Query words: items by the share of tokens that the query and their own one have in common, nearly "
                "equal shares by popularity.",
                "All lists but the one that says so may hold items which the user has already.",
                f"Above query words, case by case: {_differences(ranks, by_query, topk)}.",
            ],
        )

    def _ranks_by_query(
        self, targets: np.ndarray, popularity: np.ndarray, left_out: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Ranks int64 [n] of the targets where items are ordered by how well they match the query."""
        match = QueryMatch(self.catalogue, self.vocabulary.size)
        queries_at_once = max(1, _SCORES_AT_ONCE // len(popularity))
        ranks = []
        for start in range(0, len(targets), queries_at_once):
            part = slice(start, start + queries_at_once)
            scores = match.scores([self.query(target) for target in targets[part]], popularity)  # [queries, N+1]
            for row, items, target in zip(scores, left_out[part], targets[part], strict=True):
                row[items[items != target]] = -1
            ranks.append(_ranks(scores, targets[part]))
        return np.concatenate(ranks)


def _ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Place of each target, from 1 on, among the items of its row; the lower id comes first of equal ones.

    Args:
        scores: [n, N+1] by item id; PAD's are ignored, and what is below 0 is in no list: such a target's place is 0.
        targets: int [n] item ids.
    """
    own = np.take_along_axis(scores, targets[:, None], axis=1)  # [n, 1]
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < targets[:, None]))
    return np.where(own[:, 0] < 0, 0, 1 + before[:, 1:].sum(axis=1))


def _ranking_metrics(ranks: np.ndarray, topk: Sequence[int]) -> dict[str, Estimate]:
    return {metric: estimate(values) for metric, values in _values(ranks, topk).items()}


def _differences(ranks: np.ndarray, others: np.ndarray, topk: Sequence[int]) -> str:
    """What one ranking of the same targets is above another: closer than two intervals that touch can tell, since some
    targets are hard for both."""
    others_values = _values(others, topk)
    differences = {metric: estimate(values - others_values[metric]) for metric, values in _values(ranks, topk).items()}
    return ", ".join(
        f"{metric} {mean:+.4f} [{low:+.4f}, {high:+.4f}]" for metric, (mean, low, high) in differences.items()
    )


def _values(ranks: np.ndarray, topk: Sequence[int]) -> dict[str, np.ndarray]:
    """Recall and NDCG float64 [n] of single targets, as RecBole computes them; rank 0 is a miss."""
    hits = {cut: ((ranks > 0) & (ranks <= cut)).astype(np.float64) for cut in topk}
    gains = 1 / np.log2(np.maximum(ranks, 1) + 1)
    return {
        **{f"recall@{cut}": hit for cut, hit in hits.items()},
        **{f"ndcg@{cut}": hit * gains for cut, hit in hits.items()},
    }
