"""Settings that must be refused, each with a sentence that names the key, the value and what to do."""

import shlex

import pytest

from recbole_mgr.cli.run import parse_model, parse_settings
from recbole_mgr.integration.config import known_keys, make_config, settings_read
from recbole_mgr.integration.registry import MODELS

# model with its own settings, or a model and --key=value, as they are typed; what the error must say
BAD = [
    # the wrong type
    ("TIGER --seed=abc", "seed: 'abc' must be a whole number in"),
    ("BPR --seed=-1", "seed: -1 must be a whole number in"),
    ("BPR --seed=2020.5", "seed: 2020.5 must be"),
    ("MGRLFpp --alignment_epochs=ten", "alignment_epochs: 'ten' must be a whole number >= 0"),
    ("BPR --epochs=ten", "epochs: 'ten' must be a whole number >= 1"),
    ("BPR --epochs=1.5", "epochs: 1.5 must be a whole number >= 1"),
    ("BPR --epochs=[3]", r"epochs: \[3\] must be a whole number >= 1"),
    ("TIGER --learning_rate=fast", "learning_rate: 'fast' must be a number > 0"),
    ("SASRec --learning_rate=0", "learning_rate: 0 must be a number > 0"),
    ("SASRec --train_batch_size=0", "train_batch_size: 0 must be a whole number >= 1"),
    ("SASRec --eval_batch_size=many", "eval_batch_size: 'many' must be a whole number >= 1"),
    ("BPR --stopping_step=-1", "stopping_step: -1 must be a whole number >= 0"),
    ("BPR --weight_decay=-0.1", "weight_decay: -0.1 must be a number >= 0"),
    ("BPR --worker=-2", "worker: -2 must be a whole number >= 0"),
    ("BPR --gpu_id=first", "gpu_id: 'first' must be numbers of GPUs"),
    ("BPR --state=LOUD", "state: 'LOUD' must be one of INFO, DEBUG"),
    ("BPR --learner=lion", "learner: 'lion' must be one of adam, adamw"),
    ("TIGER --learner=sparse_adam", "learner: 'sparse_adam' must be one of"),
    ("BPR --data_path=3", "data_path: 3 must be a name"),
    ("BPR --checkpoint_dir=", "checkpoint_dir: '' must be a name"),
    # yes and no
    ("TIGER --keep_histories=maybe", "keep_histories: 'maybe' must be True or False"),
    ("SASRec --floors=maybe", "floors: 'maybe' must be True or False"),
    ("BPR --mask_history=2", "mask_history: 2 must be True or False"),
    ("BPR --shuffle=sometimes", "shuffle: 'sometimes' must be True or False"),
    ("BPR --use_gpu=cuda", "use_gpu: 'cuda' must be True or False"),
    ("MGRLFpp --transitions=none", "transitions: None must be True or False"),
    ("UniMP:query_words=True,tasks=rec", "query_words: .* tasks: recommendation has no search"),
    ("UniMP:rating_bias=True,tasks=rec", "rating_bias: .* tasks: recommendation has no preference"),
    ("UniMP --bert_score=nowhere", "bert_score: 'nowhere' must be a folder made by save_pretrained"),
    ("UniMP:tasks=rec --picture_codec=properties", "picture_codec: .* tasks: recommendation has no image_generation"),
    ("UniMP:tasks=rec --bert_score=nowhere", "bert_score: .* tasks: recommendation has no explanation"),
    ("UniMP --initial_run=nowhere", "initial_run: 'nowhere' must be a run directory that exists"),
    ("MGRLF --initial_run=.", "initial_run"),
    ("UniMP --fsdp=half", "fsdp: 'half' must be True or False"),
    ("MGRLF --fsdp=True", "fsdp"),
    ("UniMP --query_words=some", "query_words: 'some' must be True or False"),
    ("UniMP:memory=True,tasks=search", "memory: it ranks what is recommended, and tasks: search has no recommendation"),
    ("UniMP --context_targets=all", "context_targets: 'all' must be True or False"),
    ("MGRLF:memory=True,prior_weights={'codes':0,'memory':0}", "prior_weights: .* leaves nothing to rank by; give one"),
    (
        "UniMP:query_words=True,memory=True,prior_weights={'codes':0,'memory':0,'query_words':1}",
        r"prior_weights: .* leaves nothing to rank by; give one of \['codes', 'memory'\] a weight",
    ),
    # evaluation
    ("BPR --topk=0", "topk: 0 must be a list of whole numbers >= 1"),
    ("BPR --topk=ten", "topk: 'ten' must be a list of whole numbers >= 1"),
    ("BPR --topk=[5,2.5]", r"topk: \[5, 2.5\] must be a list of whole numbers >= 1"),
    ("BPR --metrics=NDGC", "metrics: 'NDGC' must be a list of RecBole's metrics: .*did you mean 'NDCG'"),
    ("BPR --metrics=[]", "settings of BPR|metrics"),
    ("BPR --valid_metric=10", "valid_metric: 10 must be a name"),
    (
        "BPR --valid_metric_bigger=no",
        "valid_metric_bigger: False contradicts valid_metric: NDCG, of which more is better",
    ),
    ("BPR --eval_step=0", "eval_step: 0 of 300 epochs validates nothing"),
    ("BPR --eval_step=5 --epochs=3", "eval_step: 5 of 3 epochs validates nothing"),
    ("BPR --tail_ratio=0.1", "tail_ratio: 0.1 means nothing without TailPercentage in metrics"),
    ("BPR --tail_ratio=2", r"tail_ratio: 2 must be None or a number in \[0, 1\]"),
    ("BPR --valid_users=0", "valid_users: 0 must be None or a whole number >= 1"),
    # dictionaries
    ("BPR --eval_args=full", "eval_args: 'full' must be a dictionary of split, group_by, order, mode"),
    ("BPR --eval_args={'splitt':1}", "eval_args has no key 'splitt'; did you mean 'split'"),
    ("TIGER --eval_args={'mode':'all'}", "eval_args: mode: 'all' must be full, labeled, or uniN or popN"),
    ("TIGER --eval_args={'mode':{'valid':'all'}}", "eval_args: mode: valid: 'all' must be full, labeled, or uniN"),
    ("TIGER --eval_args={'mode':{'tests':'full'}}", "eval_args: mode has no key 'tests'; did you mean 'test'"),
    ("TIGER --eval_args={'mode':5}", "eval_args: mode: 5 must be full, labeled, .* or a dictionary of valid, test"),
    ("BPR --eval_args={'order':'random'}", "eval_args: order: 'random' must be one of TO, RO"),
    ("BPR --eval_args={'group_by':'item'}", "eval_args: group_by: 'item' must be None or one of user, none"),
    ("BPR --eval_args={'group_by':'none'}", "eval_args: .* group_by none.* use .* group_by user"),
    ("BPR --eval_args={'split':{'LOO':1}}", "eval_args: split has no key 'LOO'; it has LS, RS, TS"),
    ("BPR --eval_args={'split':{'LS':'last'}}", "eval_args: split: LS: 'last' must be one of valid_and_test"),
    ("BPR --train_neg_sample_args={'sample_num':0}", "train_neg_sample_args: sample_num: 0 must be"),
    ("BPR --train_neg_sample_args={'distribution':'normal'}", "train_neg_sample_args: distribution: 'normal' must be"),
    (
        "BPR --train_neg_sample_args={'dynamic':True}",
        "dynamic: True and candidate_num: 0 go together",
    ),
    ("BPR --train_neg_sample_args={'candidate_num':3}", "dynamic: False and candidate_num: 3 go together"),
    ("BPR --train_neg_sample_args={'number':3}", "train_neg_sample_args has no key 'number'"),
    ("TIGER --memory_options={'ridge':0}", "memory_options: ridge: 0 must be a number > 0"),
    ("TIGER --memory_options={'rigde':1}", "memory_options has no key 'rigde'; did you mean 'ridge'"),
    (
        "TIGER --prior_weights=aut",
        "prior_weights: 'aut' must be auto or a dictionary of .* did you mean 'auto'",
    ),
    ("TIGER --prior_weights={'memory':'high'}", "prior_weights: memory: 'high' must be a number"),
    ("TIGER --clip_grad_norm={'max':1}", "clip_grad_norm has no key 'max'"),
    ("TIGER --clip_grad_norm={'max_norm':0}", "clip_grad_norm: max_norm: 0 must be a number > 0"),
    ("TIGER --quantizer_options={'epochs':5}", "quantizer_options has no key 'epochs'; it has iterations, sample_size"),
    ("TIGER:quantizer=rqvae,quantizer_options={'decay':1}", "quantizer_options: decay: 1 must be a number in"),
    ("TIGER --quantizer_options=fast", "quantizer_options: 'fast' must be a dictionary"),
    ("UniMP --text_fields={}", "text_fields: {} must be at least one column"),
    ("UniMP --text_fields={'title':0}", "text_fields: {'title': 0} must be a dictionary of whole numbers >= 1"),
    ("UniMP --task_weights={'search':0}", "task_weights: {'search': 0} must be a dictionary of numbers > 0"),
    ("UniMP --task_weights={'dance':1}", "task_weights: {'dance': 1} must be weights > 0 by task name"),
    ("UniMP --lora_options={'r':0}", "lora_options: r: 0 must be a whole number >= 1"),
    ("UniMP --lora_options={'lora_dropout':1}", "lora_options: lora_dropout: 1 must be a number in"),
    ("UniMP --language_model=3", "language_model: 3 must be None or a name"),
    # data
    ("BPR --user_inter_num_interval=abc", "user_inter_num_interval: 'abc' must be None or an interval such as"),
    ("BPR --user_inter_num_interval=9", "user_inter_num_interval: 9 must be None or an interval such as"),
    ("TIGER --item_inter_num_interval=[9,5]", "item_inter_num_interval: .* must be None or an interval"),
    ("TIGER --val_interval={'rating':'4'}", "val_interval: .* must be None or a dictionary such as"),
    ("BPR --rm_dup_inter=newest", "rm_dup_inter: 'newest' must be None or one of first, last"),
    ("BPR --encoding=utf-99", "encoding: 'utf-99' must be an encoding that Python knows"),
    ("BPR --field_separator=,;", "field_separator: ',;' must be one character, such as a tab"),
    ("BPR --ITEM_ID_FIELD=user_id", r"USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD name \['user_id', 'user_id'"),
    ("BPR --log_wandb=True", "log_wandb: True needs the package wandb"),
    ("BPR --tracker=notebook", "tracker: 'notebook' must be None or one of tensorboard, wandb, mlflow"),
    ("TIGER --tracker=wandb", "tracker: wandb needs the package wandb, which is not installed; pip install wandb"),
    ("TIGER --tracker=mlflow --log_wandb=True", "log_wandb: True and tracker: mlflow contradict each other"),
    ("BPR --load_col={'inter':['user_id','item_id']}", "load_col: .* needs timestamp in inter"),
    ("BPR --load_col=user_id", "load_col: 'user_id' must be None or a dictionary of lists of columns"),
    ("BPR --benchmark_filename=['a','b']", "benchmark_filename: .* leave it out"),
    ("BPR --save_dataset=yes", "save_dataset=True: RecBole keeps data sets as pickles"),
    # one process
    (
        "BPR --nproc=2",
        "nproc: means nothing to model BPR: processes are started by torchrun, or by --nproc .*; leave it out",
    ),
    ("TIGER --world_size=4", "world_size: means nothing to model TIGER: processes are started by torchrun"),
    ("TIGER --local_rank=1", "local_rank: means nothing to model TIGER"),
    # what would be ignored
    ("TIGER --POSITION_FIELD=place", "POSITION_FIELD: means nothing to model TIGER: RecBole reads it nowhere"),
    ("BPR --config_file=a.yaml", "config_file: means nothing to model BPR: .* --config_files"),
    ("TIGER --threshold={'rating':4}", "threshold: means nothing to model TIGER"),
    ("TIGER --transform=mask_itemseq", "transform: means nothing to model TIGER"),
    ("MGREF --require_pow=True", "require_pow: means nothing to model MGREF"),
    ("ItemMemory:epochs=5", "epochs: means nothing to model ItemMemory: it changes nothing there; leave it out"),
    ("Popularity:learning_rate=0.1", "learning_rate: means nothing to model Popularity"),
    ("HistoryAgain:stopping_step=3", "stopping_step: means nothing to model HistoryAgain"),
    ("TGH:train_batch_size=64", "train_batch_size: means nothing to model TGH"),
    ("TGH:transform=mask_itemseq", "transform: means nothing to model TGH"),
    ("TIGER --reg_weight=0.1", "unknown setting 'reg_weight' for model TIGER"),
    ("BPR --kg_reverse_r=True", "kg_reverse_r: means nothing to model BPR: only RecBole's knowledge-aware models"),
    ("BPR --beam_size=50", "unknown setting 'beam_size' for model BPR"),
    # the generating models
    ("TIGER --codebook_size=1", "codebook_size: 1 must be a whole number >= 2 or auto"),
    ("TIGER --codebook_size=automatic", "codebook_size: 'automatic' must be a whole number >= 2 or auto"),
    ("TIGER --codebook_levels=0", "codebook_levels: 0 must be a whole number >= 1"),
    ("TIGER --quantizer=rqva", "quantizer: 'rqva' must be one of rkmeans, rqvae; did you mean 'rqvae'"),
    ("MGREF --early_fusion=max", "early_fusion: 'max' must be one of concat, mean, sum"),
    ("MGRLF --early_fusion=mean", "unknown setting 'early_fusion' for model MGRLF"),
    ("TIGER --missing_modality=skip", "missing_modality: 'skip' must be one of mean, zero, drop"),
    ("TIGER --modalities=3", r"modalities: 3 must be a list of names"),
    ("TIGER --branch_size=-8", "branch_size: -8 must be a whole number >= 0"),
    ("MGRLFpp --item_vector_dropout=1", r"item_vector_dropout: 1 must be a number in \[0, 1\)"),
    (
        "MGRLFpp --item_vector_dropout=0.3 --item_vectors=False",
        "item_vector_dropout: 0.3 leaves out vectors that there are not; set item_softmax and item_vectors to True",
    ),
    ("TIGER --hidden_dropout_prob=1", r"hidden_dropout_prob: 1 must be a number in \[0, 1\)"),
    ("TIGER --code_softmax=half", "code_softmax: 'half' must be one of legal, full"),
    ("MGRLFpp --alignment_temperature=0", "alignment_temperature: 0 must be a number > 0"),
    ("MGRLFpp --alignment_losses=mse", "alignment_losses: 'mse' must be a list of names among infonce, id_to_id"),
    ("UniMP --image_attention=all", "image_attention: 'all' must be one of own, all_previous, none"),
    ("UniMP --bpe_vocabulary=100", "bpe_vocabulary: 100 must be a whole number >= 300"),
    ("UniMP --gate_start=-1", "gate_start: -1 must be None or a number >= 0"),
    ("UniMP --tasks=rec+dance", "tasks: .*dance.* must name one or more of recommendation"),
    # RecBole's own models
    ("BPR:embedding_size=0", "embedding_size: 0 must be a whole number >= 1"),
    ("BPR:embedding_size=wide", "embedding_size: 'wide' must be a whole number >= 1"),
    ("SASRec:hidden_dropout_prob=1.0", r"hidden_dropout_prob: 1.0 must be a number in \[0, 1\)"),
    ("SASRec:hidden_act=glu", "hidden_act: 'glu' must be one of gelu, relu, swish, tanh, sigmoid; did you mean 'gelu'"),
    ("SASRec:loss_type=MSE", "loss_type: 'MSE' must be one of BPR, CE"),
    ("SASRec:n_heads=0", "n_heads: 0 must be a whole number >= 1"),
    ("LightGCN:n_layers=two", "n_layers: 'two' must be a whole number >= 0"),
    ("LightGCN:reg_weight=-1", "reg_weight: -1 must be a number >= 0"),
    ("GRU4Rec:num_layers=0", "num_layers: 0 must be a whole number >= 1"),
    ("Pop:epochs=5", "epochs: means nothing to model Pop: it changes nothing there; leave it out"),
    ("ItemKNN:k=0", "k: 0 must be a whole number >= 1"),
    ("ItemKNN:knn_method=both", "knn_method: 'both' must be one of item, user"),
    ("NeuMF:mlp_hidden_size=[128,0]", r"mlp_hidden_size: \[128, 0\] must be a list of whole numbers >= 1"),
    ("MultiVAE:anneal_cap=2", r"anneal_cap: 2 must be a number in \[0, 1\]"),
    ("SGL:type=XX", "type: 'XX' must be one of ED, ND, RW"),
    ("NARM:dropout_probs=[0.1,1.5]", r"dropout_probs: \[0.1, 1.5\] must be a list of numbers in \[0, 1\)"),
]


