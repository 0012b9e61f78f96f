"""Bad inputs of the commands that train and test: run, evaluate, experiment, analyse, collaborative."""

from __future__ import annotations

import numpy as np
from bad_files import (
    DEEP,
    HEADER,
    ITEMS,
    LAUGHS,
    PLAN,
    ROWS,
    Bad,
    Content,
    arrays,
    checkpoint,
    cut,
    damaged,
    filled,
    inter,
    npy,
    packed,
    said,
    with_items,
    without,
)

RUN = "run --model BPR --dataset tiny --data_path={data} --epochs=1 --state=ERROR"
IDS = "run --model TIGER:semantic_ids={ids} --dataset tiny --data_path={{data}} --epochs=1 --state=ERROR"
TRAINING = [
    Bad(f"{RUN} --dataset ../tiny", "data set '../tiny': no name"),
    Bad("run --model BPR --dataset '' --data_path={data}", "data set '': no name"),
    Bad("run --model BPR --dataset /etc --data_path={data}", "/etc & name"),
    Bad("run --model BPR --dataset tinny --data_path={data}", "tinny"),
    Bad("run --model BPR --dataset tiny --data_path=file", "file", {"file": "x"}),
    Bad("run --model '' --dataset tiny --data_path={data}", "--model"),
    Bad("run --model TIGER,BPR --dataset tiny --data_path={data}", "TIGER,BPR"),
    Bad("run --model Tiger --dataset tiny --data_path={data}", "Tiger & TIGER"),
    Bad("run --model os.system --dataset tiny --data_path={data}", "os.system"),
    Bad("run --model TIGER:modalities=txt --dataset tiny --data_path={data}", "txt"),
    Bad("run --model TIGER:modalities=[] --dataset tiny --data_path={data}", "modalities"),
    Bad("run --model TIGER:modalities=text+text --dataset tiny --data_path={data}", "modalities & text"),
    Bad(f"{RUN} --seeds=1.5", "--seeds 1.5"),
    Bad(f"{RUN} --seeds=1,,2", "--seeds 1,,2"),
    Bad(f"{RUN} --seeds=-1", "seed: -1"),
    Bad(f"{RUN} --seeds=99999999999999999999", "seed: 99999999999999999999"),
    Bad(f"{RUN} --seeds=", "--seeds"),
    Bad(f"{RUN} --config_files .", "--config_files & . "),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & not valid YAML", {"x.yaml": b"\xff\xfe\x00"}),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & found a list", {"x.yaml": "- epochs\n- 3\n"}),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & 'epochs' & line 1 & line 2", {"x.yaml": "epochs: 1\nepochs: 2\n"}),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & aliases", {"x.yaml": LAUGHS}),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & nested deeper", {"x.yaml": f"eval_args: {DEEP}"}),
    Bad(f"{RUN} --config_files x.yaml", "x.yaml & the key 3 is no word", {"x.yaml": "3: 4\n"}),
    Bad(
        f"{RUN} --config_files x.yaml",
        "x.yaml & python/object/apply",
        {"x.yaml": "seed: !!python/object/apply:os.stat []"},
    ),
    Bad(f"{RUN} --config_files x.yaml", "seed: datetime.date(2020, 1, 1) must be", {"x.yaml": "seed: 2020-01-01\n"}),
    Bad(f"{RUN} --config_files x.json", "'epohcs' & did you mean 'epochs'", {"x.json": '{"epohcs": 3}'}),
    Bad(f"{RUN} --epochs=nan", "epochs: 'nan'"),
    Bad(f"{RUN} --epochs=1e400", "epochs"),
    Bad(f"{RUN} --learning_rate=nan", "learning_rate: 'nan'"),
    Bad(f"{RUN} --learning_rate=inf", "learning_rate: 'inf'"),
    Bad(f"{RUN} --learning_rate=1e999", "learning_rate"),
    Bad(f"{RUN} --epochs={'9' * 400}", "epochs"),
    Bad(f"{RUN} --topk=[[5]]", "topk"),
    Bad(f"{RUN} --topk=[5,5]", "topk & 5"),
    Bad(f"{RUN} --topk=500 --valid_metric=NDCG@500", "topk: 500 & 24 items"),
    Bad(f"{RUN} --topk={DEEP}", "topk"),
    Bad(f"{RUN} --eval_args={{{{'split':{{{{'RS':[0.8,0.1,0.2]}}}}}}}}", "split & RS"),
    Bad(f"{RUN} --eval_args={{{{'split':{{{{'RS':[1,0,0]}}}}}}}}", "split & RS"),
    Bad(f"{RUN} --metrics=[Recall,GAUC]", "GAUC"),
    Bad(f"{RUN} --valid_metric=Recall@7", "valid_metric & 7"),
    Bad(f"{RUN} --valid_metric=Foo@10", "valid_metric & Foo"),
    Bad(f"{RUN} --MAX_ITEM_LIST_LENGTH=0", "MAX_ITEM_LIST_LENGTH: 0"),
    Bad(f"{RUN} --user_inter_num_interval=[500,inf)", "tiny & filters & user_inter_num_interval"),
    Bad(f"{RUN} --item_inter_num_interval=[500,inf)", "tiny & filters & item_inter_num_interval"),
    Bad(f"{RUN} --val_interval={{{{'rating':'[3,inf)'}}}}", "val_interval & rating"),
    Bad(f"{RUN} --checkpoint_dir=file", "file", {"file": "x"}),
    Bad(f"{RUN} --results file", "file", {"file": "x"}),
    Bad(
        "run --model BPR --dataset bad --data_path=. --epochs=1",
        "bad.provenance.yaml",
        {**inter(HEADER + ROWS), "bad/bad.provenance.yaml": "synthetic: ["},
    ),
    Bad(
        "run --model BPR --dataset bad --data_path=. --epochs=1",
        "bad.provenance.yaml & aliases",
        {**inter(HEADER + ROWS), "bad/bad.provenance.yaml": LAUGHS},
    ),
    Bad(
        "run --model BPR --dataset bad --data_path=. --epochs=1 --topk=5 --valid_metric=NDCG@5",
        "fewer than 3 interactions",
        inter(HEADER + "".join(f"u{n}\ti{n}\t1400000000\n" for n in range(9))),
    ),
    Bad(
        "run --model BPR --dataset bad --data_path=. --epochs=1",
        "topk: 20 & 2 items",
        inter(HEADER + "".join(f"u{n}\ti{n % 2}\t140000000{n}\n" for n in range(9))),
    ),
    Bad(
        "run --model BPR --dataset bad --data_path=. --epochs=1 --topk=5 --valid_metric=NDCG@5",
        "bad.item, line 11 & 'i1'",
        with_items(ITEMS + "i1\tagain\n"),
    ),
    # semantic IDs of users
    Bad(IDS.format(ids="gone.tsv"), "gone.tsv"),
    Bad(IDS.format(ids="."), "semantic_ids"),
    *(
        Bad(IDS.format(ids=name), f"{name} & {says}", {name: content})
        for name, content, says in [
            ("x.tsv", b"", "line 1"),
            ("x.tsv", "item\ttext_codes:token_seq\ni0\t1\n", "line 1 & 'item_id:token'"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ttext_codes:token_seq\ni0\t1\t1\n", "line 1 & twice"),
            ("x.tsv", "item_id:token\tcolour\ni0\tred\n", "line 1 & colour"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\n", "no rows"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\t1 2\ni0\t1 3\n", "line 3 & 'i0' & line 2"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\t1 2\ni1\t1\n", "line 3 & text_codes & 1 codes where 2"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\t1 -2\n", "line 2 & '1 -2'"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\t1 two\n", "line 2 & '1 two'"),
            (
                "x.tsv",
                "item_id:token\ttext_codes:token_seq\ni0\t9999999999999\n",
                "line 2 & 9999999999999",
            ),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\n", "line 2 & 1 columns"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\n\xff\t1\n".encode("latin-1"), "utf-8"),
            ("x.tsv", "item_id:token\ttext_codes:token_seq\ni0\t1 2\n", "i1"),
            ("x.tsv", bytes(1000), "x.tsv"),
            ("x.json", "", "line 1 & JSON"),
            ("x.json", "[1, 2]", "list"),
            ("x.json", '{"i0": ["<a_1>"]', "JSON"),
            ("x.json", '{"i0": ["<a_1>"], "i0": ["<a_2>"]}', "'i0' & twice"),
            ("x.json", '{"i0": "<a_1>"}', "'i0'"),
            ("x.json", '{"i0": [true]}', "'i0'"),
            ("x.json", '{"i0": [-1]}', "'i0'"),
            ("x.json", f'{{"i0": {DEEP}}}', "x.json"),
            ("x.json", "[" * 100_000, "x.json"),
            ("x.json", '{"0": ["<a_1>"]}', "item2id"),
        ]
    ),
]


