"""Keys of our baselines: each class has those of a file in ``properties/model/``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, BeforeValidator

from recbole_mgr.settings.recbole_keys import BEYOND_IDS_AND_TIMES, Overall, Training
from recbole_mgr.settings.schema import key
from recbole_mgr.settings.values import Count, Names, Number, Positive, Probability, Switch, Whole


def _different(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("a value stands twice")
    return values


Decay = Annotated[Number, Gt(0), Le(1)]
Weight = Annotated[Number, Ge(0)]
SomeOrNone = Annotated[Names, AfterValidator(_different), BeforeValidator(lambda value: value or [])]


class ClosedFormRecommender(Overall):
    """Keys of every closed-form baseline."""

    unread: ClassVar[frozenset[str]] = BEYOND_IDS_AND_TIMES | Training.model_fields.keys()

    refit_on_validation: Switch = key(
        "Fit once more, after the choice, on training and validation interactions; a row of its own"
    )
    loss_type: Literal["CE"] = key("CE; tells RecBole that no negatives are drawn")
    train_neg_sample_args: None = key("Nothing is trained on negatives")
    train_batch_size: Count = key("Means nothing here; RecBole wants one")
    eval_batch_size: Count = key("Users scored at once")


class ItemMemory(ClosedFormRecommender):
    # What is alike
    modalities: SomeOrNone = key("Feature files <dataset>.<modality> that say which items are alike; [] = none")
    semantic_ids: str | None = key("User-supplied codes of modalities, compared by their common beginning")
    content_weight: Weight | Annotated[list[Weight], MinLen(1)] = key(
        "Pull of the weights to items that are alike; needs modalities"
    )
    neighbours: Count = key("Items that one is alike to")

    # What follows what
    history_decay: Decay | Annotated[list[Decay], MinLen(1)] = key("Weight of the next older item of the history")
    history_length: Count = key("Last items of the history that count")
    future_decay: Decay | Annotated[list[Decay], MinLen(1)] = key("Weight of the next later item to come")
    future_length: Count = key("Items to come that count")
    ridge: Positive | Annotated[list[Positive], MinLen(1)] = key("Pulls weights to zero")

    # The solve
    max_entries: Count | None = key("Weights kept for an item of the history, the largest; None = all")
    dense_items: Count = key("Up to so many items the solve is exact and dense")
    support: Count = key("Beyond: items that the weights for one item may rest on")
    precision: Literal["float32", "float64"] = key("Of the dense solve")


class TGH(ClosedFormRecommender):
    modalities: SomeOrNone = key("Feature files <dataset>.<modality> whose likeness ranks items; [] = none")
    ring_sizes: Annotated[list[Whole], MinLen(1)] = key("Places of the list for items one, two, ... steps away")
    edge_weight: Weight = key("What the count of a transition adds to the likeness")


class SASRecWindows(Overall):
    # Network
    n_layers: Count = key("Transformer layers")
    n_heads: Count = key("Attention heads")
    hidden_size: Count = key("H, a multiple of n_heads")
    inner_size: Count = key("Feed-forward width")
    hidden_dropout_prob: Probability = key("Dropout")
    attn_dropout_prob: Probability = key("Attention dropout")
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = key("Activation function")
    layer_norm_eps: Positive = key("Added to the variance in layer normalisation")
    initializer_range: Positive = key("Standard deviation of the first weights")

    # Training
    loss_type: Literal["CE"] = key("CE: the softmax over all items, without negatives")
    train_neg_sample_args: None = key("The softmax needs no negatives")
    train_batch_size: Count = key("Windows of a training step")
    eval_batch_size: Count = key("Users scored at once")
    window_stride: Count | None = key("Targets per window; None = MAX_ITEM_LIST_LENGTH")
