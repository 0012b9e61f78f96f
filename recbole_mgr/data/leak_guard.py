"""The guard against leaks: vectors learned from interactions serve only the split that they were learned on.

Whoever splits the same interactions otherwise (another filter, other items dropped, newer data) tests on items that the
vectors may have been trained on. So the file ``<name>.<modality>.yaml`` of such vectors says which interactions and
which targets were kept from them, and a run that reads the vectors must keep the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.data.semantic_id_file import coded_modalities, is_json
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import content_digest

TRAINED_ON = "interactions"  # what ``trained_on`` says in the .yaml of such vectors


def describe_split(dataset: Any, valid: Any, test: Any) -> dict[str, str]:
    """What identifies a split, as plain data.

    Args:
        dataset: RecBole data set.
        valid, test: its parts after ``build()``.

    Returns:
        ``interactions``: SHA-256 of the ``.inter`` file; ``held_out``: SHA-256 of all users with their validation and
        test items.
    """
    interactions = content_digest(Path(dataset.config["data_path"]) / f"{dataset.dataset_name}.inter")
    held_out = hashlib.sha256()
    for part in (valid, test):
        users, items = (
            part.field2id_token[field][part.inter_feat[field].numpy()] for field in (part.uid_field, part.iid_field)
        )
        held_out.update("\n".join(sorted(f"{user}\t{item}" for user, item in zip(users, items, strict=True))).encode())
        held_out.update(b"\n\n")
    return {"interactions": interactions, "held_out": held_out.hexdigest()}


def refuse_leaking_vectors(dataset: Any, valid: Any, test: Any) -> None:
    """Refuse modalities whose vectors were learned from interactions under another split than this run's.

    Args:
        dataset: a generative data set; its setting ``modalities`` names the feature files.
        valid, test: its parts after ``build()``.

    Raises:
        ValueError: Naming the modality's .yaml, what differs and the remedy; also if that file is no readable YAML.
    """
    name = dataset.dataset_name
    modalities, semantic_ids = dataset.config["modalities"], dataset.config["semantic_ids"]
    supplied = []
    if semantic_ids:
        path = Path(semantic_ids)
        supplied = modalities if is_json(path) else coded_modalities(path, modalities)  # JSON has all there are
    ours = None
    for modality in modalities:
        if modality in supplied:  # its vectors are not read
            continue
        path = Path(dataset.config["data_path"]) / f"{name}.{modality}.yaml"
        theirs = read_description(path)
        if theirs.get("trained_on") != TRAINED_ON:
            continue
        ours = ours or describe_split(dataset, valid, test)
        for key, what in (
            ("interactions", f"the content of {name}.inter"),
            ("held_out", "the users' validation and test items (eval_args, filters, dropped items, kind of model)"),
        ):
            if theirs.get(key) != ours[key]:
                raise ValueError(
                    f"{path}: the vectors of {modality!r} were trained on interactions, and this run differs from "
                    f"that training in {what}: they may know what this run tests on. Make them again with this run's "
                    f"filters: recbole-mgr collaborative {as_arguments(path.parent, name)} --modality {modality}"
                )


def read_description(path: Path) -> dict[str, Any]:
    """Content of a feature file's ``.yaml``; empty where there is none.

    Raises:
        ValueError: If it is no readable YAML mapping.
    """
    if not path.is_file():
        return {}
    return read_yaml(path, remedy="restore the file or make the vectors again")
