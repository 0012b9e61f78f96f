"""New items from a data folder: those of its feature files that a trained catalogue does not have."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from recbole_mgr.data.features import feature_path, read_feature_file
from recbole_mgr.data.item_file import read_all_item_texts, read_item_texts
from recbole_mgr.encoding.description import refuse_other_encoder
from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.messages import NewItems


def add_items_of_folder(recommender: BaseRecommender, folder: Path) -> NewItems:
    """Let the new items of a folder in, see :meth:`Recommender.add_items`.

    Args:
        recommender: the trained run.
        folder: ``<name>/`` with feature files ``<name>.<modality>`` (or ``.npy`` + ``.ids``) and, for titles,
            ``<name>.item``, written as the data of the run; items of the catalogue may be among them. Items of
            ``<name>.item`` without any vector are left out.

    Raises:
        ValueError: If there is no feature file of the run's modalities, or one is malformed or was made by another
            encoder than the catalogue's.
    """
    name = folder.name
    modalities = [modality for modality in recommender.modalities if feature_path(folder, name, modality)]
    if recommender.modalities and not modalities:
        raise ValueError(
            f"--new-items {folder}: no file {name}.<modality> or {name}.<modality>.npy for any modality of the run: "
            f"{', '.join(recommender.modalities)}; encode the new items as the catalogue's were"
        )
    for modality in modalities:
        refuse_other_encoder(recommender.run_dir, folder, name, modality)
    files = {modality: read_feature_file(folder, name, modality, recommender.format) for modality in modalities}
    known = set(recommender.item_ids)
    items = folder / f"{name}.item"
    named = [file.item_tokens for file in files.values()]
    if items.is_file():
        named.append(read_all_item_texts(items, recommender.format).tokens)
    tokens = [token for token in dict.fromkeys(itertools.chain(*named)) if token not in known]
    features = {}
    for modality, file in files.items():
        row_of = {token: row for row, token in enumerate(file.item_tokens)}
        rows = np.array([row_of.get(token, -1) for token in tokens], dtype=np.int64)  # [n]
        features[modality] = np.full((len(tokens), file.vectors.shape[1]), np.nan, dtype=file.vectors.dtype)
        features[modality][rows >= 0] = file.vectors[rows[rows >= 0]]
    titles = [text.title for text in read_item_texts(items, tokens, recommender.format)]
    return recommender.add_items(tokens, features, titles=titles)
