"""Where a product would stand that nobody has trained on: its semantic ID, its neighbours, and who would see it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recbole_mgr.serving.product_encoders import Product
from recbole_mgr.serving.recommender import Recommender

_NEAR = 12


class Seen(NamedTuple):
    """A user in whose list the product stands, and its place there from 1."""

    user: str
    rank: int


class Placement(NamedTuple):
    """Where a product would stand.

    Attributes:
        codes: its semantic ID.
        near: items that share most first codes of each modality with it, and how many they share; the nearest first.
        seen: users whose list it would be in, its best places first.
        asked: how many users' lists were looked at.
    """

    codes: list[int]
    near: list[tuple[str, int]]
    seen: list[Seen]
    asked: int


def place_product(recommender: Recommender, product: Product, *, k: int = 10, most_users: int = 300) -> Placement:
    """Let a product in for oneself: nobody else sees it, and the recommender stays as it is.

    Args:
        recommender: a run whose vectors were made by ``recbole-mgr encode``.
        product: words and picture.
        k: items of a list.
        most_users: users whose lists are looked at, drawn at random and the same each time; none where the run keeps
            no histories.

    Raises:
        ValueError: As `ProductEncoders.vectors` and `Recommender.add_items`.
    """
    vectors = recommender.encoders.vectors(product)
    run = recommender.run
    token = "new product"
    while recommender.knows(token):
        token += "'"
    trial = Recommender(run, run_dir=recommender.run_dir)
    if trial.add_items([token], vectors, titles=[product.words.get("title", "")]).left_out:
        raise ValueError(
            f"the run needs {' and '.join(recommender.modalities)} of each item (missing_modality: drop); "
            f"of this product there is only {' and '.join(vectors)}"
        )
    codes = trial.codes_of(token)
    users = [] if run.histories is None else run.histories.users
    chosen = np.random.default_rng(0).permutation(len(users))[:most_users]
    lists = trial.recommend(users=[users[place] for place in chosen.tolist()], k=k) if len(chosen) else None
    seen = (
        []
        if lists is None
        else [
            Seen(user, items.index(token) + 1)
            for user, items in zip(lists.users, lists.item_ids, strict=True)
            if token in items
        ]
    )
    return Placement(codes, _near(run, codes), sorted(seen, key=lambda one: one.rank), len(chosen))


def _near(run, codes: list[int]) -> list[tuple[str, int]]:
    table = run.network.semantic_ids
    equal = table.codes[1:].numpy() == np.array(codes)  # [N, D]
    shared = sum(
        np.cumprod(equal[:, table.block(modality)], axis=1).sum(axis=1) for modality in table.modalities
    )  # [N]
    order = np.argsort(-shared, kind="stable")[:_NEAR]
    return [(table.item_tokens[row], int(shared[row])) for row in order.tolist() if shared[row]]