EVALUATING = [
    Bad("evaluate", "required: run_dir"),
    Bad("evaluate gone", "gone & finished run"),
    Bad("evaluate {data}/tiny", "tiny & finished run"),
    Bad("evaluate {run} --epochs=9", "--epochs: 9 & learned"),
    Bad("evaluate {run} --hidden_size=64", "--hidden_size: 64 & learned"),
    Bad("evaluate {run} --beem_size=9", "'beem_size' & 'beam_size'"),
    Bad("evaluate {run} --topk=0", "topk: 0"),
    Bad("evaluate {run} --topk=500", "topk & 500"),
    Bad("evaluate {run} --topk", "--topk needs a value"),
    Bad("evaluate {run} --beam_size=0", "beam_size: 0"),
    Bad("evaluate {run} --metrics=Foo", "metrics: 'Foo'"),
    Bad("evaluate {run} --data_path=gone", "gone"),
    Bad("evaluate {run} --dataset=other", "dataset"),
    Bad("evaluate {run} {run}", "twice"),
    Bad("evaluate --topk=5 {run}", "run_dir"),
    *(
        Bad("evaluate copy", says, damaged("run", change))
        for change, says in [
            (without("best.pth"), "best.pth"),
            (without("settings.yaml"), "settings.yaml"),
            (cut("best.pth"), "best.pth"),
            (filled("best.pth", b""), "best.pth"),
            (cut("settings.yaml", 0), "settings.yaml"),
            (filled("settings.yaml", LAUGHS), "settings.yaml & aliases"),
            (filled("settings.yaml", "a: 1\n"), "settings.yaml"),
            (filled("settings.yaml", "model: TIGER\ndataset: ../x\ndata_path: /y\n"), "../x"),
            (said("settings.yaml", "dataset: tiny", "dataset: [tiny]"), "dataset"),
        ]
    ),
    *(
        Bad("evaluate copy", "best.pth", damaged("run", checkpoint(content), digests=False))
        for content in ([1, 2], {}, {"state_dict": {}}, {"state_dict": [1], "config": {}})
    ),
]


