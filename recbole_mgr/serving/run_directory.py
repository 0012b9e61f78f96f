"""The files that make a run directory portable. None of them is a pickle, and reading them runs nothing.

    run.yaml                    what this is: model, data, provenance, fingerprint of the semantic IDs, versions
    settings.yaml               all settings of the run (written when it started)
    best.semantic_ids.tsv/.yaml the semantic IDs (written with the first checkpoint)
    model.safetensors           the weights that validated best
    quantizers.npz              what gives new items their semantic IDs; absent where the user supplied the IDs
    content.npz                 their content vectors, by which new items find those that they are like; likewise
    items.tsv                   title, picture name and other fields of each item, long ones cut
    *.tsv.safetensors           the binary forms of these two
    histories.npz               what each user took; absent with ``keep_histories: False``
    training.npz                the interactions that a general model of RecBole's was trained on, likewise
    unimp/                      UniMP alone: what its prompts say and show of the items, and its tokenizer
    unimp/ratings_and_reviews.npz
                                of what stands in histories.npz; absent without it or them

``best.pth`` beside them holds the checkpoint that RecBole reads, and is all there is of a RecBole model's weights;
``progress.pth`` stands there until training has ended. ``run.yaml`` knows every file's SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from recbole_mgr.data.arrays import read_arrays
from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemText, ItemTexts, read_all_item_texts, write_item_texts
from recbole_mgr.data.provenance import Provenance
from recbole_mgr.data.vectors import Rows
from recbole_mgr.files import replacing
from recbole_mgr.integration.dataset import semantic_id_settings
from recbole_mgr.integration.environment import environment
from recbole_mgr.integration.registry import model_class
from recbole_mgr.integration.resume import PROGRESS_FILE
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer
from recbole_mgr.serving.known_content import KnownContent, read_content, save_content
from recbole_mgr.serving.run_files import (
    ABOUT_FILE,
    COPY_AGAIN,
    FORMAT,
    ITEMS_FILE,
    SETTINGS_FILE,
    TABLE_FILE,
    WEIGHTS_FILE,
    read_about,
    read_settings,
    record_files,
)

QUANTIZERS_FILE, CONTENT_FILE = "quantizers.npz", "content.npz"
HISTORIES_FILE, TRAINING_FILE = "histories.npz", "training.npz"
# Settings that say how large a network is.
_SIZES = ("hidden_size", "inner_size", "embedding_size", "branch_size", "n_layers")
# which the model itself writes and reads, see PersonalData; the second name is that of earlier versions
RATINGS_FILE, OLD_RATINGS_FILE = "unimp/ratings_and_reviews.npz", "unimp/opinions.npz"


class Run(NamedTuple):
    """A trained run, read from its folder."""

    about: dict[str, Any]
    settings: dict[str, Any]
    network: GenerativeRecommender  # on the CPU, in eval mode
    item_texts: ItemTexts  # in the order of the network's table
    tokenizer: ItemTokenizer | None
    histories: UserHistories | None
    content: KnownContent | None = None  # where there is a tokenizer


class _Catalogue(NamedTuple):
    """All that a model's constructor asks of a data set."""

    semantic_ids: SemanticIdTable
    semantic_id_report: dict[str, Any]
    personal: Any

    def num(self, field: str) -> int:
        return self.semantic_ids.num_items + 1


