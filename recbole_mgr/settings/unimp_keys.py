"""Keys of UniMP: those of ``properties/model/UniMP.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BeforeValidator, ConfigDict

from recbole_mgr.settings.model_keys import GenerativeRecommender, Probability
from recbole_mgr.settings.schema import Keys, key
from recbole_mgr.settings.values import Count, Name, Number, Positive, Switch, Whole

# the command line reads the word none as None
NoneIsAWord = BeforeValidator(lambda value: "none" if value is None else value)


class LoraOptions(Keys):
    """The common ones of peft's; peft itself refuses others that it does not know."""

    model_config = ConfigDict(extra="allow")

    r: Count = key("Rank of the adapters")
    lora_alpha: Positive = key("Scale of the adapters")
    lora_dropout: Probability = key("Dropout of the adapters")
    target_modules: str | list[str] | None = key("Layers that get one")


class UniMP(GenerativeRecommender):
    # Tasks
    tasks: Annotated[list[str] | str, Any] = key('All, or e.g. "rec,search"')
    task_sampling: Literal["proportional", "uniform", "staged"] = key(
        "Rows of an epoch: proportional, uniform (equally many) or staged (the paper's curriculum)"
    )
    epoch_rows: Count | None = key("Most rows of a task in an epoch, drawn anew each time; None = all")
    task_weights: dict[Name, Positive] = key("Weights of tasks' losses; others: recommendation 2, else 1")
    task_cases: Count | None = key("Most test cases of a task that RecBole does not evaluate; None = all")
    context_targets: Switch = key("Context reconstruction: the history's answers are targets too")
    focal_gamma: Annotated[Number, Ge(0)] = key("Token-level re-weighting (1 - p)^gamma; 0 switches it off")
    user_split: Literal["leave_one_out", "by_user"] = key(
        "leave_one_out (as the other models) or by_user (the paper's: unseen users, 80/10/10)"
    )

    # Prompts
    history_items: Count = key("Most items of history in a prompt")
    ask_after: Literal["every", "last"] = key(
        "Ask for the next item after every item of a row (ours) or the last one (the paper's)"
    )
    text_fields: dict[Name, Count] = key("Columns of .item, in this order, and the most tokens of each")
    category_field: Name = key("Column of .item that says an item's category; queries are made of it")
    image_features: Name | None = key("Modality whose vectors, [n, dim] or [n, patches, dim], are the pictures")
    image_attention: Annotated[Literal["own", "all_previous", "none"], NoneIsAWord] = key(
        "An item's text sees its own picture, all_previous ones, or none (no pictures)"
    )
    wrong_pictures: Annotated[Number, Ge(0), Le(1)] = key(
        "Share of items that show another item's picture, to see what such noise costs"
    )
    wrong_words: Annotated[Number, Ge(0), Le(1)] = key("Share of items that have another item's attributes, likewise")
    closing_sees: Literal["all", "last"] = key(
        "The question sees all pictures of the history, or the last one (the reference code)"
    )
    item_ids: Literal["semantic", "atomic"] = key("semantic IDs, or atomic: one token per item (the paper's)")
    max_tokens: Annotated[int, Ge(16)] = key("Most tokens of a row; longer ones lose their oldest items")
    search_title_words: Whole = key("Words of the target's title that a query has beside its category")
    query_words: Switch = key("Search starts from how well an item's words match the query (ours)")
    rating_bias: Switch = key("Ratings start from the biases of user and item, which the network corrects (ours)")
    selection_candidates: Annotated[int, Ge(3)] = key("Candidates to choose from")
    selection_by: Literal["likelihood", "marks"] | None = key(
        "likelihood (of IDs; ours) or marks (the paper's); None: likelihood beside recommendation"
    )
    explanation_words: Count = key("Most words of a review that are learned and generated")
    bert_score: Name | None = key("Folder of an encoder that scores explanations by meaning; None leaves it out")
    picture_size: Annotated[int, Ge(8)] = key("Side of generated pictures in pixels")
    picture_code_count: Annotated[int, Ge(2)] = key("Codes of the picture codec")
    picture_codec: Name | None = key("Folder of a trained codec; None trains one on the data set's pictures")

    # Network
    backbone: Literal["prompt"] = key("prompt, the only one")
    language_model: Name | None = key("Pretrained causal LM: folder, .gguf file or hub name; None makes a small one")
    lm_weights: Literal["pretrained", "random"] = key(
        "pretrained, or random: its make and size without what it has learned, as a control"
    )
    lm_layers: Count | None = key("Its first layers that are kept; None = all")
    lm_training: Literal["frozen", "lora", "full"] = key("frozen, lora or full; new tokens are always trained")
    lora_options: LoraOptions | None = key("Arguments of peft's LoraConfig, e.g. {r: 8, lora_alpha: 16}")
    # 256 bytes, the marks, and some words
    bpe_vocabulary: Annotated[int, Ge(300)] = key("Tokens of the tokenizer that is trained on the data set's texts")
    cross_attention_every: Count = key("Gated cross-attention before every n-th layer")
    gate_start: Annotated[Number, Ge(0)] | None = key(
        "Start of its gates (the paper: 0); None: 0 with a pretrained LM, else 0.3"
    )
    visual_latents: Count = key("Visual tokens of a picture after the resampler")
    resampler_layers: Count = key("Layers of the resampler")
    n_layers: Count = key("Layers of the language model made here")
    inner_size: Count = key("Its feed-forward width")
    n_heads: Count = key("Its attention heads, and those of the cross-attention")
    hidden_dropout_prob: Probability = key("Its dropout")
    attn_dropout_prob: Probability = key(
        "Dropout of its attention and of the cross-attention; above 0 is slower on a CPU"
    )

    # Training
    initial_run: Name | None = key("Run directory of another data set's UniMP to go on from: network, codes, words")
    max_batch_tokens: Count | None = key("Bounds the rows of a step to max_batch_tokens / max_tokens; None does not")
    train_batch_size: Count = key("Rows per step")
    lr_scheduler: Literal["constant", "cosine", "linear"] = key("constant, cosine or linear")
    epochs: Count = key("Passes over the tasks' rows")
    warmup_epochs: Whole = key("Epochs of linear warm-up")
    fsdp: Switch = key("Several processes keep a part of the network each, for one larger than a GPU (PyTorch's FSDP2)")
    valid_users: Count | None = key("Users that steer early stopping; None = all")
    beam_size: Count = key("W, at least the largest topk")
