"""Routes for the tasks that UniMP runs have learned: one for each, under ``/tasks/``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.http.bodies import MOST_ITEMS, MOST_K, Strict, Token
from recbole_mgr.serving.http.service import Service
from recbole_mgr.serving.personalize import PersonalAnswer, PersonalRequest, personalize
from recbole_mgr.serving.pictures import png_address
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.unimp.tasks import TASKS

MOST_WAITING = 64  # each of them takes a language model's time
Query = Annotated[str, Field(min_length=1, max_length=500)]


class TaskBody(Strict):
    """Whom a task is for: a user of the training data, or a history."""

    run: str | None = Field(None, description="name of the run; the first one where none is named")
    user: Token | None = None
    history: list[Token] | None = Field(None, min_length=1, max_length=MOST_ITEMS, description="item ids, oldest first")


class SearchBody(TaskBody):
    """Words to look for."""

    query: Query
    k: int = Field(10, ge=1, le=MOST_K, description="items of the list")


class ItemBody(TaskBody):
    """An item to rate or to explain."""

    item: Token


class SelectionBody(TaskBody):
    """Items to choose from, as many as the run has learned to."""

    candidates: list[Token] = Field(min_length=1, max_length=100)


class PictureBody(TaskBody):
    """Words to draw a picture of; with a temperature it is drawn by chance."""

    query: Query
    temperature: float | None = Field(None, gt=0, le=100)


class TaskItem(BaseModel):
    """An item of an answer; a ranked one has a log-probability."""

    item_id: str
    title: str
    score: float | None
    number: int | None


class TaskAnswer(BaseModel):
    """What was asked and what is answered: lines, items, or a picture (PNG) as a ``data:`` address."""

    run: str
    task: str
    prompt: str
    images: list[str]
    answer: list[str]
    items: list[TaskItem]
    picture: str | None


_BODIES: dict[str, type[TaskBody]] = {
    "search": SearchBody,
    "preference": ItemBody,
    "explanation": ItemBody,
    "selection": SelectionBody,
    "image_generation": PictureBody,
}


def learned_tasks(recommender: BaseRecommender) -> list[str]:
    """The tasks that a run answers beside recommendation."""
    return [task for task in recommender.about.get("tasks", ()) if task in _BODIES]


def add_task_routes(
    app: FastAPI,
    service: Service,
    recommender_of: Callable[[str | None], BaseRecommender],
    *,
    timeout: float,
    numbers: Mapping[str, int],
) -> None:
    """Add a route for each task that a run of the service has learned.

    They are computed one after another: a language model uses all that a machine has.

    Args:
        app: gets the routes.
        service: the runs.
        recommender_of: finds a run's by its name, or raises HTTPException.
        timeout, numbers: as of `create_app`.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="tasks")
    waiting = 0

    async def answer(task: str, body: TaskBody) -> TaskAnswer:
        nonlocal waiting
        recommender = recommender_of(body.run)
        if (body.user is None) == (body.history is None):
            raise HTTPException(400, "give either a user or a history")
        if not isinstance(recommender, Recommender) or task not in learned_tasks(recommender):
            raise HTTPException(400, f"this run has not learned {task}; /runs says which tasks each run has learned")
        if waiting >= MOST_WAITING:
            raise HTTPException(503, "too many requests wait; try again", headers={"Retry-After": "1"})
        options = body.model_dump(exclude={"run"}, exclude_none=True)
        waiting += 1
        try:
            future = worker.submit(personalize, recommender.run, PersonalRequest(task, **options))
            found = await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        except asyncio.TimeoutError:
            raise HTTPException(504, f"not done within {timeout:g} s") from None
        finally:
            waiting -= 1
        return _plain(found, body.run or service.runs[0], task, numbers)

    learned = {task for run in service.runs for task in learned_tasks(service.recommender(run))}
    for task, body_class in _BODIES.items():
        if task in learned:
            app.post(
                f"/tasks/{task}", summary=task.replace("_", " "), description=TASKS[task].__doc__.split("\n\n")[0]
            )(_route(answer, task, body_class))


def _route(answer: Callable[..., Any], task: str, body_class: type[TaskBody]) -> Callable[..., Any]:
    async def route(body: TaskBody) -> TaskAnswer:
        return await answer(task, body)

    route.__annotations__ = {"body": body_class, "return": TaskAnswer}  # by which FastAPI reads and describes it
    route.__name__ = task
    return route


def _plain(found: PersonalAnswer, run: str, task: str, numbers: Mapping[str, int]) -> TaskAnswer:
    items = [{**item._asdict(), "number": numbers.get(item.item_id)} for item in found.items]
    return TaskAnswer(
        run=run,
        task=task,
        prompt=found.prompt,
        images=found.images,
        answer=found.answer,
        items=items,
        picture=None if found.picture is None else png_address(found.picture),
    )