def export_run(
    run_dir: Path,
    *,
    network: GenerativeRecommender,
    tokenizer: ItemTokenizer | None,
    item_vectors: Mapping[str, Rows] | None,
    item_tokens: list[str],
    item_texts: list[ItemText],
    item_fields: Mapping[str, list[str]],
    num_users: int,
    histories: UserHistories | None,
    provenance: Provenance,
    trained: dict[str, Any],
    training_pairs: np.ndarray | None = None,
) -> None:
    """Complete a run directory that training has left, so that whoever uses the run needs nothing but it.

    Args:
        run_dir: holds ``settings.yaml``, the best checkpoint and, of our models, the table of semantic IDs already.
        network: of any model, ours or RecBole's, with the weights to keep.
        tokenizer: of our models, for items to come; None where the semantic IDs are the user's.
        item_vectors: modality -> [N, dim], what the tokenizer was fitted to; None likewise.
        item_tokens, item_texts: N items, in the order of their internal ids.
        item_fields: what else is known of them, by name.
        num_users: of the data set.
        histories: of the data set's interactions, what "users by id" will know; None keeps nothing of any user.
        provenance: of the data.
        trained: what training tells of itself, plain data.
        training_pairs: int64 [n, 2], internal user and item ids of the training part, for models that are built from
            them.
    """
    about = {
        "format": FORMAT,
        "model": type(network).__name__,
        "data": provenance._asdict(),
        "items": len(item_tokens),
        "users": num_users,
    }
    forget_histories(run_dir)  # an earlier attempt may have kept them
    if isinstance(network, GenerativeRecommender):
        about["semantic_id_fingerprint"] = network.semantic_ids.fingerprint
        _export_generative(run_dir, network, tokenizer)
        if item_vectors is not None and network.takes_new_items:
            save_content(run_dir / CONTENT_FILE, item_vectors)
        network.save_extra_state(run_dir, None if histories is None else histories.interactions)
    write_item_texts(run_dir / ITEMS_FILE, item_tokens, item_texts, item_fields)
    if histories is not None:
        histories.save(run_dir / HISTORIES_FILE)
    if training_pairs is not None:
        with replacing(run_dir / TRAINING_FILE) as path:
            users, items = training_pairs.T.astype(np.int32)
            np.savez_compressed(path, users=users, items=items)
    about["environment"] = {key: str(value) for key, value in environment(network.device).items()}
    about["trained"] = trained
    # last: where it stands, the others are complete
    files = (path.relative_to(run_dir) for path in sorted(run_dir.rglob("*")) if path.is_file())
    record_files(run_dir, [file.as_posix() for file in files if _is_lasting(file)], about)


def _export_generative(run_dir: Path, network: GenerativeRecommender, tokenizer: ItemTokenizer | None) -> None:
    with replacing(run_dir / WEIGHTS_FILE) as path:
        save_model(network, str(path), metadata={"semantic_id_fingerprint": network.semantic_ids.fingerprint})
    if tokenizer is not None:
        with replacing(run_dir / QUANTIZERS_FILE) as path:
            np.savez_compressed(path, **tokenizer.arrays())


def _is_lasting(file: Path) -> bool:
    """Whether a file of a run directory belongs to the run; ``progress.pth`` goes when training has ended, and results
    are noted when they are written."""
    passing = (ABOUT_FILE, PROGRESS_FILE, "result.json", "ranking.npz")
    return not file.name.startswith(".") and file.name not in passing and file.parts[0] != "evaluations"


def forget_histories(run_dir: Path) -> None:
    """Remove what a run directory knows of its users."""
    for name in (HISTORIES_FILE, RATINGS_FILE, OLD_RATINGS_FILE, TRAINING_FILE):
        (run_dir / name).unlink(missing_ok=True)


def read_run(run_dir: Path) -> Run:
    """Read a run directory.

    Raises:
        ValueError: Naming the file and the remedy: it is no finished run of one of our models, was written by a newer
            version, or its files are damaged or belong to different runs.
    """
    about = read_about(run_dir)
    settings = read_settings(run_dir, about)
    class_ = model_class(about["model"])
    item_texts = read_all_item_texts(run_dir / ITEMS_FILE)
    table = _read_table(run_dir / TABLE_FILE, about, item_texts.tokens, transitions=class_.has_transitions(settings))
    require_sizes(settings, _weight_shapes(run_dir / WEIGHTS_FILE), run_dir)
    extra_state = class_.load_extra_state(run_dir, table)
    try:
        network = make_network(settings, table, extra_state)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{run_dir / SETTINGS_FILE}: {about['model']} cannot be built by these settings ({error}); copy the run "
            "directory whole"
        ) from error
    _load_weights(network, run_dir / WEIGHTS_FILE)
    tokenizer = _read_tokenizer(run_dir / QUANTIZERS_FILE, settings, table)
    return Run(
        about=about,
        settings=settings,
        network=network,
        item_texts=item_texts,
        tokenizer=tokenizer,
        histories=read_histories(run_dir / HISTORIES_FILE, table.num_items),
        content=tokenizer and KnownContent(partial(read_content, run_dir / CONTENT_FILE, tokenizer, table)),
    )


