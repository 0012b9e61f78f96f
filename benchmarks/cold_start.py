"""Cold start: items that training never saw, recommended by the semantic IDs that the trained quantisers give them.

A share of the items vanishes from the interactions, models are trained on the rest, and the items join afterwards
(``Recommender.add_items``). A target is a purchase of such an item; its history is what the user took before, of the
trained items. Histories are masked. Recall@k is reported over the whole catalogue and among the new items alone,
against drawing at random and against the items whose vectors are nearest to the history's mean or last item. What new
items cost the known ones is seen by Recall@k of the test's targets before and after they join. A data set with
collaborative vectors gets others, learned without the items that vanish, which have none then. Known flaw, the same for
all rows: what the user took after the target was seen in training.

    python benchmarks/cold_start.py --dataset Beauty --data_path dataset_atomic \\
        --model MGRLFpp MGRLFpp:preset=None MGRLFpp:preset=None,code_softmax=full --epochs 30 --work <scratch folder>
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_mgr import load
from recbole_mgr.baselines.ppmi_svd import PpmiSettings
from recbole_mgr.cli.run import parse_model
from recbole_mgr.data.features import feature_path, load_features
from recbole_mgr.model.memory import COLLABORATIVE
from recbole_mgr.run.collaborative import write_ppmi_svd_vectors
from recbole_mgr.run.identity import slug
from recbole_mgr.run.pipeline import run_comparison
from recbole_mgr.run.results import RunResult
from recbole_mgr.semantic_id.fusion import early_fusion
from recbole_mgr.serving import Recommender, Request

USER, ITEM, TIME = "user_id:token", "item_id:token", "timestamp:float"


class Case(NamedTuple):
    """A purchase, and what came before it."""

    history: list[str]
    target: str


def split_off(source: Path, folder: Path, share: float, seed: int) -> tuple[list[str], list[Case]]:
    """Write the data set ``source`` without a share of its items into ``folder``; return these and their cases."""
    name = source.name
    rows = pd.read_csv(source / f"{name}.inter", sep="\t", dtype=str, keep_default_na=False)
    items = np.array(sorted(rows[ITEM].unique()))
    chosen = np.random.default_rng(seed).choice(len(items), size=round(share * len(items)), replace=False)
    new = set(items[chosen])
    folder.mkdir(parents=True)
    for file in source.glob(f"{name}.*"):
        if file.suffix != ".inter" and f".{COLLABORATIVE}" not in file.suffixes:
            shutil.copy(file, folder)
    rows[~rows[ITEM].isin(new)].to_csv(folder / f"{name}.inter", sep="\t", index=False)
    if feature_path(source, name, COLLABORATIVE):
        settings = {"data_path": str(folder.parent)}
        write_ppmi_svd_vectors(name, options=PpmiSettings(), modality=COLLABORATIVE, settings=settings, output=None)

    cases = []
    order = rows[TIME].astype(float).argsort(kind="stable")
    for _, own in rows.iloc[order].groupby(USER, sort=True)[ITEM]:
        history: list[str] = []
        for item in own:
            if item not in new:
                history.append(item)
            elif history:
                cases.append(Case(list(history), item))
    return sorted(new), cases


def known_cases(model: Recommender, result: RunResult) -> list[Case]:
    """The test's targets, all of them known items, and what came before them."""
    histories = (model.history_of(user)[:-1] for user in result.users)
    return [Case(history, target) for history, target in zip(histories, result.targets, strict=True)]


def drawn(cases: list[Case], most: int, seed: int) -> list[Case]:
    """At most so many of them, at random."""
    if len(cases) <= most:
        return cases
    return [cases[place] for place in np.random.default_rng(seed).choice(len(cases), most, replace=False)]


def recall(
    model: Recommender, cases: list[Case], new: list[str], *, k: int, only: list[str] | None = None
) -> tuple[float, float]:
    """Recall@k of the targets, and the share of new items in the lists."""
    requests = (Request("", case.history) for case in cases)
    lists = [items for batch in model.stream(requests, k=k, mask_history=True, only=only) for items in batch.item_ids]
    hits = [case.target in items for case, items in zip(cases, lists, strict=True)]
    is_new = set(new)
    return float(np.mean(hits)), float(np.mean([item in is_new for items in lists for item in items]))


