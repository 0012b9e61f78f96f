"""Bad inputs of the commands that use a trained run: recommend, personalize, view, share, export, serve."""

from __future__ import annotations

import numpy as np
from bad_files import (
    DEEP,
    ITEMS,
    LAUGHS,
    Bad,
    arrays,
    checkpoint,
    cut,
    damaged,
    filled,
    folder,
    inter,
    npy,
    packed,
    said,
    with_items,
    without,
)

RECOMMEND = "recommend {run} --device cpu"
COPY = "recommend copy --device cpu --users u1"
RECOMMENDING = [
    Bad("recommend", "required: run_dir"),
    Bad("recommend {run}", "--users"),
    Bad("recommend gone --users u1", "gone/run.yaml"),
    Bad("recommend file --users u1", "file/run.yaml", {"file": "x"}),
    Bad("recommend {data}/tiny --users u1", "run.yaml & finished run"),
    Bad("recommend {table} --users u1", "run.yaml & finished run"),
    *(
        Bad(f"{RECOMMEND} {options}", says)
        for options, says in [
            ("--users nobody", "'nobody' & --unknown skip"),
            ("--users ''", "''"),
            ("--users", "--users"),
            ("--users-file gone.txt", "gone.txt does not exist"),
            ("--users-file .", ". "),
            ("--history nothing", "'nothing'"),
            ("--history i1 --users u1", "not allowed with"),
            ("--histories gone.jsonl", "gone.jsonl does not exist"),
            ("--users u1 --k 0", "k: 0"),
            ("--users u1 --k -3", "k: -3"),
            ("--users u1 --k 1.5", "--k & 1.5"),
            ("--users u1 --k 99999999999", "--k & 99999999999"),
            ("--users u1 --beam-size 0", "--beam-size: 0"),
            ("--users u1 --beam-size 3 --k 10", "beam_size & 3 & 10"),
            ("--users u1 --beam-size wide", "--beam-size & wide"),
            ("--users u1 --batch-size 0", "--batch-size: 0"),
            ("--users u1 --batch-size -1", "--batch-size: -1"),
            ("--users u1 --device tpu9", "tpu9"),
            ("--users u1 --device cuda:77", "cuda:77"),
            ("--users u1 --only gone.txt", "gone.txt does not exist"),
            ("--users u1 --fields colour", "colour"),
            ("--users u1 --fields title --ids", "--ids & --fields"),
            ("--users u1 --unknown drop", "--unknown & drop"),
            ("--users u1 --output lists.xlsx", "lists.xlsx & .csv"),
            ("--users u1 --output lists", "lists & .csv"),
            ("--users u1 --output .csv", ".csv"),
            ("--users u1 --output /dev/null/lists.csv", "/dev/null"),
            ("--users u1 --new-items gone", "gone"),
            ("--users u1 --new-items {data}/Shop", "Shop.<modality>"),
            ("--users u1 --epochs 3", "--epochs"),
            ("--users u1 --mask_history", "--mask_history"),
        ]
    ),
    Bad(f"{RECOMMEND} --users u1 --output lists.csv", "lists.csv & folder", {"lists.csv": folder}),
    Bad(f"{RECOMMEND} --users-file x.txt", "empty", {"x.txt": "\n\n"}),
    Bad(f"{RECOMMEND} --users-file x.txt", "x.txt & not UTF-8", {"x.txt": b"\xff\xfe"}),
    Bad(f"{RECOMMEND} --users u1 --only x.txt", "only|x.txt", {"x.txt": ""}),
    Bad(f"{RECOMMEND} --users u1 --only x.txt", "'nothing'", {"x.txt": "nothing\n"}),
    *(
        Bad(f"{RECOMMEND} --histories x.jsonl", f"x.jsonl, line 2 & {says}", {"x.jsonl": '["i1"]\n' + line})
        for line, says in [
            ("{", "not JSON"),
            ("3", "list of item ids"),
            ('{"user": "a"}', "keys"),
            ('{"user": "a", "history": "i1"}', "list of item ids"),
            ('{"user": ["a"], "history": ["i1"]}', "user"),
            ("[true]", "list of item ids"),
            ("[null]", "list of item ids"),
            ("[" * 5000, ""),
            (DEEP, ""),
            ("[" + "9" * 5000 + "]", ""),
        ]
    ),
    Bad(f"{RECOMMEND} --histories x.jsonl", "x.jsonl & not UTF-8", {"x.jsonl": b'["i1"]\n["\xff"]\n'}),
    Bad(f"{RECOMMEND} --histories x.jsonl", "history 2 & empty", {"x.jsonl": '["i1"]\n[]\n'}),
    Bad("recommend {bpr} --device cpu --history i1 i2", "BPR"),
    Bad("recommend {bpr} --device cpu --users nobody", "'nobody'"),
    Bad("recommend {bpr} --device cpu --users u1 --beam-size 5", "beam"),
    Bad("recommend {bpr} --device cpu --users u1 --new-items {data}/tiny", "BPR|new items"),
    # run directories
    *(
        Bad(COPY, says, damaged("run", change))
        for change, says in [
            (without("run.yaml"), "run.yaml does not exist"),
            (without("settings.yaml"), "settings.yaml"),
            (without("items.tsv"), "items.tsv"),
            (without("best.semantic_ids.tsv"), "best.semantic_ids.tsv"),
            (without("model.safetensors"), "model.safetensors"),
            (cut("run.yaml", 0), "run.yaml"),
            (cut("run.yaml"), "run.yaml"),
            (cut("settings.yaml"), "settings.yaml"),
            (cut("items.tsv"), "items.tsv & SHA-256"),
            (cut("model.safetensors"), "model.safetensors & SHA-256"),
            (cut("histories.npz"), "histories.npz & SHA-256"),
            (cut("quantizers.npz"), "quantizers.npz & SHA-256"),
            (filled("run.yaml", LAUGHS), "run.yaml & aliases"),
            (filled("run.yaml", f"a: {DEEP}"), "run.yaml & nested deeper"),
            (filled("run.yaml", "- 1\n"), "run.yaml & found a list"),
            (filled("settings.yaml", LAUGHS), "settings.yaml & aliases"),
            (said("run.yaml", "format: 1", "format: 99"), "run.yaml & format 99"),
            (said("run.yaml", "model: TIGER", "model: os.system"), "run.yaml & os.system"),
            (said("run.yaml", "model: TIGER", "model: [TIGER]"), "run.yaml & TIGER"),
        ]
    ),
    *(
        Bad(COPY, f"{says} & copy", damaged("run", change, digests=False))
        for change, says in [
            (cut("items.tsv"), "items.tsv|best.semantic_ids.tsv"),
            (cut("best.semantic_ids.tsv"), "best.semantic_ids.tsv"),
            (cut("model.safetensors"), "model.safetensors"),
            (filled("model.safetensors", b""), "model.safetensors"),
            (filled("model.safetensors", b"\xff" * 8 + b"{}"), "model.safetensors"),
            (filled("model.safetensors", (2).to_bytes(8, "little") + b"{}"), "model.safetensors"),
            (cut("histories.npz"), "histories.npz"),
            (filled("histories.npz", packed("users.npy", bytes(80_000_000))), "histories.npz & unpack"),
            (arrays("histories.npz", item_ids=np.full(10**3, 10**6)), "histories.npz"),
            (arrays("histories.npz", starts=np.array([0, 10**12])), "histories.npz"),
            (arrays("histories.npz", starts=np.array([[0]])), "histories.npz"),
            (arrays("histories.npz", users=np.array([0xFF], dtype=np.uint8)), "histories.npz"),
            (filled("histories.npz", packed("users.npy", npy(np.arange(3)))), "histories.npz"),
            (cut("quantizers.npz"), "quantizers.npz"),
            (filled("quantizers.npz", packed("x.npy", npy(np.arange(3)))), "quantizers.npz"),
            (said("settings.yaml", "hidden_size: 16", "hidden_size: 200000"), "settings.yaml & hidden_size: 200000"),
            (said("settings.yaml", "hidden_size: 16", "hidden_size: -1"), "hidden_size: -1"),
            (said("settings.yaml", "hidden_size: 16", "hidden_size: wide"), "hidden_size: 'wide'"),
            (said("settings.yaml", "n_layers: 1", "n_layers: 100000"), "settings.yaml & n_layers: 100000"),
            (said("settings.yaml", "backbone: hierarchical", "backbone: gone"), "backbone: 'gone'"),
        ]
    ),
    *(
        Bad("recommend copy --device cpu --users u1", says, damaged("bpr", change, digests=False))
        for change, says in [
            (without("best.pth"), "best.pth"),
            (without("training.npz"), "histories"),
            (cut("best.pth"), "best.pth"),
            (filled("best.pth", b"\x80\x04\x95 pickle"), "best.pth & refused"),
            (checkpoint({"state_dict": {}}), "best.pth"),
            (checkpoint({"config": {"model": "BPR"}, "state_dict": {}}), "best.pth|settings lack"),
            (checkpoint([1, 2]), "best.pth"),
            (checkpoint({"config": "BPR"}), "best.pth"),
            (cut("training.npz"), "training.npz"),
            (arrays("training.npz", items=np.full(3, 99)), "training.npz"),
            (arrays("training.npz", users=np.array(["u"])), "training.npz"),
            (cut("items.tsv", 0), "items.tsv"),
            (said("run.yaml", "model: BPR", "model: SASRec"), "best.pth & model"),
        ]
    ),
]


