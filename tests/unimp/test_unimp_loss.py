"""What UniMP learns from: each target token on its own, each task by its rows."""

from collections import Counter, defaultdict

import pytest
import torch
from tiny_shop import TASKS

from recbole_mgr.unimp.rows import RowBatch


@torch.no_grad()
def reference_loss(model, batch: RowBatch, gamma: float, weights: dict[str, float], legal: bool) -> float:
    """Token by token in float64, from the language model's own logits and a walk over the catalogue's IDs."""
    with model.backbone.showing(batch):
        logits = model.backbone.lm(input_ids=batch.token_ids, attention_mask=batch.attention_mask).logits.double()
    vocabulary, table = model.personal.vocabulary, model.semantic_ids.codes[1:].tolist()
    terms = defaultdict(list)
    for row, task in enumerate(batch.task.tolist()):
        prefix: list[int] = []
        for place in range(1, batch.token_ids.shape[1]):
            depth, code = (int(part) for part in vocabulary.digit_codes(batch.token_ids[row, place]))
            prefix = prefix if depth > 0 else []
            if not batch.is_target[row, place]:
                continue
            token = int(batch.token_ids[row, place])
            allowed = range(logits.shape[-1])
            if legal and depth >= 0:
                codes = {item[depth] for item in table if item[:depth] == prefix}
                allowed = [vocabulary.digit_ids(depth).start + other for other in sorted(codes)]
                prefix = [*prefix, code]
            if len(allowed) > 1:
                scores = logits[row, place - 1, list(allowed)]
                log_p = (logits[row, place - 1, token] - scores.logsumexp(0)).item()
                terms[model.task_names[task]].append((1 - torch.tensor(log_p).exp().item()) ** gamma * -log_p)
    rows = Counter(model.task_names[task] for task in batch.task.tolist())
    return sum(weights[name] * rows[name] * sum(losses) / len(losses) for name, losses in terms.items()) / rows.total()


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_loss_is_that_of_every_target_token_on_its_own_and_a_task_counts_by_its_rows(
    world, monkeypatch, code_softmax, gamma
):
    monkeypatch.setattr(world.model, "code_softmax", code_softmax)
    monkeypatch.setattr(world.model, "focal_gamma", gamma)
    batch, weights = world.batch(rows=1), {name: 1.0 + (name == "recommendation") for name in TASKS}
    expected = reference_loss(world.model, batch, gamma, weights, legal=code_softmax == "legal")
    assert world.model.loss(batch).item() == pytest.approx(expected, rel=1e-4)


def test_a_task_weighs_what_the_settings_say(make_world, world):
    heavier = make_world(task_weights={"search": 3})
    assert heavier.model.task_weights.tolist() == [2, 3, 1, 1, 1]
    heavier.model.load_state_dict(world.model.state_dict())
    for name, factor in (("search", 3), ("preference", 1)):
        loss = world.model.loss(world.batch(name)).item()
        assert heavier.model.loss(heavier.batch(name)).item() == pytest.approx(factor * loss)


@pytest.mark.parametrize("name", TASKS)
def test_training_learns_a_task(world, name):
    model, batch = world.new_model(seed=2).train(), world.batch(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(model.calculate_loss(batch.to_interaction()))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_reaches_every_parameter_but_unused_tokens(world):
    model = world.new_model(seed=2).train()
    model.loss(world.batch()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
