"""The files that make a run directory portable. None of them is a pickle, and reading them runs nothing.

    run.yaml                    what this is: model, data, provenance, fingerprint of the semantic IDs, versions
    settings.yaml               all settings of the run (written when it started)
    best.semantic_ids.tsv/.yaml the semantic IDs (written with the first checkpoint)
    model.safetensors           the weights that validated best
    quantizers.npz              what gives new items their semantic IDs; absent where the user brought the IDs
    items.tsv                   title and picture name of each item
    histories.npz               what each user took; absent with ``keep_histories: False``
    unimp/                      UniMP alone: what its prompts say and show of the items, and its tokenizer
    unimp/opinions.npz          ratings and reviews of what stands in histories.npz; absent without it or them

``best.pth`` and ``progress.pth`` beside them serve RecBole's evaluation and resume; nothing here reads them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemText, read_all_item_texts, write_item_texts
from recbole_mgr.data.provenance import Provenance
from recbole_mgr.files import read_yaml, replacing, write_text
from recbole_mgr.integration.config import model_properties
from recbole_mgr.integration.dataset import semantic_id_settings
from recbole_mgr.integration.environment import environment
from recbole_mgr.integration.registry import MODELS, model_class
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer

T = TypeVar("T")

FORMAT = 1  # raise it when an older reader could not read the folder
ABOUT_FILE, SETTINGS_FILE, TABLE_FILE = "run.yaml", "settings.yaml", "best.semantic_ids.tsv"
WEIGHTS_FILE, QUANTIZERS_FILE = "model.safetensors", "quantizers.npz"
ITEMS_FILE, HISTORIES_FILE = "items.tsv", "histories.npz"
OPINIONS_FILE = "unimp/opinions.npz"  # which the model itself writes and reads, see PersonalData


class Run(NamedTuple):
    """A trained run, read from its folder."""

    about: dict[str, Any]
    settings: dict[str, Any]
    network: GenerativeRecommender  # on the CPU, in eval mode
    item_texts: list[ItemText]  # in the order of the network's table
    tokenizer: ItemTokenizer | None
    histories: UserHistories | None


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
    item_texts: list[ItemText],
    histories: UserHistories | None,
    provenance: Provenance,
) -> None:
    """Complete a run directory that training has left, so that `read_run` needs nothing but it.

    Args:
        run_dir: holds ``settings.yaml`` and the table of semantic IDs already.
        network: with the weights to keep.
        tokenizer: for items to come; None where the semantic IDs were brought.
        item_texts: in the order of the table.
        histories: of the data set's interactions, what "users by id" will know; None keeps nothing of any user.
        provenance: of the data.
    """
    table = network.semantic_ids
    with replacing(run_dir / WEIGHTS_FILE) as path:
        save_model(network, str(path), metadata={"semantic_id_fingerprint": table.fingerprint})
        path.chmod((run_dir / TABLE_FILE).stat().st_mode)  # safetensors writes for the owner alone
    if tokenizer is not None:
        with replacing(run_dir / QUANTIZERS_FILE) as path:
            np.savez_compressed(path, **tokenizer.arrays())
    write_item_texts(run_dir / ITEMS_FILE, table.item_tokens, item_texts)
    forget_histories(run_dir)  # an earlier attempt may have kept them
    network.save_companions(run_dir, None if histories is None else histories.interactions)
    if histories is not None:
        histories.save(run_dir / HISTORIES_FILE)
    about = {
        "format": FORMAT,
        "model": type(network).__name__,
        "data": provenance._asdict(),
        "items": table.num_items,
        "users": None if histories is None else len(histories),
        "semantic_id_fingerprint": table.fingerprint,
        "environment": {key: str(value) for key, value in environment(network.device).items()},
    }
    # last: where it stands, the others are complete
    write_text(run_dir / ABOUT_FILE, yaml.safe_dump(about, sort_keys=False, allow_unicode=True))


def forget_histories(run_dir: Path) -> None:
    """Remove what a run directory knows of its users."""
    for name in (HISTORIES_FILE, OPINIONS_FILE):
        (run_dir / name).unlink(missing_ok=True)


def read_run(run_dir: Path) -> Run:
    """Read a run directory.

    Raises:
        ValueError: Naming the file and the remedy: it is no finished run of one of our models, was written by a newer
            version, or its files are damaged or belong to different runs.
    """
    about = _read_yaml(run_dir / ABOUT_FILE)
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{run_dir / ABOUT_FILE}: format {about.get('format')!r}, this version reads {FORMAT}; install the "
            f"recbole_mgr that wrote it ({about.get('environment', {}).get('recbole_mgr', 'unknown')})"
        )
    settings = _read_yaml(run_dir / SETTINGS_FILE)
    if about.get("model") not in MODELS or settings.get("model") != about["model"]:
        raise ValueError(
            f"{run_dir / ABOUT_FILE}: model {about.get('model')!r} is not one of {sorted(MODELS)} or not that of "
            f"{SETTINGS_FILE} ({settings.get('model')!r}); copy the run directory whole"
        )
    class_ = model_class(about["model"])
    settings = {**model_properties(class_), **settings}  # a setting that came later has a default that changes nothing
    _require_file(run_dir / ITEMS_FILE)
    item_texts = read_all_item_texts(run_dir / ITEMS_FILE)
    table = _read_table(run_dir / TABLE_FILE, about, list(item_texts), transitions=class_.has_transitions(settings))
    network = make_network(settings, table, class_.load_companions(run_dir, table))
    _load_weights(network, run_dir / WEIGHTS_FILE)
    return Run(
        about=about,
        settings=settings,
        network=network,
        item_texts=list(item_texts.values()),
        tokenizer=_read_tokenizer(run_dir / QUANTIZERS_FILE, settings, table),
        histories=_read_histories(run_dir / HISTORIES_FILE),
    )


def make_network(settings: dict[str, Any], table: SemanticIdTable, companions: Any = None) -> GenerativeRecommender:
    """An untrained network for a table of semantic IDs, on the CPU, in eval mode.

    Args:
        settings: of the run.
        table: of the catalogue.
        companions: what the model's class loads with ``load_companions``.
    """
    catalogue = _Catalogue(table, {}, companions)
    return model_class(settings["model"])({**settings, "device": "cpu"}, catalogue).eval()


def _read_table(path: Path, about: dict[str, Any], item_tokens: list[str], *, transitions: bool) -> SemanticIdTable:
    _require_file(path)
    table = SemanticIdTable.load(path, item_tokens=item_tokens, transitions=transitions)
    if table.fingerprint != about["semantic_id_fingerprint"]:
        raise ValueError(
            f"{path}: these are not the semantic IDs of {ABOUT_FILE} (fingerprint); copy the run directory whole, "
            "with the .yaml beside the .tsv"
        )
    return table


def _load_weights(network: GenerativeRecommender, path: Path) -> None:
    _require_file(path)
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
    return _read_arrays(path, lambda arrays: ItemTokenizer.from_arrays(arrays, how, sizes=sizes))


def _read_histories(path: Path) -> UserHistories | None:
    return _read_arrays(path, UserHistories.from_arrays) if path.is_file() else None


def _read_arrays(path: Path, use: Callable[[dict[str, np.ndarray]], T]) -> T:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return use(dict(arrays))
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: this file is damaged ({error}); copy the run directory again") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    _require_file(path)
    return read_yaml(path, remedy="copy the run directory again")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist; name the folder of a finished run of {', '.join(MODELS)} "
            "(saved/<data>/<model>/seed-<n>), copied whole"
        )
