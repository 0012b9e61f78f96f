"""A tiny data set with all that UniMP's tasks ask for but pictures to draw, and settings that train on it fast."""

from pathlib import Path
from typing import Any

TASKS = ["recommendation", "search", "preference", "explanation", "selection"]
KINDS, COLOURS = ("Soap", "Balm", "Mask", "Comb"), ("red", "blue", "green", "white", "black", "grey")
NUM_ITEMS = len(KINDS) * len(COLOURS)


def write_shop(folder: Path, write_dataset) -> Path:
    """Write ``<folder>/tiny``: users walk upwards through 24 items; who likes a kind rates it 5 and says so.

    Args:
        folder: what ``data_path`` names.
        write_dataset: the fixture.

    Returns:
        The data set's folder.
    """
    path = write_dataset(folder, num_items=NUM_ITEMS, without_vector=["i3"])
    items = ["item_id:token\ttitle:token_seq\tbrand:token\tcategories:token_seq"]
    for item in range(NUM_ITEMS):
        kind, colour = KINDS[item % len(KINDS)], COLOURS[item // len(KINDS)]
        items.append(f"i{item}\t{colour} {kind}\tAcme\tCare > {kind}")
    (path / "tiny.item").write_text("\n".join(items) + "\n", encoding="utf-8")
    rows = [line.split("\t") for line in (path / "tiny.inter").read_text(encoding="utf-8").splitlines()[1:]]
    inter, reviews = ["user_id:token\titem_id:token\ttimestamp:float\trating:float"], []
    for user, item, time in rows:
        likes = (int(user[1:]) + int(item[1:])) % len(KINDS) == 0
        inter.append(f"{user}\t{item}\t{time}\t{5 if likes else 2}")
        reviews.append(f"{user}\t{item}\t{'lovely' if likes else 'poor'} {KINDS[int(item[1:]) % len(KINDS)]}")
    (path / "tiny.inter").write_text("\n".join(inter) + "\n", encoding="utf-8")
    header = "user_id:token\titem_id:token\treview:token_seq"
    (path / "tiny.review").write_text("\n".join([header, *reviews]) + "\n", encoding="utf-8")
    return path


def shop_settings(tiny_settings, folder: Path, **changes: Any) -> dict[str, Any]:
    """Of a small network on this data set.

    Args:
        tiny_settings: the fixture.
        folder: what ``data_path`` names.
        changes: what else is set.
    """
    small = {
        "tasks": TASKS,
        "task_weights": {},
        "n_layers": 1,
        "cross_attention_every": 1,
        "n_heads": 2,
        "train_batch_size": 16,
        "bpe_vocabulary": 300,
        "history_items": 3,
        "explanation_words": 3,
        "task_cases": 10,
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "beam_size": NUM_ITEMS,
    }
    return tiny_settings(folder, **{**small, **changes})