PERSONAL = "personalize {run} --task rec"
PERSONALIZING = [
    Bad("personalize", "required: run_dir, --task"),
    Bad("personalize {run} --user u1", "required: --task"),
    Bad("personalize gone --task rec --user u1", "gone/run.yaml"),
    Bad("personalize {run} --task rec", "--user --history"),
    Bad(f"{PERSONAL} --user u1", "TIGER & only recommends"),
    Bad("personalize {bpr} --task rec --user u1", "a run of BPR, which has no semantic IDs; name one of & UniMP"),
    Bad("personalize {run} --task dance --user u1", "dance|only recommends"),
    Bad(f"{PERSONAL} --user u1 --history i1", "not allowed with"),
    Bad(f"{PERSONAL} --user u1 --output x.jpg", "x.jpg & .png"),
    Bad(f"{PERSONAL} --user u1 --temperature 0", "--temperature"),
    Bad(f"{PERSONAL} --user u1 --temperature nan", "--temperature: nan"),
    Bad(f"{PERSONAL} --user u1 --temperature inf", "--temperature: inf"),
    Bad(f"{PERSONAL} --user u1 --k 0", "--k 0|k: 0"),
    Bad(f"{PERSONAL} --user u1 --k many", "--k & many"),
    Bad(f"{PERSONAL} --user u1 --querry x", "--querry"),
]


