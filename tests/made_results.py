"""Made-up results of runs."""

import numpy as np

from recbole_mgr.run.results import RunResult

USERS = 40


def make_result(label="TIGER", seed=1, *, ranks=None, mode="full", topk=(5, 10), **changes) -> RunResult:
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, 11, size=USERS) if ranks is None else np.array(ranks)
    names = [f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in topk]
    values = {
        "data": "tiny",
        "label": label,
        "model": label.split()[0],
        "seed": seed,
        "valid": {"ndcg@10": 0.25},
        "test": {name: seed / 10 for name in names},
        "test_masked": {name: seed / 5 for name in names},
        "id_level": {f"id@{k}": 0.5 for k in topk},
        "ranks": ranks,
        "ranks_masked": ranks,
        "users": np.array([f"u{user}" for user in range(len(ranks))]),
        "targets": np.array([f"i{user % 7}" for user in range(len(ranks))]),
        "num_items": 1234,
        "epochs": 3,
        "train_seconds": 1.4,
        "test_seconds": 2.6,
        "parameters": 5678,
        "alignment": {},
        "settings": {
            "eval_args": {"split": {"LS": "valid_and_test"}, "mode": {"valid": mode, "test": mode}},
            "valid_metric": "NDCG@10",
            "MODEL_TYPE": "ModelType.SEQUENTIAL",
            "mask_history": False,
            "topk": list(topk),
        },
        "environment": {"hardware": "a machine"},
    }
    values["settings"].update(changes.pop("settings", {}))
    return RunResult(**{**values, **changes})