def make_network(settings: dict[str, Any], table: SemanticIdTable, extra_state: Any = None) -> GenerativeRecommender:
    """An untrained network for a table of semantic IDs, on the CPU, in eval mode.

    Args:
        settings: of the run.
        table: of the catalogue.
        extra_state: what the model's class loads with ``load_extra_state``.
    """
    catalogue = _Catalogue(table, {}, extra_state)
    return model_class(settings["model"])({**settings, "device": torch.device("cpu")}, catalogue).eval()


def _read_table(path: Path, about: dict[str, Any], item_tokens: list[str], *, transitions: bool) -> SemanticIdTable:
    table = SemanticIdTable.load(path, item_tokens=item_tokens, transitions=transitions)
    if table.fingerprint != about["semantic_id_fingerprint"]:
        raise ValueError(
            f"{path}: these are not the semantic IDs of {ABOUT_FILE} (fingerprint); copy the run directory whole, "
            "with the .yaml beside the .tsv"
        )
    return table


def _weight_shapes(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the stored weights, from the file's header."""
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - no dictionary
        if not shapes:
            raise ValueError("it holds no weights")
        return shapes
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: this file is damaged ({error}); copy the run directory again") from error


def _load_weights(network: GenerativeRecommender, path: Path) -> None:
    try:
        with safe_open(str(path), framework="pt") as file:
            trained_on = (file.metadata() or {}).get("semantic_id_fingerprint")
        if trained_on != network.semantic_ids.fingerprint:
            raise RuntimeError("they were trained on other semantic IDs")
        load_model(network, str(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path}: not the weights of this run's {type(network).__name__} ({error}); copy the run directory whole"
        ) from error


def _read_tokenizer(path: Path, settings: dict[str, Any], table: SemanticIdTable) -> ItemTokenizer | None:
    if not path.is_file():
        return None
    sizes = {modality: table.digits[table.block(modality).start].size for modality in table.modalities}
    how = semantic_id_settings(settings, model_class(settings["model"]))
    arrays = read_arrays(path, remedy=COPY_AGAIN)
    try:
        return ItemTokenizer.from_arrays(arrays, how, sizes=sizes)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: this file is damaged ({error}); {COPY_AGAIN}") from error


def read_histories(path: Path, num_items: int) -> UserHistories | None:
    """The users' histories, or None where the run keeps none; raises ValueError where they are not of N items."""
    if not path.is_file():
        return None
    arrays = read_arrays(path, remedy=COPY_AGAIN)
    try:
        starts, ids = arrays["starts"], arrays["item_ids"]
        if starts.dtype.kind not in "iu" or starts.ndim != 1 or not len(starts) or starts[0] != 0:
            raise ValueError("starts")
        if (np.diff(starts) < 0).any() or ids.ndim != 1:
            raise ValueError("starts")
        histories = UserHistories.from_arrays(arrays)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: this file is damaged ({error}); {COPY_AGAIN}") from error
    require_ids(path, ids, num_items)
    if len(histories) != len(starts) - 1 or histories.num_interactions != starts[-1]:
        raise ValueError(f"{path}: {len(histories)} users, {len(starts) - 1} histories; copy the run directory again")
    return histories


def require_ids(path: Path, ids: np.ndarray, highest: int) -> None:
    """Raise ValueError unless internal ids are 1..highest."""
    if ids.dtype.kind not in "iu" or (len(ids) and not 1 <= int(ids.min()) <= int(ids.max()) <= highest):
        raise ValueError(f"{path}: ids out of 1..{highest}; copy the run directory again")


def require_sizes(settings: Mapping[str, Any], shapes: Iterable[Sequence[int]], run_dir: Path) -> None:
    """Refuse sizes that no stored weight has, before a network of that size takes the memory.

    Args:
        settings: of the run.
        shapes: of its stored weights.
        run_dir: of the run.

    Raises:
        ValueError: Naming the setting.
    """
    shapes = [tuple(shape) for shape in shapes]
    largest = max([len(shapes), *(size for shape in shapes for size in shape)], default=0)
    for key in _SIZES:
        value = settings.get(key)
        if isinstance(value, int) and value > largest:
            raise ValueError(
                f"{run_dir / SETTINGS_FILE}: {key}: {value}, but no stored weight is larger than {largest}; copy the "
                "run directory whole"
            )
