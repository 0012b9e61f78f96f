"""UniMP to RecBole and to its tasks: losses, rankings, checkpoints, and what it refuses."""

import contextlib
import itertools
from collections import Counter, defaultdict

import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import init_seed
from safetensors.torch import load_model, save_model
from tiny_language_models import CONFIGS
from tiny_shop import NUM_ITEMS, TASKS, shop_settings, write_shop
from transformers import AutoModelForCausalLM

from recbole_mgr.generation.priors import FAINTEST
from recbole_mgr.integration.config import make_config
from recbole_mgr.unimp.rows import RowBatch, collate
from recbole_mgr.unimp.tasks import make_tasks
from recbole_mgr.unimp.tasks.task import training_popularity
from recbole_mgr.unimp.token_meanings import meanings_of_new_tokens
from recbole_mgr.unimp.tokenizer import train_tokenizer

MAX_TOKENS = 160


class World:
    """A model, its tasks, and the test users as one batch."""

    def __init__(self, settings: dict, **changes):
        self.config = make_config("UniMP", "tiny", [], {**settings, **changes})
        self.train, self.valid, self.test = data_preparation(self.config, create_dataset(self.config))
        self.model = self.new_model(seed=1)
        self.tasks = make_tasks(self.model.task_names, self.model.personal, self.config)
        self.users = self.test._dataset.inter_feat

    def new_model(self, seed: int):
        init_seed(seed, True)
        return self.config.model_class(self.config, self.train._dataset).eval()

    def batch(self, *names: str, rows: int = 3, epoch: int = 0) -> RowBatch:
        """Training rows of some tasks, all by default."""
        chosen = [
            (task.row(case, answer=True), index)
            for index, task in enumerate(self.tasks)
            if task.name in (names or self.model.task_names)
            for case in task.training_rows(epoch)[:rows]
        ]
        return collate(*zip(*chosen, strict=True), pad_token_id=self.model.backbone.pad_token_id, padding="right")

    @torch.no_grad()
    def scores(self) -> torch.Tensor:
        """[B, N + 1]"""
        return self.model.full_sort_predict(self.users).view(-1, NUM_ITEMS + 1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # RecBole's trainers leave log files where they run


@pytest.fixture(scope="module")
def make_world(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, write_dataset)
    settings = shop_settings(tiny_settings, folder)
    return lambda **changes: World(settings, **changes)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a small Llama with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("pretrained")
    tokenizer = train_tokenizer(["red soap", "blue balm"], vocabulary_size=300)
    config = CONFIGS["llama"]()
    config.vocab_size, config.max_position_embeddings = len(tokenizer), MAX_TOKENS
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# --- the loss


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


# --- ranking


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"item_ids": "atomic"}, {"image_attention": "none"}], ids=str)
def test_generate_is_the_top_of_all_scores(make_world, changes):
    world = make_world(tasks="rec", **changes)
    scores = world.scores()
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
    ranked = world.model.generate(world.users, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    torch.testing.assert_close(ranked.scores, scores.topk(10).values, atol=1e-5, rtol=1e-5)
    candidates = torch.arange(len(world.users)) % NUM_ITEMS + 1
    batch = world.users[torch.arange(len(world.users))]
    batch.update(Interaction({"item_id": candidates}))
    expected = scores.gather(1, candidates[:, None]).squeeze(1)
    torch.testing.assert_close(world.model.predict(batch), expected, atol=1e-5, rtol=1e-5)
    assert (world.model.backbone.vision is None) == ("image_attention" in changes)


@torch.no_grad()
def test_a_user_alone_gets_what_he_gets_in_a_batch(world):
    together = world.model.generate(world.users, 10)
    alone = world.model.generate(world.users[torch.tensor([4])], 10)
    assert torch.equal(alone.item_ids[0], together.item_ids[4])
    torch.testing.assert_close(alone.scores[0], together.scores[4], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_search_reads_its_query_and_recommendation_does_not_know_the_target(world):
    users = world.users[torch.arange(3)]
    other = users[torch.arange(3)]
    other.update(Interaction({"item_id": other["item_id"] % NUM_ITEMS + 1}))  # of another kind
    scores = world.model.full_sort_predict(users)
    assert torch.equal(world.model.full_sort_predict(other), scores)
    searching = world.model.ranking_by(next(task for task in world.tasks if task.name == "search"))
    found = searching.full_sort_predict(users)
    assert not torch.equal(found, scores)
    assert not torch.equal(found, searching.full_sort_predict(other))
    assert torch.equal(world.model.full_sort_predict(users), scores)  # the network itself has no other task than before
    histories_alone = Interaction({key: users[key] for key in ("item_id_list", "item_length")})
    with pytest.raises(ValueError, match="a search needs a query: use recbole-mgr personalize"):
        searching.generate(histories_alone, 3)


@torch.no_grad()
@pytest.mark.parametrize("ranking", ["union", "beams"])
def test_priors_rank_recommendations_and_no_searches(make_world, ranking):
    weights = {"codes": 0.5, "memory": 1.0, "popularity": 0.25} if ranking == "union" else {"memory": 0.5}
    asked = {"memory": True, "popularity": ranking == "union", "memory_options": {"content_weight": 0}}
    world = make_world(tasks="rec,search", ranking=ranking, prior_weights=weights, **asked)
    plain = make_world(tasks="rec,search")
    plain.model.load_state_dict(world.model.state_dict(), strict=False)
    scores = world.scores()
    ranked = world.model.generate(world.users, 10)
    assert torch.equal(ranked.item_ids, scores.topk(10).indices)
    history = world.users["item_id_list"], world.users["item_length"]
    memory = world.model.memory.prior(world.model.trie, *history)
    every = torch.arange(NUM_ITEMS + 1).expand(len(scores), -1)
    if ranking == "union":
        popular = (world.model.item_counts[1:] + 1).log().log_softmax(dim=0)
        expected = 0.5 * plain.scores()[:, 1:] + memory.log_probs(every)[:, 1:] + 0.25 * popular
        torch.testing.assert_close(scores[:, 1:], expected, atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(scores)))
        assert not torch.allclose(scores[:, 1:], plain.scores()[:, 1:], atol=1e-2)
    search = {one.name: one for one in world.tasks}["search"]
    found, of_plain = (one.model.ranking_by(search).generate(one.users, 10) for one in (world, plain))
    assert torch.equal(found.item_ids, of_plain.item_ids)


@torch.no_grad()
def test_a_search_with_equal_logits_is_the_one_by_words_alone_and_rises_from_there(make_world):
    given = {"codes": 1.0, "query_words": 1.0}
    world = make_world(tasks="rec,search", query_words=True, ranking="beams", prior_weights=given)
    task = next(task for task in world.tasks if task.name == "search")
    targets = world.users["item_id"]
    popularity = training_popularity(world.model.personal)
    assert torch.equal(world.model.item_counts, torch.from_numpy(popularity).float())
    by_words = world.model.query_match.scores([task.query(target) for target in targets.tolist()], popularity)
    by_words = torch.from_numpy(by_words)[:, 1:]
    searching = world.model.ranking_by(task)
    scores = searching.full_sort_predict(world.users).view(-1, NUM_ITEMS + 1)[:, 1:]

    world.model.backbone.head.new.zero_()
    flat = searching.full_sort_predict(world.users).view(-1, NUM_ITEMS + 1)[:, 1:]
    kept = (by_words - by_words.amax(1, keepdim=True)).clamp(min=-FAINTEST)  # lower ones count as this
    torch.testing.assert_close(flat, kept.log_softmax(1).float(), atol=1e-3, rtol=1e-4)
    assert not torch.allclose(flat, scores, atol=1e-2)
    ranked = searching.generate(world.users, NUM_ITEMS).item_ids
    assert (kept.gather(1, ranked - 1).diff(dim=1) <= 1e-4).all()


@torch.no_grad()
def test_a_search_sums_what_its_words_and_the_memory_say_by_weights_of_its_own(make_world):
    asked = {"query_words": True, "memory": True, "memory_options": {"content_weight": 0}}
    world, plain = make_world(tasks="rec,search", **asked), make_world(tasks="rec,search")
    plain.model.load_state_dict(world.model.state_dict(), strict=False)
    world.model.search_weights.set({"codes": 0.5, "query_words": 0.1, "memory": 2.0})
    task = next(task for task in world.tasks if task.name == "search")
    found, of_codes = (
        one.model.ranking_by(task).full_sort_predict(one.users).view(-1, NUM_ITEMS + 1)[:, 1:] for one in (world, plain)
    )
    queries = [task.query(target) for target in world.users["item_id"].tolist()]
    words = world.model.query_match.scores(queries, world.model.item_counts.numpy())[:, 1:]
    memory = world.model.memory.prior(world.model.trie, world.users["item_id_list"], world.users["item_length"])
    every = torch.arange(1, NUM_ITEMS + 1).expand(len(queries), -1)
    expected = 0.5 * of_codes + 0.1 * torch.from_numpy(words).log_softmax(1) + 2 * memory.log_probs(every)
    torch.testing.assert_close(found, expected.float(), atol=1e-3, rtol=1e-4)
    recommended = world.scores()[:, 1:]
    expected = plain.scores()[:, 1:] + memory.log_probs(every)  # the weights of recommendation are as they were
    torch.testing.assert_close(recommended, expected, atol=1e-3, rtol=1e-4)


def test_a_run_without_ranking_tasks_ranks_nothing(make_world):
    world = make_world(tasks="preference")
    with pytest.raises(ValueError, match="tasks: preference: this run has not learned to rank items"):
        world.model.generate(world.users, 3)


# --- checkpoints


def trained_a_little(world, seed: int):
    model = world.new_model(seed).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for epoch in range(2):
        optimizer.zero_grad()
        model.loss(world.batch(epoch=epoch)).backward()
        optimizer.step()
    return model.eval()


def test_gates_start_closed_beside_a_pretrained_language_model_alone(make_world, world, pretrained):
    def gates(model) -> set[float]:
        return {
            gate.item()
            for block in model.backbone.vision.blocks
            for gate in (block.attention_gate, block.feed_forward_gate)
        }

    assert list(gates(world.model)) == [pytest.approx(0.3)]
    assert gates(make_world(gate_start=0.25).model) == {0.25}
    settings = {"language_model": str(pretrained), "max_tokens": MAX_TOKENS}
    settings["hidden_size"] = 17  # which no heads divide, and which means nothing to this language model
    assert gates(make_world(**settings).model) == {0.0}


def test_a_pretrained_language_model_starts_as_it_was(make_world, pretrained):
    """A plain text, and the same beside pictures, has the logits that the language model gives it alone."""
    world = make_world(language_model=str(pretrained), lm_training="lora", max_tokens=MAX_TOKENS)
    alone = AutoModelForCausalLM.from_pretrained(pretrained)
    model, batch = world.model, world.batch("recommendation")
    plain = batch.token_ids.clamp(max=model.personal.vocabulary.base_size - 1)
    asked = {"input_ids": plain, "attention_mask": batch.attention_mask}
    expected = alone(**asked).logits
    assert batch.images.any()
    for showing in (contextlib.nullcontext(), model.backbone.showing(batch)):
        with showing:
            logits = model.backbone.lm(**asked).logits
        torch.testing.assert_close(logits[..., : expected.shape[-1]], expected)


def test_new_tokens_start_with_a_meaning_beside_a_pretrained_language_model_alone(make_world, pretrained):
    for weights in ("pretrained", "random"):
        model = make_world(language_model=str(pretrained), lm_weights=weights, max_tokens=MAX_TOKENS).model
        rows, meanings = model.backbone.lm.get_input_embeddings(), meanings_of_new_tokens(model.personal)
        meant = torch.stack([rows.base.weight[token_ids].mean(0) for token_ids in meanings[:6]])  # marks and ratings
        near = (rows.new[:6] - meant).norm(dim=1) < 0.5 * rows.base.weight.std(0).norm()
        assert near.tolist() == [weights == "pretrained"] * 6


@pytest.mark.parametrize("lm_training", ["frozen", "lora", "full"])
def test_checkpoints_hold_what_was_trained_and_fit_their_language_model_alone(
    make_world, pretrained, tmp_path, lm_training
):
    settings = {
        "tasks": "rec,preference",
        "language_model": str(pretrained),
        "lm_training": lm_training,
        "max_tokens": MAX_TOKENS,
        "inner_size": 24,
    }
    world = make_world(**settings)
    model, twin, third = trained_a_little(world, seed=2), world.new_model(seed=3), world.new_model(seed=4)
    held = set(model.state_dict())
    base = {name for name, _ in model.named_parameters() if ".mlp." in name and "lora" not in name}
    assert base and held.isdisjoint(base) == (lm_training != "full")
    assert {name for name, p in model.named_parameters() if p.requires_grad} <= held

    twin.load_state_dict(model.state_dict())
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(third, str(tmp_path / "model.safetensors"))
    expected = model.full_sort_predict(world.users)
    assert torch.equal(twin.full_sort_predict(world.users), expected)
    assert torch.equal(third.full_sort_predict(world.users), expected)

    other = tmp_path / "other"
    lm = AutoModelForCausalLM.from_pretrained(pretrained)
    torch.nn.init.normal_(lm.base_model.layers[0].mlp.up_proj.weight)
    lm.save_pretrained(other)
    train_tokenizer(["red soap", "blue balm"], vocabulary_size=300).save_pretrained(other)
    stranger = make_world(**{**settings, "language_model": str(other)}).model
    if lm_training == "full":  # nothing of the base is left
        stranger.load_state_dict(model.state_dict())
    else:
        with pytest.raises(ValueError, match="trained beside another language model"):
            stranger.load_state_dict(model.state_dict())


# --- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "rec,dreams"}, "tasks: 'rec,dreams' must name"),
        ({"backbone": "t5"}, "backbone: 't5' must be prompt"),
        ({"image_attention": "all"}, "image_attention: 'all' must be one of own, all_previous, none"),
        ({"history_items": 0}, "history_items: 0 must be a whole number >= 1"),
        ({"history_items": 51}, "history_items: 51 must be at most MAX_ITEM_LIST_LENGTH: 50"),
        ({"task_sampling": "staged", "epochs": 1}, "epochs: 1 leave the last of 5 tasks without a stage"),
        ({"task_cases": 0}, "task_cases: 0 must be None or a whole number >= 1"),
        ({"focal_gamma": -1}, "focal_gamma: -1 must be a number >= 0"),
        ({"text_fields": {"title": 0}}, "text_fields: .* must be a dictionary of whole numbers >= 1"),
        ({"task_weights": {"rec": 2}}, "task_weights: .* must be weights > 0 by task name: recommendation"),
        ({"compile": True}, "compile: True means nothing to UniMP"),
        ({"lm_training": "frozen"}, "lm_training: frozen keeps the language model as it is"),
        ({"context_targets": "some"}, "context_targets: 'some' must be True or False"),
        (
            {
                "eval_args": {
                    "split": {"LS": "valid_and_test"},
                    "group_by": "user",
                    "order": "TO",
                    "mode": {"valid": "uni5", "test": "uni5"},
                }
            },
            "search ranks all items",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_are_refused_by_name(tmp_path, tiny_settings, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config("UniMP", "tiny", [], {**shop_settings(tiny_settings, tmp_path), **changes})


def test_a_run_is_told_by_the_content_of_what_it_reads(tmp_path, tiny_settings):
    codec, lm, data = (tmp_path / name for name in ("codec", "lm", "data"))
    codec.mkdir(), lm.mkdir()
    settings = tiny_settings(data, picture_codec=str(codec), language_model=str(lm), tasks="image")
    config = make_config("UniMP", "tiny", [], settings)
    files = config.model_class.files_read(config.final_config_dict)
    folder = data / "tiny"
    items = {"tiny.item": folder / "tiny.item"}
    assert files == {**items, "picture_codec": codec, "language_model": lm, "images": folder / "images"}
    config = make_config("UniMP", "tiny", [], {**settings, "tasks": "rec", "language_model": "some/name-of-a-hub"})
    assert config.model_class.files_read(config.final_config_dict) == {**items, "picture_codec": codec}


def test_tasks_may_be_written_short_and_in_any_order(tmp_path, tiny_settings):
    for spelled in ("search,rec", "rec+search", ["search", "recommendation"]):
        config = make_config("UniMP", "tiny", [], shop_settings(tiny_settings, tmp_path, tasks=spelled))
        assert config["tasks"] == ["recommendation", "search"]
    everything = itertools.chain(TASKS, ["image_generation"])
    settings = {k: v for k, v in shop_settings(tiny_settings, tmp_path).items() if k != "tasks"}
    assert make_config("UniMP", "tiny", [], settings)["tasks"] == list(everything)
