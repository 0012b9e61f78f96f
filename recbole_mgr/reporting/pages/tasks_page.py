"""The page of UniMP's tasks: what was asked of whom, with its pictures, and what was answered beside what is true."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.reporting.pages.items import ShownItems
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.serving.personalize import answer_to
from recbole_mgr.serving.pictures import png_address
from recbole_mgr.serving.prompt_text import prompt_parts
from recbole_mgr.serving.run_directory import Run
from recbole_mgr.unimp.rows import Row
from recbole_mgr.unimp.tasks import instructions, make_tasks
from recbole_mgr.unimp.tasks.cases import Case, Question
from recbole_mgr.unimp.tasks.explanation import ExplanationTask
from recbole_mgr.unimp.tasks.preference import PreferenceTask
from recbole_mgr.unimp.tasks.selection import SelectionCase
from recbole_mgr.unimp.tasks.task import Task
from recbole_mgr.unimp.user_sequences import UserSequence

CASES = 12  # of a task
_LENGTH = 10  # of a ranked list
_TRIES = 20  # users looked at for each case that is shown


def add_tasks_page(site: Site, runs: Mapping[str, Run], items: ShownItems, shown: Mapping[str, Any]) -> None:
    """Add ``tasks.html`` and its chunks: the last item of some users is asked about, with what came before it.

    Args:
        site: gets the page, and chunks ``tasks-<run>-<task>`` of cases.
        runs: label -> run of UniMP that keeps histories.
        items: all items.
        shown: what `write_items` returned.
    """
    number_of = items.number_of()
    entries = []
    for place, (label, run) in enumerate(runs.items()):
        tokens = run.network.semantic_ids.item_tokens
        numbers = [-1, *(number_of[token] for token in tokens)]
        for task in make_tasks(run.network.task_names, run.network.personal, run.settings):
            cases = [_shown_case(run, task, user, case, numbers) for user, case in _cases(run, task)]
            chunk = f"tasks-{place}-{task.name}"
            site.chunk(chunk, cases)
            name = task.name.replace("_", " ").capitalize()
            entries.append({"run": label, "task": name, "chunk": chunk, "cases": len(cases)})
    config = {"items": shown, "entries": entries}
    site.page("tasks", "Tasks", "tasks.html", config=config, runs=list(runs))


def _cases(run: Run, task: Task) -> list[tuple[str, Case]]:
    """Users, drawn at random and the same in every view, and the question about the last item of each."""
    users, found = run.histories.users, []
    order = np.random.default_rng(0).permutation(len(users))[: CASES * _TRIES]
    for user in (users[place] for place in order.tolist()):
        item_ids = run.histories.of_user(user).astype(np.int64)
        interactions = run.histories.interactions_of_user(user)
        if not run.network.personal.num_interactions:  # nobody said anything, or the run does not keep it
            interactions = np.full_like(interactions, -1)
        generator = np.random.default_rng(zlib.crc32(f"{task.name} {user}".encode()))
        case = task.case_at(UserSequence(0, item_ids, interactions), len(item_ids) - 1, generator)
        if case is not None:
            found.append((user, case))
        if len(found) == CASES:
            break
    return found


def _shown_case(run: Run, task: Task, user: str, case: Case, numbers: Sequence[int]) -> dict[str, Any]:
    reply, found = answer_to(run, task, _question(task, case), _LENGTH)
    id_of = {token: item_id for item_id, token in enumerate(run.network.semantic_ids.item_tokens, start=1)}
    return {
        "user": user,
        "prompt": _prompt(run, reply.row, numbers),
        "candidates": [numbers[number] for number in case.candidates.tolist()]
        if isinstance(case, SelectionCase)
        else [],
        "answer": {
            "lines": [for_terminal(line).strip() for line in reply.lines],
            "items": [numbers[id_of[item.item_id]] for item in found],
            "scores": [item.score for item in found] if reply.is_ranking else None,
            "picture": None if reply.pixels is None else png_address(reply.pixels),
        },
        "truth": _truth(task, case, numbers),
    }


def _question(task: Task, case: Case) -> Question:
    """What a person would ask who stood where the case stands."""
    question = Question(case.history, case.history_interactions)
    if task.asks_for == "query":
        return question._replace(query_token_ids=task.catalogue.query_token_ids(case.target))
    if task.asks_for == "item":
        return question._replace(item_id=case.target)
    return question._replace(candidates=case.candidates) if isinstance(case, SelectionCase) else question


def _prompt(run: Run, row: Row, numbers: Sequence[int]) -> list[list[list[Any]]]:
    """Chunks of parts [kind, text, number of the item or -1]; a question is a part, which follows an item's words."""
    chunks: list[list[list[Any]]] = [[]]
    for part in prompt_parts(row, run.network.personal):
        text = f"{part.count} codes" if part.kind == "picture" else for_terminal(part.text).strip()
        if part.kind == "end":
            chunks.append([])
        elif part.kind == "words":
            question = next((one for one in instructions() if text.endswith(one)), "")
            pair = ("words", text.removesuffix(question).strip()), ("question", question)
            chunks[-1] += [[kind, words, -1] for kind, words in pair if words]
        else:
            chunks[-1].append([part.kind, text, numbers[part.item_id] if part.item_id else -1])
    return [chunk for chunk in chunks if chunk]


def _truth(task: Task, case: Case, numbers: Sequence[int]) -> dict[str, Any]:
    """What the user took, rated or wrote."""
    items, lines = [case.target], []
    if isinstance(case, SelectionCase):
        items = case.candidates[case.is_taken].tolist()
    elif isinstance(task, PreferenceTask):
        items, lines = [], [f"{float(task.data.rating(case.target_interaction)):g}"]
    elif isinstance(task, ExplanationTask):
        items, lines = [], [for_terminal(task.text(task.answer(case))).strip()]
    return {"items": [numbers[item_id] for item_id in items], "lines": lines}