def plan(text: str) -> dict[str, Content]:
    """An experiment's file."""
    return {"x.yaml": text}


EXPERIMENTING = [
    Bad("experiment", "required: experiment"),
    Bad("experiment --seeds 1,2 instruments", "required: experiment, before the options"),
    Bad("experiment gone", "gone & instruments"),
    Bad("experiment gone.yaml", "gone.yaml does not exist"),
    Bad("experiment ../x", "../x"),
    Bad("experiment .", "experiment ."),
    Bad("experiment x.yaml --data_path=nowhere", "nowhere", plan(PLAN)),
    *(
        Bad("experiment x.yaml --data_path={data}", f"x.yaml & {says}", plan(text))
        for text, says in [
            ("", "'title' is missing|title"),
            ("- a\n", "found a list"),
            ("title: [", "not valid YAML"),
            (LAUGHS, "aliases"),
            ("rows: &r [*r]\n", "*r"),
            (PLAN + f"extra: {DEEP}\n", "nested deeper"),
            (PLAN + "title: again\n", "'title' stands in line 1"),
            (PLAN + "colour: red\n", "'colour'"),
            (PLAN.replace("dataset: tiny\n", ""), "'dataset' is missing"),
            (PLAN.replace("[1]", "1"), "seeds: 1"),
            (PLAN.replace("[1]", "[]"), "seeds: []"),
            (PLAN.replace("[1]", "[one]"), "seeds"),
            (PLAN.replace("[1]", "[true]"), "seeds"),
            (PLAN.replace("[1]", "[1, 1]"), "seeds: 1 is given twice"),
            (PLAN.replace("{epochs: 1}", "[epochs]"), "settings"),
            (PLAN.replace("{epochs: 1}", "{seed: 3}"), "seed"),
            (PLAN + "- {label: A, model: Pop}\n", "'A' is given twice"),
            (PLAN + "- {label: 'a|b', model: Pop}\n", "row 2 & a|b"),
            (PLAN + "- {label: '', model: Pop}\n", "row 2 & label ''"),
            (PLAN + "- {model: Pop}\n", "row 2 & 'label' is missing"),
            (PLAN + "- Pop\n", "row 2 & 'Pop'"),
            (PLAN + "- {label: B, model: Pop, settings: 3}\n", "row 2 & settings"),
            (PLAN + "- {label: B, model: Pop, colour: red}\n", "row 2 & 'colour'"),
            (PLAN + "reference: Z\n", "reference: 'Z'"),
            (PLAN + "retrain_quantizer: always\n", "retrain_quantizer: 'always'"),
            (PLAN.partition("rows:")[0] + "rows: []\n", "rows"),
        ]
    ),
    Bad("experiment x.yaml --data_path={data}", "Popp", plan(PLAN.replace("BPR", "Popp"))),
    Bad("experiment x.yaml --data_path={data}", "'epohcs' & 'epochs'", plan(PLAN.replace("epochs", "epohcs"))),
    Bad("experiment x.yaml --data_path={data}", "epochs: 0", plan(PLAN.replace("epochs: 1", "epochs: 0"))),
    Bad("experiment x.yaml --data_path={data} --dataset ../tiny", "../tiny", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --rows Z", "'Z'|Z & A", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --rows 7", "7 & A", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --seeds 9", "9 & 1", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --seeds one", "--seeds one", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --epochs", "--epochs needs a value", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --topk=0", "topk: 0", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} stray", "stray", plan(PLAN)),
    Bad("experiment x.yaml --data_path={data} --results x.yaml", "x.yaml & file stands", plan(PLAN)),
]

