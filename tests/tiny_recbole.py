"""A small data set in RecBole's atomic files, and settings that train on it in a second."""

from pathlib import Path

import numpy as np


def write_atomic(folder: Path, suffix: str, header: str, rows: list[tuple]) -> None:
    """Write ``<folder>/<folder's name>.<suffix>``, tab-separated; None leaves a cell empty."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header.replace(" ", "\t")]
    lines += ["\t".join("" if cell is None else str(cell) for cell in row) for row in rows]
    (folder / f"{folder.name}.{suffix}").write_text("\n".join(lines) + "\n")


def write_interactions(folder: Path, n_users: int = 40, n_items: int = 30) -> None:
    """Each user walks upwards through the items from a random start, one item a second."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        start, length = rng.integers(n_items), rng.integers(6, 12)
        rows += [(f"u{user}", f"i{(start + k) % n_items}", 1_000_000_000 + k) for k in range(length)]
    write_atomic(folder, "inter", "user_id:token item_id:token timestamp:float", rows)


def settings(data_path: Path, **changes) -> dict:
    """A ``config_dict`` for one quiet epoch on the CPU, leave-one-out in time order, full ranking."""
    return {
        "data_path": str(data_path),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "epochs": 1,
        "train_batch_size": 128,
        "gpu_id": "",
        "show_progress": False,
        "state": "ERROR",
        "topk": [5],
        "valid_metric": "NDCG@5",
        **changes,
    }
