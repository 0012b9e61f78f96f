"""What all tasks share, on the tasks that need no more than users' items."""

import numpy as np
import pytest

from recbole_mgr.unimp.rows import SEES_ALL
from recbole_mgr.unimp.tasks import make_tasks, task_names
from recbole_mgr.unimp.tasks.cases import Case

OWN = ["recommendation", "search", "preference", "explanation", "selection"]


def same(first, second):
    """Whether two lists of cases are the same, field by field."""
    return len(first) == len(second) and all(
        all(np.array_equal(a, b) for a, b in zip(vars(x).values(), vars(y).values(), strict=True))
        for x, y in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("rec,search", ["recommendation", "search"]),
        ("search+rec", ["recommendation", "search"]),
        (["preference"], ["preference"]),
        (["selection", "recommendation"], ["recommendation", "selection"]),
    ],
)
def test_names_of_tasks_long_and_short(value, names):
    assert task_names(value) == names


@pytest.mark.parametrize("value", ["recomendation", "", [], "rec,recommendation"])
def test_unknown_missing_and_repeated_names_are_refused(value):
    with pytest.raises(ValueError, match="tasks: .*recommendation, search"):
        task_names(value)


@pytest.mark.parametrize("name", OWN)
def test_cases_are_fixed_whatever_seed_and_epochs(make_world, settings, name):
    first, second = make_world(), make_world()
    second.data.seed = 8
    (task,), (other,) = (make_tasks([name], world.data, settings) for world in (first, second))
    before = task.cases("test")
    for epoch in range(3):
        task.training_rows(epoch)
    assert same(before, task.cases("test"))
    assert same(before, other.cases("test"))
    assert all(
        case.target == first.parts["test"][case.user_id - 1].item_ids[-1] for case in before if name != "selection"
    )


@pytest.mark.parametrize("name", OWN)
def test_fewer_cases_are_some_of_all_unchanged(world, settings, name):
    (task,) = make_tasks([name], world.data, {**settings, "task_cases": None})
    (short,) = make_tasks([name], world.data, {**settings, "task_cases": 2})
    assert same(task.cases("test")[:2], short.cases("test"))
    assert len(task.cases("test")) > 2


@pytest.mark.parametrize("split", ["leave_one_out", "by_user"])
@pytest.mark.parametrize("name", OWN)
def test_training_never_shows_validation_or_test_interactions(make_world, settings, name, split):
    world = make_world(split=split)
    (task,) = make_tasks([name], world.data, settings)
    trained = {row for user in world.parts["train"] for row in user.interactions.tolist()}
    asked = {user.interactions[-1] for part in ("valid", "test") for user in world.parts[part]}
    assert not trained & asked
    for epoch in range(20):
        for case in task.training_rows(epoch):
            assert {*case.history_interactions.tolist(), case.target_interaction} <= trained


@pytest.mark.parametrize("name", OWN)
def test_epochs_differ_and_the_seed_decides(make_world, settings, name):
    (task,) = make_tasks([name], make_world().data, settings)
    (again,) = make_tasks([name], make_world().data, settings)
    epochs = [task.training_rows(epoch) for epoch in range(4)]
    assert same(epochs[1], again.training_rows(1))
    again.data.seed = 8
    assert not all(same(cases, again.training_rows(epoch)) for epoch, cases in enumerate(epochs))
    assert not all(same(epochs[0], other) for other in epochs[1:])


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("ask_after", ["every", "last"])
def test_a_prompt_is_the_start_of_its_row_and_only_its_answer_is_a_target(world, settings, name, ask_after):
    (task,) = make_tasks([name], world.data, {**settings, "ask_after": ask_after})
    for case in task.cases("test"):
        row, prompt = task.row(case, answer=True), task.row(case, answer=False)
        length = len(prompt.token_ids)
        assert np.array_equal(row.token_ids[:length], prompt.token_ids)
        assert np.array_equal(row.sees[:length], prompt.sees)
        assert world.say(prompt.token_ids[-1]) == "<answer>"
        assert np.array_equal(row.token_ids[length:], [*task.answer(case), task.vocabulary.end_id])
        assert np.array_equal(np.flatnonzero(row.is_target), np.arange(length, len(row.token_ids)))
        assert len(row.token_ids) - length <= task.max_answer_tokens


