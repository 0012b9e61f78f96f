"""Every row once an epoch, in an order that the seed and the epoch's number alone decide."""

from collections import Counter

import numpy as np
import pytest

from recbole_mgr.run.experiments.definition import read_experiment
from recbole_mgr.unimp.mixture import TaskMixture
from recbole_mgr.unimp.rows import Row, RowBatch
from recbole_mgr.unimp.tasks import TASKS

SETTINGS = {
    "task_sampling": "proportional",
    "epochs": 6,
    "train_batch_size": 4,
    "max_tokens": 100,
    "max_batch_tokens": None,
    "epoch_rows": None,
}


class NumberedTask:
    """Row i of the task says i in its first token, the epoch in its second, and is 2 to 99 tokens long."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.stage = name, count, TASKS[name].stage

    def training_rows(self, epoch):
        return [(index, epoch) for index in range(self.count)]

    def row(self, case, *, answer):
        assert answer
        length = 2 + 37 * case[0] % 98
        nothing = np.empty(0, dtype=np.int64)
        tokens = np.array([*case, *[7] * (length - 2)])
        return Row(tokens, np.full(length, -1), np.ones(length, dtype=bool), nothing, nothing)


def mixture(*counts, seed=1, names=("search", "recommendation", "explanation"), **changes):
    tasks = [NumberedTask(name, count) for name, count in zip(names, counts, strict=False)]
    return TaskMixture(tasks, {**SETTINGS, **changes}, seed, pad_token_id=0)


def batches_of(epoch) -> list[RowBatch]:
    return [RowBatch.from_interaction(interaction) for interaction in epoch]


def drawn(epoch) -> list[tuple[int, int]]:
    """(task, row) in the order of the batches."""
    return [
        pair
        for batch in batches_of(epoch)
        for pair in zip(batch.task.tolist(), batch.token_ids[:, 0].tolist(), strict=True)
    ]


def counts(epoch) -> list[int]:
    found = Counter(task for task, _ in drawn(epoch))
    return [found[task] for task in range(3)]


def test_all_rows_of_all_tasks_once():
    epoch = mixture(150, 33, 4).epoch(3)
    assert sorted(drawn(epoch)) == [(task, row) for task, count in enumerate((150, 33, 4)) for row in range(count)]
    batches = batches_of(epoch)
    assert len(epoch) == len(batches) == 47
    assert {int(epochs) for batch in batches for epochs in batch.token_ids[:, 1]} == {3}


def test_order_follows_seed_and_epoch_only():
    first = mixture(150, 33).epoch(2)
    order = drawn(first)
    assert drawn(first) == order  # also when read again
    assert drawn(mixture(150, 33).epoch(2)) == order
    assert drawn(mixture(150, 33).epoch(3)) != order
    assert drawn(mixture(150, 33, seed=2).epoch(2)) != order


def test_rows_of_a_batch_are_of_similar_length():
    batches = batches_of(mixture(640).epoch(0))
    padding = sum(int((batch.attention_mask == 0).sum()) for batch in batches)
    tokens = sum(batch.attention_mask.numel() for batch in batches)
    assert padding / tokens < 0.1
    lengths = [batch.token_ids.shape[1] for batch in batches]
    assert lengths != sorted(lengths)  # but batches do not come by length


def test_uniform_takes_as_many_of_each():
    epoch = mixture(40, 10, 10, task_sampling="uniform").epoch(0)
    assert counts(epoch) == [20, 20, 20]
    seen = Counter(drawn(epoch))
    assert {seen[1, row] for row in range(10)} == {2}
    assert max(seen[0, row] for row in range(40)) == 1


def test_stages_add_a_task_and_replay_a_quarter():
    staged = mixture(8, 40, 20, task_sampling="staged")
    by_epoch = [counts(staged.epoch(epoch)) for epoch in range(6)]
    assert by_epoch == [[0, 40, 0]] * 2 + [[8, 10, 0]] * 2 + [[2, 10, 20]] * 2
    assert counts(staged.epoch(9)) == [2, 10, 20]


def test_rows_of_the_experiment_that_are_compared_at_equal_steps_have_as_many():
    experiment = read_experiment("unimp_tasks")
    four = ("recommendation", "search", "preference", "explanation")
    steps = {}
    for row in experiment.rows:
        settings = {"train_batch_size": 16, **experiment.settings, **row.settings}
        names = (settings["tasks"],) if settings["tasks"] in four else four
        epochs = mixture(*[9000] * len(names), names=names, **settings)
        steps[row.label] = sum(len(epochs.epoch(epoch)) for epoch in range(settings["epochs"]))
    assert steps["all tasks"] == 4 * steps["recommendation alone"] == 1000
    for label in ("recommendation alone, as many steps", "staged", "all tasks, constant learning rate"):
        assert steps[label] == pytest.approx(1000, rel=0.02), label


def test_most_rows_of_a_task_are_drawn_anew_each_epoch():
    capped = mixture(90, 10, epoch_rows=30)
    epochs = [drawn(capped.epoch(epoch)) for epoch in range(8)]
    assert [counts(capped.epoch(epoch)) for epoch in range(2)] == [[30, 10, 0]] * 2
    assert all(len(set(epoch)) == 40 for epoch in epochs)
    assert len({pair for epoch in epochs for pair in epoch if pair[0] == 0}) > 70


def test_most_tokens_of_a_batch():
    batches = batches_of(mixture(50, max_batch_tokens=250).epoch(0))
    assert {len(batch.token_ids) for batch in batches} == {2}
    with pytest.raises(ValueError, match="max_batch_tokens: 99 has no room for one row of max_tokens 100"):
        mixture(1, max_batch_tokens=99)
