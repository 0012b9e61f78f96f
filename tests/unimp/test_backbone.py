"""Beams as a tree: the same logits as reading each prefix on its own."""

import itertools

import numpy as np
import pytest
import torch
from tiny_language_models import CONFIGS, NUM_BASE
from transformers import AutoModelForCausalLM

from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.backbone import PromptBackbone
from recbole_mgr.unimp.new_tokens import extend_vocabulary
from recbole_mgr.unimp.rows import SEES_ALL, RowBuilder, collate
from recbole_mgr.unimp.vision import VisualConditioning
from recbole_mgr.unimp.vocabulary import PromptVocabulary

NUM_ITEMS = 9


class World:
    """Nine items with three digits, item 4 without a picture; prompts show a history and ask."""

    def __init__(self, config, pictures: bool = True):
        torch.manual_seed(0)
        codes = np.array(list(itertools.product(range(3), range(3))))
        tokens = [f"i{item}" for item in range(1, NUM_ITEMS + 1)]
        self.table = SemanticIdTable.from_blocks({"text": np.c_[codes, codes[:, ::-1].sum(1) % 2]}, tokens)
        self.vocabulary = PromptVocabulary(NUM_BASE, self.table, num_ratings=0, num_candidates=0, picture_codes=0)
        self.has_image = np.arange(NUM_ITEMS + 1) % 4 != 0
        features = torch.randn(NUM_ITEMS + 1, 2, 5)
        lm = AutoModelForCausalLM.from_config(config)
        extend_vocabulary(lm, self.vocabulary.num_new)
        vision = None
        if pictures:
            vision = VisualConditioning(lm, every_n=1, visual_dim=5, latents=2, resampler_layers=1, heads=2)
            for block in vision.blocks:
                torch.nn.init.ones_(block.attention_gate)
                torch.nn.init.ones_(block.feed_forward_gate)
        self.backbone = PromptBackbone(
            lm=lm,
            vision=vision,
            features=lambda item_ids: features[item_ids],
            vocabulary=self.vocabulary,
            codes=self.table.codes,
            pad_token_id=0,
        ).eval()
        self.trie = PrefixTrie(self.table.codes[1:], self.table.sizes)
        self.history = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0]])
        self.lengths = torch.tensor([3, 1, 2])

    def builder(self, history: list[int], target: int) -> RowBuilder:
        builder = RowBuilder(self.vocabulary, has_image=self.has_image)
        for item in history:
            builder.text([item % NUM_BASE, 7], sees=builder.image(item))
        builder.text([1 + target % 5], sees=SEES_ALL)
        builder.open_answer()
        return builder

    def step(self, targets=None):
        def prompt(history, target):
            return self.builder(history, target).row()

        first = self.backbone.start(self.history, self.lengths, prompt, targets)
        return lambda depth, nodes, codes, parents, state: self.backbone.step(
            depth, nodes, codes, parents, state or first
        )

    def logits_of_whole_row(self, user: int, depth: int, codes: list[int], target: int = 0) -> torch.Tensor:
        """Logits [K] after the codes, from one row, nothing cached and nobody beside it."""
        history = self.history[user, : self.lengths[user]].tolist()
        row = self.builder(history, target).row()
        token_ids = [self.vocabulary.digit_ids(place).start + code for place, code in enumerate(codes)]
        row = row._replace(
            token_ids=np.append(row.token_ids, token_ids).astype(np.int64),
            sees=np.append(row.sees, [row.sees[-1]] * len(token_ids)).astype(np.int64),
            is_target=np.append(row.is_target, [False] * len(token_ids)).astype(bool),
        )
        hidden = self.backbone.hidden(collate([row], [0], pad_token_id=0, padding="right"))
        return self.backbone.head(hidden[0, -1])[self.vocabulary.digit_ids(depth)]


@pytest.fixture(params=CONFIGS)
def world(request):
    return World(CONFIGS[request.param]())


