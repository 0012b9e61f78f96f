"""Keys of the models that generate semantic IDs: each class has those of a file in ``properties/model/``.

A key is one line here and one line, with its default, in the property file. ``GROUPS`` in
:mod:`recbole_mgr.settings` names the classes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator

from recbole_mgr.settings.recbole_keys import BEYOND_IDS_AND_TIMES, Overall
from recbole_mgr.settings.schema import Keys, key
from recbole_mgr.settings.values import Count, Names, Number, Positive, Probability, Switch, Whole

Decay = Annotated[Number, Gt(0), Le(1)]
Loss = Literal["infonce", "id_to_id"]
Losses = Annotated[list[Loss], BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [])]


class ResidualKMeansOptions(Keys):
    iterations: Count = key("Most rounds of k-means at each digit")
    sample_size: Count = key("Items that the codebooks are learned from, drawn where there are more")


class RQVAEOptions(Keys):
    hidden_sizes: list[Count] = key("Widths of the encoder's hidden layers")
    latent_size: Count = key("Width of what is quantised")
    beta: Annotated[Number, Ge(0)] = key("Weight of the commitment loss")
    decay: Probability = key("Of the codebooks' moving averages")
    epochs: Count = key("Passes over the items")
    batch_size: Count = key("Most vectors of a step")
    learning_rate: Positive = key("Highest learning rate")
    sample_size: Count = key("Items that are learned from, drawn where there are more")


QUANTIZER_OPTIONS = {"rkmeans": ResidualKMeansOptions, "rqvae": RQVAEOptions}


class MemoryOptions(Keys):
    history_decay: Decay = key("Weight of the next older item of the history")
    history_length: Count = key("Last items of the history that count")
    future_decay: Decay = key("Weight of the next later item to come")
    future_length: Count = key("Items to come that count")
    ridge: Positive = key("Pulls weights to zero")
    content_weight: Annotated[Number, Ge(0)] = key("Pull of the weights to items that are alike by content")
    max_entries: Count | None = key("Weights kept for an item of the history, the largest; None = all")
    dense_items: Count = key("Up to so many items the solve is exact and dense")
    support: Count = key("Beyond: items that the weights for one item may rest on")


class PriorWeights(Keys):
    codes: Number = key("What the beams' scores count")
    item_softmax: Number = key("What the softmax over items counts")
    memory: Number = key("What the memory counts")
    popularity: Number = key("What the popularity counts")
    query_words: Number = key("What the words of a search count (UniMP)")


class GenerativeRecommender(Overall):
    """Keys of every generating model."""

    unread: ClassVar[frozenset[str]] = BEYOND_IDS_AND_TIMES

    preset: Literal["best", "paper"] | None = key(
        "Defaults of properties/preset/: best (ours) or paper (the papers' form)"
    )

    # Items -> semantic IDs
    modalities: Names = key("Feature files <dataset>.<modality> used, in this order")
    missing_modality: Literal["mean", "zero", "drop"] = key(
        "Items without a vector: mean (of the others), zero, or drop (the item)"
    )
    semantic_ids: str | None = key("Your own semantic IDs: path of a .tsv or .json; what it lacks is built")
    item2id: str | None = key("Map of item ids to the keys of semantic_ids, where that is JSON: lines item <TAB> key")
    quantizer: Literal["rkmeans", "rqvae"] = key("rkmeans (residual k-means) or rqvae (TIGER's)")
    quantizer_options: dict = key("More arguments of the quantiser, e.g. {epochs: 100} for rqvae")
    codebook_levels: Count = key("Codes per modality")
    codebook_size: Annotated[int, Ge(2)] | Literal["auto"] = key(
        "Codes per digit K; auto = power of two near 2 sqrt(items), 8..256"
    )
    early_fusion: Literal["concat", "mean", "sum"] = key("How MGREF merges modalities: concat, mean or sum")
    semantic_id_seed: Whole = key("Seed of the quantisers; one table serves all training seeds")

    # Network
    backbone: Literal["hierarchical", "t5"] = key("hierarchical (one position per item; ours) or t5 (the papers')")
    code_softmax: Literal["legal", "full"] = key(
        "Normalise a digit over the codes the trie allows (legal; ours) or all K (full)"
    )
    hidden_size: Count = key("H, a multiple of n_heads for hierarchical")
    n_layers: Count = key("Transformer layers (t5: of the encoder and of the decoder each)")
    n_heads: Count = key("Attention heads")
    inner_size: Count = key("Feed-forward width")
    hidden_dropout_prob: Probability = key("Dropout")
    attn_dropout_prob: Probability = key("Attention dropout of hierarchical")
    branch_size: Whole = key("Size of a vector for each branch of the trie (hierarchical, legal; ours); 0 = none")
    learn_repeats: Switch = key("Learn a score of items that the user has already (hierarchical, legal; ours)")
    t5_head_size: Count = key("Size of a t5 attention head")

    # What the decoder knows beside codes (ours: off in rows that bear a paper's name)
    item_softmax: Switch = key("Learn a softmax over the items beside the codes (hierarchical)")
    item_softmax_weight: Positive = key("Of its loss")
    item_vectors: Switch = key("An item's key has a vector of its own beside the sum of its codes' embeddings")
    item_vector_dropout: Probability = key("Share of the items whose own vector is left out in a training step")
    code_weight: Annotated[Number, Ge(0)] = key("Of the codes' loss; 0 = item_softmax alone, nothing is generated")
    memory: Switch = key("A closed-form memory of which items follow which in the training interactions")
    memory_options: MemoryOptions = key("More of the memory; ours: content_weight 10, max_entries 100")
    memory_floor: Positive = key("Score of items that the memory knows nothing of")
    popularity: Switch = key("How often an item was taken in training")
    ranking: Literal["union", "beams"] = key(
        "With the above: union (beams and their best items, scores added) or beams (pushed down the trie)"
    )
    prior_candidates: Count = key("Best items of each of the above that join the beams (union)")
    prior_weights: Literal["auto"] | PriorWeights = key(
        "What codes, item_softmax, memory, popularity count; auto = chosen on validation (union)"
    )

    # Training
    stopping_step: Whole = key("Evaluations without improvement before stopping")
    train_batch_size: Count = key("Rows per step: users (hierarchical) or prefixes (t5)")
    eval_batch_size: Count | Literal["auto"] = key("Users per batch of the beam search; auto = 256, on a GPU 1024")
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = key("RecBole's optimisers")
    learning_rate: Positive = key("Peak learning rate")
    weight_decay: Annotated[Number, Ge(0)] = key("Weight decay")
    lr_scheduler: Literal["constant", "cosine", "linear"] = key(
        "constant, cosine or linear (decay to 0 over epochs), after the warm-up"
    )
    warmup_epochs: Whole = key("Epochs of linear warm-up")
    window_stride: Count | None = key("Targets per training row of hierarchical; None = MAX_ITEM_LIST_LENGTH")
    loss_type: Literal["CE"] = key("CE; tells RecBole that no negatives are drawn")
    train_neg_sample_args: None = key("Generating models draw no negatives")
    compile: Switch = key(
        "torch.compile the training loss; on a GPU as CUDA graphs, which pay after some hundred steps"
    )

    # Generation
    beam_size: Count = key("W, at least the largest topk; the number of items makes the search exact")
    valid_beam_size: Count = key("W while validating, at least the k of valid_metric; it steers training")


class TIGER(GenerativeRecommender):
    modalities: Names = key("Exactly one")


class MGRLFpp(GenerativeRecommender):
    preset: Literal["best", "paper"] | None = key(
        "best (ours), paper (the papers' form), or None: the model with nothing beside its codes"
    )
    transitions: Switch = key("A transition token between two modalities' codes; False is an ablation")
    alignment_epochs: Whole = key("Passes over all items before recommendation training; 0 switches the stage off")
    alignment_weight: Annotated[Number, Ge(0)] = key(
        "Of the alignment loss during recommendation training (ours); 0 = off"
    )
    alignment_losses: Losses = key("infonce and/or id_to_id, of the stage and beside recommendation training")
    alignment_temperature: Positive = key("Of the InfoNCE similarities")
    alignment_learning_rate: Positive = key("Of the stage's own optimiser")
    alignment_batch_size: Annotated[int, Ge(2)] = key("Items per step")
