"""Each baseline on a world whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation

from recbole_mgr.generation.item_memory import Counts, FittedMemory
from recbole_mgr.generation.likeness import by_codes, by_vectors, nearest_items
from recbole_mgr.integration.config import make_config

ROWS = {  # the last two of each user are held out
    "ann": "a b c a x y",
    "bob": "b c d x y",
    "cem": "a b e x y",
    "dee": "f g a b x y",
    "eva": "c h b f y x",
}


@pytest.fixture
def world(tmp_path, write_dataset, monkeypatch):
    """Function: a model on the rows above, its test batch and the internal ids of items."""
    monkeypatch.chdir(tmp_path)
    rows = [(user, item, time) for user, items in ROWS.items() for time, item in enumerate(items.split())]
    write_dataset(tmp_path, interactions=rows)

    def make(name, **changes):
        quiet = {"gpu_id": "", "state": "ERROR", "data_path": str(tmp_path), "topk": [5], "valid_metric": "NDCG@5"}
        config = make_config(name, "tiny", [], {**quiet, **changes})
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        model = config.model_class(config, train._dataset)
        return model, train, test, {token: n for n, token in enumerate(dataset.field2id_token["item_id"])}

    return make


def ranking(model, history: str, ids: dict[str, int], count: int) -> str:
    items = torch.tensor([[ids[item] for item in history.split()] + [0, 0]])
    scores = model.scores(items, torch.tensor([len(history.split())]))[0]
    scores[0] = -torch.inf
    token = {n: item for item, n in ids.items()}
    return " ".join(token[int(n)] for n in scores.topk(count).indices)


def test_the_history_comes_again_newest_first_and_then_what_is_popular(world):
    model, train, _, ids = world("HistoryAgain")
    model.fit(train._dataset.training_sequences, {})
    # in training: b 5, a 4, c 3, f 2 and d, e, g, h once, of which the one that was taken first comes first
    assert ranking(model, "e d", ids, 8) == "d e b a c f g h"
    assert ranking(model, "d e d", ids, 3) == "d e b"


def test_pop_is_popularity_with_defined_ties(world):
    model, train, test, ids = world("Pop")
    for batch in train:
        model.calculate_loss(batch)
    scores = model.full_sort_predict(test._dataset.inter_feat[:1])
    best = scores.topk(8).indices.tolist()
    assert best == [ids[item] for item in "b a c f g h d e".split()]


def test_tgh_takes_its_shares_of_the_rings(world):
    """Transitions in training: a>b 3, b>c 2, c>a, c>d, b>e, f>g, g>a, c>h, h>b, b>f."""
    model, train, _, ids = world("TGH", ring_sizes=[2, 1, 1])
    model.fit(train._dataset.training_sequences, {})
    # ring 1 of b: c (2), f, e (1 each; f is more popular), ring 2: a, g, h, d; then what the shares left, by rings
    assert ranking(model, "a b", ids, 8) == "c f a e g h d b"
    assert ranking(model, "f e", ids, 3) == "b a c"  # nothing follows e: popularity


def test_tgh_ranks_a_ring_by_likeness_and_counts(world):
    model, train, _, ids = world("TGH", modalities=["text", "image"], ring_sizes=[3, 9])
    model.fit(train._dataset.training_sequences, {})
    cosine = 0
    for modality in ("text", "image"):
        vectors = np.load(f"tiny/tiny.{modality}.npy").astype(float)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        order = Path(f"tiny/tiny.{modality}.ids").read_text().split()
        cosine = cosine + vectors @ vectors[order.index("b")] / 2
    value = {
        item: cosine[order.index(item)] + 0.5 * np.log1p(n) / np.log1p(2)
        for item, n in zip("cfe", (2, 1, 1), strict=True)
    }
    second = sorted("adgh", key=lambda item: -cosine[order.index(item)])
    expected = sorted("cfe", key=lambda item: -value[item]) + second
    assert ranking(model, "b", ids, 7).split() == expected


@pytest.mark.parametrize("codes", [False, True])
def test_item_memory_reads_content_from_vectors_and_from_codes(world, codes):
    model, train, test, ids = world("ItemMemory", modalities=["text"], max_entries=None)
    items = Path("tiny/tiny.text.ids").read_text().split()
    if codes:
        drawn = np.random.default_rng(0).integers(3, size=(len(items), 2))
        lines = [
            "item_id:token\ttext_codes:token_seq",
            *(f"{i}\t{a} {b}" for i, (a, b) in zip(items, drawn, strict=True)),
        ]
        Path("own.tsv").write_text("\n".join(lines) + "\n")
        model, train, test, ids = world(
            "ItemMemory", modalities=["image", "text"], semantic_ids="own.tsv", max_entries=None
        )
    rows = np.argsort([ids[item] for item in items])
    parts = [by_vectors(np.load(f"tiny/tiny.{'image' if codes else 'text'}.npy")[rows])]
    parts += [by_codes(drawn[rows])] if codes else []
    likeness = nearest_items(parts, len(items))
    sequences, chosen = train._dataset.training_sequences, {key: values[0] for key, values in model.grid.items()}
    model.fit(sequences, chosen)
    expected = FittedMemory.fit(
        Counts.of(sequences, len(items), model.memory.settings), model.memory.settings, likeness
    )
    assert model.memory.settings.content_weight == 10
    torch.testing.assert_close(model.memory.weights, expected.weights)


def test_without_modalities_there_is_no_content_to_weigh(world):
    model, *_ = world("ItemMemory")
    assert model.grid["content_weight"] == [0.0] and model.likeness is None