ANALYSING = [
    Bad("analyse", "required: runs"),
    Bad("analyse gone", "gone & no finished run"),
    Bad("analyse file", "file & no finished run", {"file": "x"}),
    Bad("analyse {data}", "no finished run"),
    Bad("analyse {run} --users 0", "--users: 0"),
    Bad("analyse {run} --users many", "--users & many"),
    Bad("analyse {run} --results file", "file", {"file": "x"}),
    Bad("analyse {run} --user 3", "--user"),
    Bad("analyse table", "runs.tsv & gone", {"table/runs.tsv": "label\tseed\trun_dir\nA\t1\tgone\n"}),
    Bad("analyse table", "runs.tsv & run_dir", {"table/runs.tsv": "label\tseed\nA\t1\n"}),
    Bad("analyse table", "runs.tsv", {"table/runs.tsv": ""}),
    Bad("analyse table", "runs.tsv & utf-8", {"table/runs.tsv": b"\xff\xfe\x00"}),
    *(
        Bad("analyse copy", says, damaged("run", change))
        for change, says in [
            (cut("result.json", 0), "result.json & recbole-mgr evaluate"),
            (cut("ranking.npz"), "ranking.npz & recbole-mgr evaluate"),
            (without("ranking.npz"), "ranking.npz"),
            (without("settings.yaml"), "settings.yaml"),
            (without("best.semantic_ids.tsv"), "best.semantic_ids.tsv"),
        ]
    ),
    *(
        Bad("analyse copy", says, damaged("run", change, digests=False))
        for change, says in [
            (filled("result.json", DEEP), "result.json & nested deeper"),
            (filled("result.json", "[]"), "result.json"),
            (filled("result.json", '{"data": 1}'), "result.json"),
            (filled("ranking.npz", packed("ranks.npy", npy(np.arange(3)))), "ranking.npz|result.json"),
            (arrays("ranking.npz", ranks=np.arange(3)), "ranking.npz"),
        ]
    ),
]

VECTORS = "collaborative tiny --data_path={data} --output out"
COLLABORATING = [
    Bad("collaborative", "required: dataset"),
    Bad("collaborative tinny --data_path={data}", "tinny"),
    Bad("collaborative ../tiny --data_path={data}", "../tiny"),
    *(
        Bad(f"{VECTORS} {options}", says)
        for options, says in [
            ("--method svd", "--method & svd"),
            ("--dim 8", "--dim & ppmi_svd"),
            ("--method ppmi_svd --model BPR", "--model & baseline"),
            ("--method ppmi_svd --dim 0", "dim & 0"),
            ("--method ppmi_svd --dim 9999", "dim & 9999"),
            ("--method ppmi_svd --window 0", "window & 0"),
            ("--method ppmi_svd --window -1", "window & -1"),
            ("--method ppmi_svd --context_power -1", "context_power & -1"),
            ("--method ppmi_svd --context_power nan", "context_power & nan"),
            ("--method ppmi_svd --dim 8 --epohcs=3", "'epohcs'"),
            ("--model Pop", "Pop"),
            ("--model Gone", "Gone"),
            ("--model TIGER", "TIGER"),
            ("--modality 'a b'", "'a b'"),
            ("--modality ../x", "../x"),
            ("--epochs=0", "epochs: 0"),
            ("--epohcs=3", "'epohcs'"),
            ("--topk", "--topk needs a value"),
        ]
    ),
    Bad("collaborative tiny --data_path={data} --output file --method ppmi_svd --dim 8", "file", {"file": "x"}),
    Bad("collaborative bad --data_path=. --method ppmi_svd", "bad.inter", inter("rubbish")),
]