def nearest(cases: list[Case], candidates: list[str], vectors: dict[str, np.ndarray], *, last: bool, k: int) -> float:
    """Recall@k of the candidates whose vectors have the largest cosine with the history's mean or last item."""
    matrix = np.stack([vectors[item] for item in candidates])  # [c, dim], rows of length 1
    column = {item: place for place, item in enumerate(candidates)}
    hits = 0
    for case in cases:
        history = case.history[-1:] if last else case.history
        scores = matrix @ np.mean([vectors[item] for item in history], axis=0)
        scores[[column[item] for item in case.history if item in column]] = -np.inf
        hits += column[case.target] in np.argpartition(-scores, k)[:k]
    return hits / len(cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", type=Path, required=True, help="folder that holds <dataset>/")
    parser.add_argument("--model", nargs="+", required=True, help="NAME or NAME:key=value,... as in recbole-mgr run")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder for the reduced data and the runs")
    parser.add_argument("--share", type=float, default=0.05, help="of the items held out")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--max_cases", type=int, default=5000, help="purchases of new items tested, drawn at random")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of items and cases")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    k = arguments.k

    data = arguments.work / f"share-{arguments.share}-seed-{arguments.seed}" / arguments.dataset
    shutil.rmtree(data, ignore_errors=True)
    new, cases = split_off(arguments.data_path / arguments.dataset, data, arguments.share, arguments.seed)
    cases = drawn(cases, arguments.max_cases, arguments.seed)

    lines = []
    for text in arguments.model:
        request = parse_model(text)
        checkpoints = arguments.work / "saved" / f"{slug(text)}-{arguments.share}-{arguments.seed}"
        shared = {"epochs": arguments.epochs, "num_threads": arguments.threads, "show_progress": False, "floors": False}
        settings = {**shared, "data_path": str(data.parent), "checkpoint_dir": str(checkpoints)}
        (result,) = run_comparison([request], arguments.dataset, settings=settings).results
        run_file = max(checkpoints.rglob("run.yaml"), key=lambda path: path.stat().st_mtime)
        model = load(run_file.parent, device="cpu")

        features = {
            modality: load_features(data, arguments.dataset, modality, [*model.item_ids, *new], "zero").vectors
            for modality in model.modalities
            if modality != COLLABORATIVE
        }
        catalogue = [*model.item_ids, *new]
        fused = early_fusion(features)
        fused = fused.astype(np.float32) / np.maximum(np.linalg.norm(fused.astype(np.float32), axis=1), 1e-9)[:, None]
        vectors = dict(zip(catalogue, fused, strict=True))
        known = drawn(known_cases(model, result), arguments.max_cases, arguments.seed)
        before, _ = recall(model, known, new, k=k)
        report = model.add_items(new, {modality: matrix[-len(new) :] for modality, matrix in features.items()})

        everywhere, exposure = recall(model, cases, new, k=k)
        among_new, _ = recall(model, cases, new, k=k, only=new)
        after, _ = recall(model, known, new, k=k)
        lines.append(
            f"| {text} | {everywhere:.4f} | {among_new:.4f} | {exposure:.3f} | {len(report.moved)} | "
            f"{before:.4f} | {after:.4f} | {result.epochs} |"
        )
        print(lines[-1], flush=True)

    print(
        f"\n{arguments.dataset}: {len(new)} of {len(catalogue)} items new, {len(cases)} purchases of them, "
        f"at most {arguments.epochs} epochs\n"
    )
    print(
        f"| | Recall@{k}, all items | among new items | share of new in lists | moved codes | "
        f"known items, before | after | epochs |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    print("\n".join(lines))
    for last in (False, True):
        recalls = [nearest(cases, items, vectors, last=last, k=k) for items in (catalogue, new)]
        name = f"nearest to the history's {'last item' if last else 'mean'}"
        print(f"| {name} | {recalls[0]:.4f} | {recalls[1]:.4f} | | | | | |")
    print(f"| random | {k / len(catalogue):.4f} | {k / len(new):.4f} | {len(new) / len(catalogue):.3f} | | | | |")


if __name__ == "__main__":
    main()
