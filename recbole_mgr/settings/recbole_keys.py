"""RecBole's own keys that hold for every model, and those of ``properties/overall.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt
from pydantic import BeforeValidator

from recbole_mgr.settings.schema import Keys, key
from recbole_mgr.settings.values import (
    ColumnLists,
    Count,
    Counts,
    DeviceIds,
    Encoding,
    Interval,
    Mode,
    Name,
    Names,
    Number,
    Positive,
    Says,
    Separator,
    Switch,
    Whole,
)

METRICS = (
    "Recall Hit Precision NDCG MRR MAP ItemCoverage AveragePopularity ShannonEntropy GiniIndex TailPercentage "
    "GAUC AUC MAE RMSE LogLoss"
).split()


def _as_recbole_spells(value: Any) -> Any:
    """RecBole reads the names of metrics in any case."""
    spelled = {name.lower(): name for name in METRICS}
    return spelled.get(value.lower(), value) if isinstance(value, str) else value


Metric = Annotated[Literal[tuple(METRICS)], BeforeValidator(_as_recbole_spells)]
Metrics = Annotated[
    list[Metric],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Says(f"a list of RecBole's metrics: {', '.join(METRICS)}", "list of str"),
]
Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Split(Keys):
    LS: Literal["valid_and_test", "valid_only", "test_only"] = key("Leave one out: the last interactions of each user")
    RS: list[Number] = key("Shares of training, validation and test, drawn at random")
    TS: list[Number] = key("Shares of training, validation and test, by time")


class Modes(Keys):
    valid: Mode = key("Of validation")
    test: Mode = key("Of the test")


class EvalArgs(Keys):
    split: Split = key("Last interaction tests, the one before validates")
    group_by: Literal["user", "none"] | None = key("Split within each user")
    order: Literal["TO", "RO"] = key("By time (TO); ties keep the order of the file")
    mode: Mode | Modes = key("full, or uniN / popN: N sampled negatives per target")


class NegativeSampling(Keys):
    distribution: Literal["uniform", "popularity", "none"] | None = key("What negative items are drawn by")
    sample_num: Count | Literal["none"] = key("Negative items of each target")
    alpha: Annotated[Number, Ge(0)] | Literal["none"] = key("Power of the popularity")
    dynamic: Switch = key("Take the candidate that the model scores highest")
    candidate_num: Whole = key("Candidates of dynamic sampling")


class ClipGradNorm(Keys):
    max_norm: Positive = key("Largest norm of all gradients together")
    norm_type: Positive = key("Which norm, 2 by default")
    error_if_nonfinite: Switch = key("Stop at a norm that is no finite number")
    foreach: Switch | None = key("Use the faster implementation")


class Machine(Keys):
    """Machine, files and logging."""

    gpu_id: DeviceIds = key("GPUs that this process sees")
    use_gpu: Switch = key("Use a GPU where there is one")
    num_threads: Count | None = key("CPU threads of torch; None = all cores, at most 8")
    worker: Whole = key("Processes that load batches beside the main one; they draw other negatives than it would")
    seed: Annotated[int, Ge(0), Lt(2**32)] = key("Random seed of the training")
    reproducibility: Switch = key("Use deterministic algorithms")
    state: Annotated[Literal["INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL"], Upper] = key("What is logged")
    show_progress: Switch = key("Draw progress bars")
    data_path: Name = key("Folder that holds <dataset>/<dataset>.inter and the files beside it")
    checkpoint_dir: Name = key("Folder of run directories, checkpoints and cached semantic IDs")
    encoding: Encoding = key("Encoding of the atomic files")
    tracker: Annotated[Literal["tensorboard", "wandb", "mlflow"], Lower] | None = key(
        "Where each run is followed: tensorboard, wandb or mlflow; None = nowhere"
    )
    log_wandb: Switch = key("RecBole's name for tracker: wandb")
    wandb_project: Name = key("Its project there")
    save_dataset: Switch = key("Refused: RecBole keeps data sets as pickles, which can run code")
    save_dataloaders: Switch = key("Refused, as save_dataset")
    dataset_save_path: str | None = key("Refused, as save_dataset")
    dataloaders_save_path: str | None = key("Refused, as save_dataset")
    keep_histories: Switch = key("Keep users' histories in the run directory, for recommendations by user id")


class Training(Keys):
    epochs: Count = key("Most epochs; early stopping usually ends sooner")
    train_batch_size: Count = key("Rows of a training step")
    shuffle: Switch = key("Shuffle the training rows in each epoch")
    learner: Annotated[Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"], Lower] = key("Optimiser")
    learning_rate: Positive = key("Learning rate")
    weight_decay: Annotated[Number, Ge(0)] = key("Weight decay of the optimiser")
    clip_grad_norm: ClipGradNorm | None = key("Arguments of clip_grad_norm_, applied after unscaling under AMP")
    train_neg_sample_args: NegativeSampling | None = key("Negative sampling; None draws none, as losses named CE need")
    eval_step: Whole = key("Epochs between two validations")
    stopping_step: Whole = key("Validations without improvement before stopping")
    loss_decimal_place: Whole = key("Decimals of the logged loss")
    enable_amp: Switch = key("Mixed precision; in bfloat16, but float16 on GPUs without it and with enable_scaler")
    enable_scaler: Switch = key("Scale gradients in mixed precision")
    require_pow: Switch = key("Square the norms in RecBole's loss of embeddings")
    transform: Literal["mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq", "user_defined"] | None = (
        key("RecBole's change of the sequences of a batch")
    )


class Evaluation(Keys):
    eval_args: EvalArgs = key("RecBole's evaluation settings")
    repeatable: Switch = key("Items of the history may be recommended again; sequential models need True")
    valid_users: Count | None = key("Sampled users to validate on; None = all up to 50,000, else 10,000. Tests use all")
    mask_history: Switch = key("Keep seen items out of the ranking on validation; tests report both ways")
    metrics: Metrics = key("RecBole's metrics; with one target per user Recall equals Hit")
    topk: Counts = key("Cut-offs")
    valid_metric: Name = key("What early stopping and the choice of the checkpoint look at")
    valid_metric_bigger: Switch = key("Whether more of it is better, which RecBole knows itself")
    eval_batch_size: Count = key("Rows or users of an evaluation batch")
    metric_decimal_place: Count = key("Decimals kept")
    floors: Switch = key("Rows of a table that learn nothing: popularity, and the own history where items repeat")
    tail_ratio: Annotated[Number, Ge(0), Le(1)] | None = key("Share of items that TailPercentage counts as rare")


class Columns(Keys):
    """Names of columns, and what is read of the files."""

    field_separator: Separator = key("What parts the columns of an atomic file")
    seq_separator: str = key("What parts the words of a sequence")
    USER_ID_FIELD: Name = key("Column of the users")
    ITEM_ID_FIELD: Name = key("Column of the items")
    TIME_FIELD: Name = key("Column of the times")
    RATING_FIELD: Name = key("Column of the ratings")
    LABEL_FIELD: Name = key("Column of labels that RecBole makes")
    NEG_PREFIX: Name = key("What the columns of negative items begin with")
    ITEM_LIST_LENGTH_FIELD: Name = key("Column that RecBole makes for the length of a history")
    LIST_SUFFIX: Name = key("What the columns of histories end with")
    MAX_ITEM_LIST_LENGTH: Count = key("Longest history in items")
    load_col: ColumnLists | None = key("Columns RecBole loads; features stay out of its batches on purpose")
    unload_col: ColumnLists | None = key("Columns it does not load, where load_col names none")
    unused_col: ColumnLists | None = key("Columns that filters read and models do not")
    additional_feat_suffix: Names | None = key("Further files of the data set that RecBole loads")
    seq_len: dict[str, Count] | None = key("Most words of a sequence, by column")
    numerical_features: Names = key("Number columns that context-aware models embed")
    alias_of_user_id: Names | None = key("Columns that hold users too")
    alias_of_item_id: Names | None = key("Columns that hold items too")
    preload_weight: dict[str, str] | None = key("Columns of vectors, by the column of their ids")
    normalize_field: Names | None = key("Number columns to be scaled to 0..1")
    normalize_all: Switch | None = key("Scale all number columns")
    discretization: dict | None = key("How number columns are cut into ranges, by column")
    threshold: dict[str, Number] | None = key("Column and lowest value of a positive label")
    benchmark_filename: Names | None = key("Files of a split made before; a table splits by eval_args instead")


ValueFilters = Annotated[
    dict[str, Interval | list[str | int | float]],
    Says("a dictionary such as {rating: '[4,inf)'}: an interval of a number column, a list of words of others", "dict"),
]


class Filters(Keys):
    rm_dup_inter: Literal["first", "last"] | None = key("Which of a user's interactions with one item is kept")
    val_interval: ValueFilters | None = key("Values that are kept: an interval, or words, by column")
    filter_inter_by_user_or_item: Switch = key("Keep interactions only of users and items that have a row of their own")
    user_inter_num_interval: Interval | None = key("Interactions that a user must have")
    item_inter_num_interval: Interval | None = key("Interactions that an item must have")
    drop_items_without: Names | None = key(
        "Drop items without features in these modalities; set by missing_modality: drop"
    )


class Overall(Machine, Training, Evaluation, Columns, Filters):
    """Keys of every model."""


class KnowledgeGraph(Keys):
    """Keys of RecBole's knowledge-aware models alone."""

    HEAD_ENTITY_ID_FIELD: Name = key("Column of the head entities")
    TAIL_ENTITY_ID_FIELD: Name = key("Column of the tail entities")
    RELATION_ID_FIELD: Name = key("Column of the relations")
    ENTITY_ID_FIELD: Name = key("Column of the entities")
    alias_of_entity_id: Names | None = key("Columns that hold entities too")
    alias_of_relation_id: Names | None = key("Columns that hold relations too")
    kg_reverse_r: Switch = key("Add the reverse of every relation")
    entity_kg_num_interval: Interval | None = key("Triples that an entity must have")
    relation_kg_num_interval: Interval | None = key("Triples that a relation must have")


class Processes(Keys):
    """Keys by which RecBole starts several processes; our command refuses them."""

    nproc: Count = key("Processes on this machine")
    world_size: int = key("Processes on all machines; below 0: those of this one")
    offset: Whole = key("Rank of this machine's first process")
    group_offset: Whole = key("The same, as RecBole's run_recboles names it")
    ip: Name = key("Machine of the first process")
    port: Annotated[int | str, Says("a number", "int")] = key("Its port")
    local_rank: Whole = key("Number of this process on its machine")


# Keys of `Overall` for models that read more than ids and times, sample negatives or have RecBole's own losses.
BEYOND_IDS_AND_TIMES = frozenset(
    "require_pow transform LABEL_FIELD NEG_PREFIX seq_len numerical_features preload_weight normalize_field "
    "normalize_all discretization threshold unused_col".split()
)