VIEWING = [
    Bad("view", "required: targets"),
    Bad("view gone", "gone"),
    Bad("view tinny --data_path {data}", "tinny"),
    Bad("view file", "file", {"file": "x"}),
    Bad("view tiny --data_path {data} --output out", "out & not written by recbole-mgr view", {"out/mine.txt": "x"}),
    Bad("view tiny --data_path {data} --output file", "file", {"file": "x"}),
    Bad("view tiny --data_path {data} --users -1", "--users & -1"),
    Bad("view tiny --data_path {data} --users many", "--users & many"),
    Bad("view tiny Shop --data_path {data}", "Shop"),
    Bad("view tiny --data_path {data} --single", "--single"),
    Bad("view tiny --data_path {data} --single-file --output x.html", "--output x.html & folder"),
    Bad("view bad --data_path .", "bad.inter", inter("rubbish")),
    Bad("view bad --data_path .", "bad.item, line 11", with_items(ITEMS + "i1\tagain\n")),
    Bad("view copy --output out", "result.json", damaged("run", cut("result.json"))),
    Bad("view copy --output out", "epochs.json", damaged("run", filled("epochs.json", DEEP), digests=False)),
    Bad("serve", "required: runs"),
    Bad("serve gone --no-pages", "gone/run.yaml"),
    Bad("serve {data}/tiny --no-pages", "run.yaml"),
    Bad("serve {run} {run} --no-pages", "named twice"),
    *(
        Bad(f"serve {{run}} --no-pages {options}", says)
        for options, says in [
            ("--host 0.0.0.0", "--host 0.0.0.0 & RECBOLE_MGR_TOKEN"),
            ("--port 0", "--port: 0"),
            ("--port -1", "--port: -1"),
            ("--port 99999", "--port: 99999"),
            ("--port http", "--port & http"),
            ("--threads 0", "--threads: 0"),
            ("--batch-size 0", "--batch-size: 0"),
            ("--waiting 0", "--waiting: 0"),
            ("--timeout 0", "--timeout: 0"),
            ("--timeout nan", "--timeout: nan"),
            ("--device tpu9", "tpu9"),
            ("--users 5 --colour red", "--colour"),
        ]
    ),
    Bad("serve {run} --pages out", "out & not written by recbole-mgr view", {"out/mine.txt": "x"}),
    Bad("serve copy --no-pages", "model.safetensors", damaged("run", cut("model.safetensors"))),
]

SHARING = [
    Bad("share", "required: run_dir"),
    Bad("share {run}", "--hub owner/name"),
    Bad("share {run} out --hub a/b", "--hub owner/name"),
    Bad("share gone out", "gone/run.yaml"),
    Bad("share {bpr} out", "BPR"),
    Bad("share {run} out", "out & holds files", {"out/mine.txt": "x"}),
    Bad("share {run} file", "file", {"file": "x"}),
    Bad("share {run} {run}", "holds files"),
    Bad("share {run} --hub nonsense", "nonsense & owner/name"),
    Bad("share {run} --hub a/b/c", "a/b/c & owner/name"),
    Bad("share {run} out --public", "--public & --hub"),
    Bad("share {run} out --licence MIT", "--licence"),
    Bad("export", "required: run_dir, folder"),
    Bad("export gone out", "gone/run.yaml"),
    Bad("export {bpr} out", "BPR"),
    Bad("export {run} out", "out", {"out/mine.txt": "x"}),
    Bad("export {run} file", "file", {"file": "x"}),
    Bad("export {run} out --colour red", "--colour"),
    Bad("export copy out", "model.safetensors", damaged("run", cut("model.safetensors"))),
    Bad("share copy out", "model.safetensors", damaged("run", cut("model.safetensors"))),
]