def as_typed(line: str):
    request, *shared = line.split(" ")
    request = parse_model(request)
    return make_config(request.name, "tiny", [], {**parse_settings(shared), **request.settings})


@pytest.mark.parametrize(("line", "sentence"), BAD, ids=[line for line, _ in BAD])
def test_bad_settings_are_refused_by_name(line, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_typed(line)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("TIGER --keep_histories=no", "keep_histories", False),
        ("TIGER --keep_histories=0", "keep_histories", False),
        ("TIGER --mask_history=no", "mask_history", False),
        ("BPR --mask_history=off", "mask_history", False),
        ("BPR --mask_history=yes", "mask_history", True),
        ("BPR --shuffle=1", "shuffle", True),
        ("MGRLFpp --transitions=off", "transitions", False),
        ("BPR --topk=5,10", "topk", [5, 10]),
        ("BPR --metrics=ndcg", "metrics", ["NDCG"]),
        ("BPR --state=error", "state", "ERROR"),
        ("BPR --gpu_id=0,1", "gpu_id", "0,1"),
        ("BPR --user_inter_num_interval=[5,inf)", "user_inter_num_interval", "[5,inf)"),
        ("UniMP --image_attention=none", "image_attention", "none"),
        ("TIGER --field_separator=,", "field_separator", ","),
        ("TIGER --field_separator=\\t", "field_separator", "\t"),
        ("TIGER --use_gpu=no", "gpu_id", ""),
        ("BPR --val_interval={'rating':'[4,inf)'}", "val_interval", {"rating": "[4,inf)"}),
        ("LightGCN:reg_weight=0", "reg_weight", 0),
        ("NeuMF:mlp_hidden_size=(64,32)", "mlp_hidden_size", [64, 32]),
    ],
)
def test_good_settings_mean_what_they_say(line, key, value):
    setting = as_typed(line + (" --valid_metric=NDCG@10" if key in ("topk", "metrics") else ""))[key]
    assert setting == value
    assert type(setting) is type(value)