@pytest.mark.parametrize(("ask_after", "questions"), [("every", {1: 4, 2: 1, 3: 1}), ("last", {1: 1, 2: 1, 3: 1})])
@pytest.mark.parametrize("name", ["preference", "explanation"])
def test_long_sequences_are_asked_about_in_every_window(make_world, settings, name, ask_after, questions):
    histories = {1: [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7], 2: [1, 2, 3, 4, 5, 6, 7], 3: [1, 2]}
    world = make_world(histories=histories)  # 14, 5 and 2 items train, windows have 3
    (task,) = make_tasks([name], world.data, {**settings, "ask_after": ask_after})
    cases = task.training_rows(0)
    assert {user: sum(case.user_id == user for case in cases) for user in histories} == questions
    assert len({case.target_interaction for case in cases}) == len(cases)


@pytest.mark.parametrize("name", ["preference", "explanation", "selection"])
def test_answers_of_the_history_are_targets_by_setting(world, settings, name):
    (with_context,) = make_tasks([name], world.data, settings)
    (without,) = make_tasks([name], world.data, {**settings, "context_targets": False})
    for case in with_context.training_rows(0):
        taught, plain = with_context.row(case, answer=True), without.row(case, answer=True)
        assert np.array_equal(taught.token_ids, plain.token_ids)
        assert world.targets(taught).count("<end>") == len(case.history) + 1
        assert world.targets(plain).count("<end>") == 1
        assert not (plain.is_target & ~taught.is_target).any()


@pytest.mark.parametrize("name", OWN)
def test_the_oldest_items_give_way_to_max_tokens(world, settings, name):
    (task,) = make_tasks([name], world.data, settings)
    case = max(task.cases("test"), key=lambda case: len(task.row(case, answer=True).token_ids))
    assert len(case.history) == 3
    limit = len(task.row(case, answer=False).token_ids) + task.max_answer_tokens - 1
    (tight,) = make_tasks([name], world.data, {**settings, "max_tokens": limit})
    prompt = tight.row(case, answer=False)
    assert world.images(prompt)[0] == case.history[1]
    assert len(prompt.token_ids) + task.max_answer_tokens <= limit


def test_no_room_for_a_single_item_is_an_error(world, settings):
    (task,) = make_tasks(["recommendation"], world.data, {**settings, "max_tokens": 10})
    with pytest.raises(ValueError, match=r"task recommendation: item 'd' and the question take .* raise max_tokens"):
        task.prompt([1, 4])


def test_an_empty_history_is_an_error(world, settings):
    (task,) = make_tasks(["recommendation"], world.data, settings)
    with pytest.raises(ValueError, match="no item before the question"):
        task.prompt([])


def test_a_part_without_cases_is_an_error(make_world, settings):
    world = make_world(histories={1: [1, 2, 3], 2: [2, 3, 4]})  # nobody has an item to validate on
    (task,) = make_tasks(["recommendation"], world.data, settings)
    with pytest.raises(ValueError, match="task recommendation: no user of the valid part"):
        task.cases("valid")


def test_closing_question_sees_all_pictures_and_items_their_own(world, settings):
    (task,) = make_tasks(["selection"], world.data, settings)
    case = task.cases("test")[0]
    row = task.row(case, answer=False)
    length = len(task.instruction_ids) + 1
    assert (row.sees[-length:] == SEES_ALL).all()
    before = row.sees[:-length]
    assert set(before.tolist()) <= {-1, *range(len(row.images))}
    starts = [*row.image_positions.tolist(), len(before)]
    for index, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        assert before[start] == index
        assert set(before[start:end].tolist()) <= {index, -1}


def test_a_loaded_run_has_no_users_and_still_serves_prompts(make_world, settings):
    world = make_world()
    world.data._sequences = {}
    histories = np.array([1, 4])
    case = Case(0, histories, 2, np.full(2, -1))
    for name in ("preference", "explanation"):
        (task,) = make_tasks([name], world.data, settings)
        assert "d0=0 d1=0 <end>" in world.read(task.row(case, answer=False))
