"""A shop of nine items and six users whose prompts can be read, and a model that knows the true answers."""

import numpy as np
import pytest
import torch
from prompted_model import PromptedModel

from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp import user_sequences
from recbole_mgr.unimp.catalogue import ItemCatalogue, RaggedTokenIds, tokenize
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.visual_features import VisualFeatures
from recbole_mgr.unimp.vocabulary import PromptVocabulary

NAMES = ["red soap", "blue soap", "green soap", "red comb", "blue comb", "green comb", "red mask", "blue mask", "old"]
CATEGORIES = ["soap"] * 3 + ["comb"] * 3 + ["mask"] * 2 + [""]
WITHOUT_PICTURE = (9,)
HISTORIES = {
    1: [1, 4, 7, 2, 5],
    2: [2, 5, 8, 1],
    3: [1, 2, 3, 4, 5, 6, 7, 8, 9],
    4: [4, 7, 1, 9],
    5: [7, 1, 7, 4, 1],  # takes 7 and 1 twice
    6: [3, 6, 2, 1, 5],
}
SETTINGS = {
    "history_items": 3,
    "max_tokens": 200,
    "focal_gamma": 0.0,
    "context_targets": True,
    "ask_after": "every",
    "image_attention": "own",
    "closing_sees": "all",
    "task_cases": 1000,
    "selection_candidates": 4,
    "selection_by": "marks",
    "search_title_words": 0,
    "explanation_words": 5,
    "bert_score": None,
}


class WordTokenizer:
    """One token for each word it was made of, and for padding; strangers are an error."""

    pad_token_id = 0
    all_special_ids = [0]

    def __init__(self, texts):
        self.words = ["<pad>", *sorted({word for text in texts for word in text.split()})]

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [[self.words.index(word) for word in text.split()] for text in texts]}

    def __len__(self):
        return len(self.words)

    def decode(self, token_ids, skip_special_tokens=False):
        return " ".join(self.words[token_id] for token_id in token_ids)


class World:
    """Makes the shop's data, with changes, and reads rows of tokens."""

    def __init__(self, *, ratings=True, reviews=True, split="leave_one_out", histories=HISTORIES, queries=None):
        users = np.repeat(list(histories), [len(items) for items in histories.values()])
        items = np.concatenate(list(histories.values()))
        # a user's ratings: 5, 4, none, 2, 1, 1, ...; so the scale is 1, 2, 4, 5
        place = np.concatenate([np.arange(len(history)) for history in histories.values()])
        self.ratings = np.where(place == 2, np.nan, np.maximum(5.0 - place, 1.0))
        self.reviews = [f"user{user} likes {NAMES[item - 1]}" for user, item in zip(users, items, strict=True)]
        if split == "leave_one_out":
            self.parts = user_sequences.leave_one_out(users, items)
        else:
            self.parts = user_sequences.by_user(users, items, np.array([0, 0, 0, 0, 0, 1, 2]))
        sentences = [
            "What comes next?",
            "Looking for:",
            "Which rating?",
            "What will the user say?",
            "Which are chosen?",
        ]
        self.tokenizer = WordTokenizer([*NAMES, *self.reviews, *sentences, "unknown"])
        rows = np.array([-1, *range(9)])
        rows[list(WITHOUT_PICTURE)] = -1
        table = SemanticIdTable.from_blocks(
            {"item": np.stack([np.arange(9) // 3, np.arange(9) % 3], 1)}, list("abcdefghi")
        )
        queries = queries or [category or "unknown" for category in CATEGORIES]
        names = sorted({"", *CATEGORIES})
        scale = np.unique(self.ratings[~np.isnan(self.ratings)]) if ratings else np.empty(0)
        self.data = PersonalData(
            catalogue=ItemCatalogue(
                text=RaggedTokenIds.of([[], *tokenize(self.tokenizer, NAMES)]),
                query=RaggedTokenIds.of([[], *tokenize(self.tokenizer, queries)]),
                visual=VisualFeatures(np.zeros((9, 1, 2), dtype=np.float32), rows),
                category=np.searchsorted(names, ["", *CATEGORIES]),
                category_names=names,
                titles=["", *NAMES],
                pictures=[""] * 10,
                queries=["", *queries],
            ),
            vocabulary=PromptVocabulary(
                len(self.tokenizer), table, num_ratings=len(scale), num_candidates=4, picture_codes=0
            ),
            tokenizer=self.tokenizer,
            table=table,
            pictures=None,
            rating_values=scale,
            seed=7,
            sequences=self.parts,
            ratings=self.ratings if ratings else np.full(len(users), np.nan),
            reviews=self.reviews if reviews else None,
        )

    def say(self, token_id):
        """A token as a word: r0.. ratings, s0.. candidates, d<digit>=<code>."""
        vocabulary = self.data.vocabulary
        if token_id < vocabulary.base_size:
            return self.tokenizer.words[token_id]
        marks = {vocabulary.image_id: "<image>", vocabulary.answer_id: "<answer>", vocabulary.end_id: "<end>"}
        for letter, ids in (("r", vocabulary.rating_ids), ("s", vocabulary.candidate_ids)):
            marks |= {token: f"{letter}{index}" for index, token in enumerate(ids.tolist())}
        depth, code = (int(part) for part in vocabulary.digit_codes(torch.tensor(token_id)))
        return marks.get(token_id, f"d{depth}={code}")

    def read(self, row):
        """A row as words."""
        return " ".join(self.say(int(token_id)) for token_id in row.token_ids)

    def targets(self, row):
        """The words of a row that are to be predicted."""
        return " ".join(self.say(int(token_id)) for token_id in row.token_ids[row.is_target])

    def images(self, row):
        """The pictures' items, in order."""
        return row.images.tolist()


class KnowingModel(PromptedModel):
    """Answers each prompt as the task's own row does; prompts it does not know are an error."""

    def __init__(self, task, cases):
        self.answers = {
            tuple(task.row(case, answer=False).token_ids): [*task.answer(case).tolist(), task.vocabulary.end_id]
            for case in cases
        }

    def generate_answers(self, batch, *, allowed_token_ids, max_new_tokens):
        answers = [self.answers[prompt] for prompt in self._prompts(batch)]
        assert all(set(answer) <= set(allowed_token_ids.tolist()) for answer in answers)
        assert all(len(answer) <= max_new_tokens for answer in answers)
        return answers

    def answer_logits(self, batch, token_ids):
        firsts = torch.tensor([self.answers[prompt][0] for prompt in self._prompts(batch)])
        return 50.0 * (firsts[:, None] == token_ids)

    @staticmethod
    def _prompts(batch):
        return [
            tuple(tokens[mask.bool()].tolist())
            for tokens, mask in zip(batch.token_ids, batch.attention_mask, strict=True)
        ]


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def make_world():
    """World(...) with changes."""
    return World


@pytest.fixture
def settings():
    return dict(SETTINGS)


@pytest.fixture(scope="session")
def knowing_model():
    return KnowingModel