@pytest.mark.parametrize("words", [{"keep_histories": "no"}, {"keep_histories": 0}, {"mask_history": "off"}])
def test_no_means_no_in_recboles_own_entrance_and_in_files(words, tmp_path):
    from recbole.config import Config

    file = tmp_path / "a.yaml"
    file.write_text("".join(f'{key}: "{value}"\n' for key, value in words.items()))
    for config in (
        Config(model="TIGER", dataset="tiny", config_dict=dict(words)),
        Config(model="TIGER", dataset="tiny", config_file_list=[str(file)]),
        make_config("TIGER", "tiny", [str(file)], {}),
    ):
        assert all(config[key] is False for key in words)


def test_recboles_own_entrance_refuses_what_our_command_refuses():
    from recbole.config import Config

    with pytest.raises(ValueError, match="codebook_size: 1 must be a whole number >= 2 or auto"):
        Config(model="MGRLFpp", dataset="tiny", config_dict={"codebook_size": 1})
    with pytest.raises(ValueError, match="eval_args has no key 'splitt'"):
        Config(model="MGRLFpp", dataset="tiny", config_dict={"eval_args": {"splitt": 1}})
    Config(model="BPR", dataset="tiny", config_dict={"embedding_size": 0})  # RecBole's models stay RecBole's