@torch.no_grad()
def test_every_beam_reads_its_own_prefix_only(world):
    generator = torch.Generator().manual_seed(0)
    step, state, prefixes = world.step(), None, [[[]] for _ in world.history]
    codes = parents = None
    for depth, (size, width) in enumerate(zip(world.table.sizes, (4, 6, 1), strict=True)):
        logits, state = step(depth, None, codes, parents, state)
        for user, beams in enumerate(prefixes):
            for beam, prefix in enumerate(beams):
                expected = world.logits_of_whole_row(user, depth, prefix)
                torch.testing.assert_close(logits[user, beam], expected, atol=1e-5, rtol=1e-4)
        parents = torch.randint(logits.shape[1], (len(prefixes), width), generator=generator)
        codes = torch.randint(size, (len(prefixes), width), generator=generator)
        prefixes = [
            [beams[parent] + [code] for parent, code in zip(*pair, strict=True)]
            for beams, *pair in zip(prefixes, parents.tolist(), codes.tolist(), strict=True)
        ]


@torch.no_grad()
def test_a_wide_beam_search_finds_the_exhaustive_order(world):
    ranked = beam_search(world.step(), world.trie, batch_size=3, k=NUM_ITEMS, beam_width=NUM_ITEMS)
    scores = exhaustive_scores(world.step(), world.trie, batch_size=3)
    torch.testing.assert_close(ranked.scores, scores.topk(NUM_ITEMS).values, atol=1e-5, rtol=1e-4)
    assert torch.equal(ranked.item_ids, scores.topk(NUM_ITEMS).indices)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3))


@torch.no_grad()
def test_the_target_speaks_through_its_prompt_alone(world):
    def first(targets):
        return world.step(None if targets is None else torch.tensor(targets))(0, None, None, None, None)[0]

    assert torch.equal(first([0, 0, 0]), first(None))
    changed = (first([2, 0, 0]) != first(None)).flatten(1).any(1)
    assert changed.tolist() == [True, False, False]


@torch.no_grad()
def test_pictures_change_the_answers_where_there_are_any(world):
    def logits():
        return world.step()(0, None, None, None, None)[0]

    before = logits()
    original, world.backbone.features = world.backbone.features, lambda item_ids: 1 - original(item_ids)
    changed = (logits() != before).flatten(1).any(1)
    assert changed.tolist() == [True, False, True]  # user 1 has item 4 alone, which has no picture


@torch.no_grad()
def test_answers_keep_to_the_allowed_tokens_and_end(world):
    prompts = world.backbone.collate_prompts([world.builder([1, 2], 0).row(), world.builder([4], 0).row()])
    words, end = torch.tensor([3, 5, 8]), world.vocabulary.end_id
    for options in ({}, {"beams": 3}, {"temperature": 1.0}):
        answers = world.backbone.generate(prompts, allowed_token_ids=words, max_new_tokens=4, **options)
        assert [len(answer) for answer in answers] == [4, 4]
        assert set(sum(answers, [])) <= {3, 5, 8}
    only_end = world.backbone.generate(prompts, allowed_token_ids=torch.tensor([end]), max_new_tokens=4)
    assert only_end == [[], []]


@torch.no_grad()
def test_a_greedy_answer_takes_the_best_allowed_token_each_time(world):
    history, allowed = [5, 6], torch.tensor([2, 3, 4, 9])
    prompts = world.backbone.collate_prompts([world.builder([1, 2, 3], 0).row(), world.builder(history, 0).row()])
    answer = world.backbone.generate(prompts, allowed_token_ids=allowed, max_new_tokens=3)[1]
    builder = world.builder(history, 0)
    for token_id in answer:
        batch = world.backbone.collate_prompts([builder.row()])
        assert token_id == allowed[world.backbone.answer_logits(batch, allowed)[0].argmax()]
        builder.text([token_id], sees=SEES_ALL)


def test_without_vision_prompts_are_read_as_text():
    world = World(CONFIGS["gpt2"](), pictures=False)
    batch = world.backbone.collate_prompts([world.builder([1, 2], 0).row()])
    with torch.no_grad():
        expected = world.backbone.lm(input_ids=batch.token_ids, output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(world.backbone.hidden(batch), expected)