def test_renamed_columns_are_loaded():
    names = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "article", "TIME_FIELD": "when"}
    for model in ("TIGER", "BPR"):
        assert make_config(model, "tiny", [], names)["load_col"] == {"inter": ["user", "article", "when"]}


def test_settings_of_all_rows_reach_those_that_read_them():
    shared = {"epochs": 5, "learning_rate": 0.1, "topk": [5, 10], "ridge": 2.0, "embedding_size": 8}
    assert settings_read("ItemMemory", shared) == {"topk": [5, 10], "ridge": 2.0}
    assert settings_read("BPR", shared) == {key: shared[key] for key in shared if key != "ridge"}
    assert make_config("ItemMemory", "tiny", [], settings_read("ItemMemory", shared))["epochs"] == 300  # RecBole's


def test_every_key_of_a_model_has_a_meaning_for_somebody():
    for model in [*MODELS, "BPR", "SASRec", "KGAT"]:
        assert {"model", "dataset", "epochs", "topk", "seed"} <= known_keys(model)
    assert "entity_kg_num_interval" in known_keys("KGAT")


@pytest.mark.parametrize(
    ("model", "typed", "example", "value"),
    [
        ("MGRLF", "--quantizer_options={epochs:100}", "{'epochs':100}", {"epochs": 100}),
        ("BPR", "--eval_args={order:TO}", "{'order':'TO'}", {"order": "TO"}),
        ("UniMP", "--lora_options={r:8,lora_alpha:1e1}", "{'r':8,'lora_alpha':1e1}", {"r": 8, "lora_alpha": 10.0}),
        ("BPR", "--val_interval={rating:[4,inf)}", "{'word': 5, 'other word': 'text'}", None),
        ("BPR", "--threshold={$HOME:4}", "{'word': 5, 'other word': 'text'}", None),
    ],
)
def test_a_dictionary_without_quotes_is_told_with_those_that_a_shell_wants(model, typed, example, value):
    with pytest.raises(ValueError) as error:
        as_typed(f"{model} {typed}")
    (line,) = shlex.split(str(error.value).rpartition("with quotes: ")[2])
    key = typed.partition("=")[0]
    assert line == f"{key}={example}"
    if value:
        assert parse_settings([line]) == {key.removeprefix("--"): value}
