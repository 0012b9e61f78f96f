"""Bad inputs of the commands that read and write data: check and run on malformed files, encode, convert, prepare."""

from __future__ import annotations

import gzip

import numpy as np
from bad_files import (
    CSV,
    DEEP,
    HEADER,
    ITEMS,
    LAUGHS,
    ROWS,
    Bad,
    folder,
    inter,
    npy,
    packed,
    png,
    with_items,
    with_text,
)

# malformed interactions, for each command that reads them: content, what is named
INTERACTIONS = [
    (b"", "bad.inter & empty"),
    (HEADER, "bad.inter & only a header"),
    ("\n\n\n", "bad.inter, line 1"),
    ("user_id\titem_id\ttimestamp\nu\ti\t1\n", "bad.inter, line 1 & user_id"),
    ("user:token\titem_id:token\ttimestamp:float\nu\ti\t1\n", "bad.inter, line 1 & user_id:token"),
    ("user_id:token\titem_id:token\titem_id:token\nu\ti\ti\n", "bad.inter, line 1 & item_id"),
    ("user_id:token\titem_id:word\ttimestamp:float\nu\ti\t1\n", "bad.inter, line 1 & word"),
    ("user_id:token,item_id:token,timestamp:float\nu,i,1\n", "bad.inter, line 1"),
    (HEADER + ROWS + "u1\ti1\t1\textra\n", "bad.inter, line 56 & more than 3 values"),
    (HEADER + ROWS + "\ti1\t1400000000\n", "bad.inter, line 56 & user_id"),
    (HEADER + ROWS + "u1 \ti1\t1400000000\n", "bad.inter, line 56 & blanks around"),
    (HEADER + ROWS + "u1\tnan\t1400000000\n", "bad.inter, line 56 & item_id"),
    (HEADER + ROWS + "u1\ti1\tyesterday\n", "bad.inter, line 56 & timestamp"),
    (HEADER + ROWS + "u1\ti1\tinf\n", "bad.inter, line 56 & timestamp"),
    (HEADER + ROWS + "u1\ti1\n", "bad.inter, line 56 & timestamp"),
    (HEADER.encode() + "ü\tä\t1\n".encode("latin-1") + ROWS.encode(), "bad.inter, line 2 & not UTF-8"),
    ((HEADER + ROWS).encode("utf-16"), "bad.inter, line 1 & NUL & UTF-16"),
    (gzip.compress((HEADER + ROWS).encode()), "bad.inter & gzip"),
    (packed("bad.inter", (HEADER + ROWS).encode()), "bad.inter & zip"),
    (b"PAR1" + bytes(100) + b"PAR1", "bad.inter, line 1 & NUL & Parquet"),
    (HEADER.encode() + bytes(200), "bad.inter"),
    (folder, "bad.inter"),
]
READERS = ("check bad --data_path .", "run --model Pop --dataset bad --data_path=. --state=ERROR")
DATA = [
    *(Bad(command, says, inter(content)) for content, says in INTERACTIONS for command in READERS),
    Bad("check bad --data_path .", "bad"),
    Bad("check ../bad --data_path .", "../bad & name"),
    Bad("check '' --data_path .", "name"),
    Bad("check /etc --data_path .", "/etc & name"),
    Bad("check bad --data_path nowhere", "nowhere"),
    Bad("check bad --data_path file", "file", {"file": "x"}),
    Bad("check tiny --data_path {data} --k many", "--k & many"),
    Bad("check tiny --data_path {data} --k -1", "--k & -1"),
    Bad("check tiny --data_path {data} --pictures some", "--pictures some & a number or all"),
    Bad("check tiny --data_path {data} --pictures -5", "--pictures & -5"),
    Bad("check tiny --data_path {data} --json .", "a folder stands where a file belongs"),
    Bad("check tiny --data_path {data} --json /dev/null/x.json", "/dev/null"),
    Bad("check tiny --data_path {data} --plots file", "file", {"file": "x"}),
    Bad("check tiny --data_path {data} --encoding utf-99", "encoding: 'utf-99'"),
    Bad("check tiny --data_path {data} --encoding hex", "encoding: 'hex'"),
    Bad("check tiny --data_path {data} --field_separator ''", "field_separator: ''"),
    Bad("check tiny --data_path {data} --field_separator ::", "field_separator: '::'"),
    Bad("check tiny --data_path {data} --USER_ID_FIELD item_id", "item_id"),
    Bad("check tiny --data_path {data} --ITEM_ID_FIELD article", "article:token"),
    Bad("check tiny --data_path {data} --config_files gone.yaml", "--config_files & gone.yaml does not exist"),
    Bad("check tiny --data_path {data} --config_files x.yaml", "x.yaml & aliases", {"x.yaml": LAUGHS}),
    Bad("check tiny --data_path {data} --config_files x.yaml", "x.yaml & nested deeper", {"x.yaml": f"a: {DEEP}"}),
    Bad("check tiny --data_path {data} --config_files x.yaml", "encoding & 5", {"x.yaml": "encoding: 5"}),
    Bad("check tiny --data_path {data} --epochs 3", "--epochs"),
    Bad("check tiny --data_path {data} --js out.json", "--js"),
    # items
    *(
        Bad(command, says, with_items(content))
        for content, says in [
            (b"", "bad.item & empty"),
            ("title:token_seq\nx\n", "bad.item, line 1 & item_id:token"),
            ("item_id:token\ttitle:words\ni1\tx\n", "bad.item, line 1 & words"),
            (ITEMS + "i1\tagain\n", "bad.item, line 11 & 'i1' & second time"),
            (ITEMS + "\tno item\n", "bad.item, line 11 & item_id"),
            (ITEMS + "i99\tx\ttoo much\n", "bad.item, line 11 & more than 2 values"),
            (ITEMS.encode() + "i99\tö\n".encode("latin-1"), "bad.item, line 11 & not UTF-8"),
            (gzip.compress(ITEMS.encode()), "bad.item & gzip"),
            ("item_id:token\tprice:float\ni1\tcheap\n", "bad.item, line 2 & price"),
            ("item_id:token\ttitle:token_seq\n", "bad.item & only a header"),
        ]
        for command in ("check bad --data_path .", "encode bad --data_path . --modality text")
    ),
    Bad("check bad --data_path .", "bad.item & none matches & 'i0' & 'x0'", with_items(ITEMS.replace("\ni", "\nx"))),
    # vectors
    *(
        Bad(command, says, with_text(*content))
        for content, says in [
            ((b"",), "bad.text.npy"),
            ((b"\x80\x04\x95 a pickle",), "bad.text.npy"),
            ((npy(np.ones((9, 4), dtype=np.float32))[:-1],), "bad.text.npy"),
            ((npy(np.ones((9, 4), dtype=np.float32)).replace(b"(9, 4)", b"(9**9)"),), "bad.text.npy"),
            ((npy(np.ones((9, 4), dtype=np.float32)).replace(b"(9, 4)", b"(((((("),), "bad.text.npy"),
            ((npy(np.ones((9, 4), dtype=np.int64)),), "bad.text.npy & int64 & float16 or float32"),
            ((npy(np.ones(9, dtype=np.float32)),), "bad.text.npy & (9,)"),
            ((npy(np.full((9, 4), np.nan, dtype=np.float32)),), "bad.text.npy & 'i0' & NaN"),
            ((npy(np.ones((8, 4), dtype=np.float32)),), "bad.text.ids has 9 lines & 8 rows"),
            ((npy(np.ones((9, 4), dtype=np.float32)), "i1\n" * 9), "bad.text.npy & 'i1' & rows 1 and 2"),
            ((npy(np.ones((9, 4), dtype=np.float32)), "x1\nx2\nx3\nx4\nx5\nx6\nx7\nx8\nx9"), "bad.text & 'i0' & 'x1'"),
            ((npy(np.ones((9, 4), dtype=np.float32)), b"\xff\n" * 9), "bad.text.ids & utf-8"),
        ]
        for command in (
            "check bad --data_path .",
            "run --model TIGER:modalities=text --dataset bad --data_path=. --epochs=1 --codebook_size=4 --state=ERROR "
            "--topk=5 --valid_metric=NDCG@5",
        )
    ),
]


ENCODE = "encode Shop --data_path {data} --output out"
ENCODING = [
    Bad("encode", "required: dataset, --modality"),
    Bad("encode Shop --data_path {data}", "required: --modality"),
    Bad("encode Shopp --data_path {data} --modality text", "Shopp"),
    Bad("encode ../Shop --data_path {data} --modality text", "../Shop & name"),
    Bad(f"{ENCODE} --modality ../text --reads text", "../text & name"),
    Bad(f"{ENCODE} --modality '' --reads text", "modality ''"),
    Bad(f"{ENCODE} --modality colour", "--modality colour & --reads text"),
    Bad(f"{ENCODE} --modality text --reads video", "--reads & video"),
    Bad(f"{ENCODE} --modality text --encoder nonsense", "nonsense & classical"),
    Bad(f"{ENCODE} --modality text --encoder transformers:", "transformers:"),
    Bad(f"{ENCODE} --modality text --encoder transformers:./gone", "gone"),
    Bad(f"{ENCODE} --modality text --encoder open_clip:nonsense", "open_clip:nonsense"),
    Bad(f"{ENCODE} --modality text --encoder open_clip:ViT-B-32@gone.pt", "gone.pt"),
    Bad(f"{ENCODE} --modality image --encoder transformers:x", "transformers & text"),
    Bad(f"{ENCODE} --modality text --dim 0", "dim & 0"),
    Bad(f"{ENCODE} --modality text --dim -3", "dim & -3"),
    Bad(f"{ENCODE} --modality text --dim wide", "--dim & wide"),
    Bad(f"{ENCODE} --modality text --max_tokens 0", "max_tokens"),
    Bad(f"{ENCODE} --modality text --batch_size 0", "batch_size & 0"),
    Bad(f"{ENCODE} --modality text --device tpu9", "--device tpu9"),
    Bad(f"{ENCODE} --modality text --device cuda:77", "--device cuda:77"),
    Bad(f"{ENCODE} --modality text --precision int4", "--precision & int4"),
    Bad(f"{ENCODE} --modality text --pooling max", "--pooling & max"),
    Bad(f"{ENCODE} --modality text --patches", "patches & open_clip"),
    Bad(f"{ENCODE} --modality text --fields colour", "'colour' & title"),
    Bad(f"{ENCODE} --modality text --fields ,", "--fields"),
    Bad(f"{ENCODE} --modality image --fields title", "--fields"),
    Bad(f"{ENCODE} --modality text --like gone", "gone"),
    Bad(f"{ENCODE} --modality text --like {{data}}/Shop", "Shop & text"),
    Bad(f"{ENCODE} --modality text --like {{data}}/tiny --dim 9", "--dim & --like"),
    Bad(f"{ENCODE} --modality text --lke x", "--lke"),
    Bad("encode Shop --data_path {data} --modality text --output file", "file", {"file": "x"}),
    Bad("encode tiny --data_path {data} --modality text --output out", "tiny.item"),
    Bad("encode bad --data_path . --modality text", "bad.item & token_seq", with_items("item_id:token\nc:token\n")),
    Bad(
        "encode bad --data_path . --modality text",
        "bad.item & title & empty",
        with_items("item_id:token\ttitle:token_seq\ni1\t\n"),
    ),
    Bad("encode bad --data_path . --modality image", "bad.item & image:token", with_items(ITEMS)),
    *(
        Bad(
            "encode bad --data_path . --modality image",
            f"{says}",
            {**with_items(f"item_id:token\timage:token\ni1\t{name}\n"), **files},
        )
        for name, says, files in [
            ("gone.png", "gone.png", {}),
            ("x.png", "x.png", {"bad/images/x.png": b""}),
            ("x.png", "x.png", {"bad/images/x.png": b"<svg onload=alert(1)>"}),
            ("x.png", "x.png", {"bad/images/x.png": png()[:45]}),
            ("x.png", "x.png", {"bad/images/x.png": folder}),
            ("x.png", "x.png", {"bad/images/x.png": lambda path: __import__("os").mkfifo(path)}),
            ("x.png", "x.png & pixels", {"bad/images/x.png": png((13_000, 6_000))}),
            ("../../secret.png", "../../secret.png & out of images", {"secret.png": png()}),
            ("/etc/passwd", "/etc/passwd & out of images", {}),
        ]
    ),
]

MAP = "i0\t0\ni1\t1\n"
CONVERTING = [
    Bad("convert", "required: MODALITY=FILE, --output"),
    Bad("convert x.json --output x.semantic_ids.tsv", "'x.json' is no name"),
    Bad("convert text= --output x.semantic_ids.tsv", "text= & text=index.json"),
    Bad("convert text=x.json text=x.json --output o.tsv", "text=x.json & once", {"x.json": '{"i0": [1]}'}),
    Bad("convert 'te xt=x.json' --output o.tsv", "'te xt' is no name", {"x.json": '{"i0": [1]}'}),
    Bad("convert text=gone.json --output o.tsv", "gone.json"),
    Bad("convert text=. --output o.tsv", "there is no file ."),
    Bad("convert text=x.json --output o.tsv", "x.json & no JSON|x.json, line 1: not JSON", {"x.json": "<a_1>"}),
    Bad("convert text=x.json --output o.tsv", "x.json & utf-8|x.json: not UTF-8", {"x.json": b"\xff{}"}),
    Bad("convert text=x.json --output o.tsv", "x.json", {"x.json": "{}"}),
    Bad(
        "convert text=x.json --output o.tsv", "x.json & 'i1' & levels", {"x.json": '{"i0": ["<a_1>"], "i1": ["<b_2>"]}'}
    ),
    Bad("convert text=x.json --output o.tsv", "x.json & 'i1'", {"x.json": '{"i0": [1, 2], "i1": [1]}'}),
    Bad("convert text=x.json --output o.tsv", "x.json & 99999999999", {"x.json": '{"i0": [99999999999999999999999]}'}),
    Bad("convert text=x.json --output o.tsv", "x.json", {"x.json": f'{{"i0": {DEEP}}}'}),
    Bad(
        "convert text=x.json image=y.json --output o.tsv",
        "y.json & 'i1'",
        {"x.json": '{"i0": [1], "i1": [2]}', "y.json": '{"i0": [1], "i9": [2]}'},
    ),
    Bad("convert text=x.json --item2id gone.tsv --output o.tsv", "gone.tsv", {"x.json": '{"0": [1]}'}),
    Bad(
        "convert text=x.json --item2id m.tsv --output o.tsv",
        "m.tsv & x.json & '0'",
        {"x.json": '{"8": [1]}', "m.tsv": MAP},
    ),
    Bad(
        "convert text=x.json --item2id m.tsv --output o.tsv",
        "m.tsv, line 2",
        {"x.json": '{"0": [1]}', "m.tsv": "i0\t0\nrubbish\n"},
    ),
    Bad(
        "convert text=x.json --item2id m.tsv --output o.tsv",
        "m.tsv & 'i0'",
        {"x.json": '{"0": [1], "1": [2]}', "m.tsv": "i0\t0\ni0\t1\n"},
    ),
    Bad("convert text=x.json --item2id m.json --output o.tsv", "m.json", {"x.json": '{"0": [1]}', "m.json": DEEP}),
    Bad("convert text=x.json --output .", "--output .: must end in .tsv", {"x.json": '{"i0": [1]}'}),
    Bad("convert text=x.json --output file/o.tsv", "file", {"x.json": '{"i0": [1]}', "file": "x"}),
]

TABLE = "prepare table x.csv --name Out"
PREPARING = [
    Bad("prepare", "required"),
    Bad("prepare csv x.csv", "csv & table"),
    Bad("prepare table", "required: FILE"),
    Bad("prepare table gone.csv", "gone.csv"),
    Bad("prepare table .", ". "),
    Bad("prepare ml-100k gone", "gone"),
    Bad("prepare ml-1m file", "file", {"file": "x"}),
    Bad("prepare h-and-m gone", "gone"),
    Bad("prepare atomic gone", "gone"),
    Bad("prepare amazon-2014 raw", "required: --category"),
    Bad("prepare amazon-2014 raw --category Beauty", "raw & Beauty"),
    Bad("prepare amazon-2023 raw --category ../x", "../x"),
    Bad("prepare amazon-2018 raw --category Beauty --download file:///etc/passwd", "file:///etc/passwd"),
    Bad("prepare amazon-2018 raw --category Beauty --download http://[bad", "http://[bad"),
    *(
        Bad(f"{TABLE} {options}", says, {"x.csv": CSV})
        for options, says in [
            ("--k-core -1", "--k-core & -1"),
            ("--k-core many", "--k-core & many"),
            ("--k-core 1000", "nothing is left & --k-core"),
            ("--user-core -2", "--user-core & -2"),
            ("--item-core 2.5", "--item-core & 2.5"),
            ("--min-rating nan", "--min-rating & nan"),
            ("--min-rating high", "--min-rating & high"),
            ("--min-rating 99", "nothing is left & --min-rating"),
            ("--broken-share 2", "--broken-share & 2"),
            ("--broken-share -0.1", "--broken-share & -0.1"),
            ("--broken-share nan", "--broken-share & nan"),
            ("--parallel 0", "--parallel & 0"),
            ("--timeout 0", "--timeout & 0"),
            ("--timeout nan", "--timeout & nan"),
            ("--time-unit h", "--time-unit & 'h'"),
            ("--time-format %Q", "timestamp & --time-format"),
            ("--time-format %Y", "timestamp"),
            ("--decimal ;", "--decimal & ';'"),
            ("--encoding utf-99", "encoding 'utf-99'"),
            ("--encoding hex", "encoding 'hex'"),
            ("--quotes maybe", "--quotes & maybe"),
            ("--duplicates none", "--duplicates & none"),
            ("--images gone", "gone"),
            ("--images x.csv", "x.csv"),
            ("--mirror gone", "gone"),
            ("--mirror ftp://x", "ftp://x"),
            ("--require-images --no-images", "--no-images & --require-images"),
            ("--require-images", "--require-images"),
            ("--items gone.csv", "gone.csv"),
            ("--items .", ". "),
            ("--user buyer", "buyer & user_id"),
            ("--user item_id", "item_id"),
            ("--rating stars", "stars & rating"),
            ("--name ../out", "--name & ../out"),
            ("--name ''", "--name"),
            ("--name a/b", "--name & a/b"),
            ("--name .", "--name"),
            ("--output x.csv", "x.csv"),
            ("--output /dev/null/x", "/dev/null"),
            ("--epochs 3", "--epochs"),
            ("--kcore 3", "--kcore"),
        ]
    ),
    *(
        Bad("prepare table x.csv --name Out --k-core 0", f"x.csv & {says}", {"x.csv": content})
        for content, says in [
            (b"", "empty"),
            (b"\n\n", ""),
            ("user_id,item_id,timestamp\n", ""),
            ("just words\n", "user_id"),
            ("user_id,item_id\nu,i\n", "timestamp"),
            ("user_id,user_id,item_id,timestamp\nu,u,i,1\n", "user_id"),
            ("user_id,item_id,timestamp\nu,i,someday\n", "timestamp & line 2 & someday"),
            ("user_id,item_id,timestamp,rating\n" + "u,i,1400000000,good\n" * 9, "rating & line 2 & good"),
            ('user_id,item_id,timestamp\nu,"i,1400000000\nu,j,1400000001\n', "line 2"),
            ("user_id,item_id,timestamp\n" + "u,i\n" * 50, ""),
            (CSV.encode("utf-16-le"), ""),
            (b"user_id,item_id,timestamp\n" + bytes(300), ""),
            (b"user_id,item_id,timestamp\n\xe9,i,1400000000\n", "--encoding"),
            (b"\x80\x04\x95 pickle", "pickle"),
            (b"%PDF-1.4", "PDF"),
            (b"<html><body>404</body></html>", "<html>"),
            (packed("xl/workbook.xml", b"x"), "CSV"),
            (packed("a.txt", bytes(10)), ""),
            (b"PAR1 junk PAR1", "Parquet"),
            (gzip.compress(CSV.encode())[:60], ""),
            (b"\x1f\x8b junk", ""),
            (b"BZh91AY&SY junk", ""),
            (b"SQLite format 3\x00", "SQLite"),
        ]
    ),
    Bad(
        "prepare table x.csv --items y.csv --name Out --k-core 0",
        "x.csv|p0 & y.csv & 'q1'",
        {"x.csv": CSV, "y.csv": "item_id,title\nq1,Soap\n"},
    ),
    Bad(
        "prepare table x.csv --items y.csv --name Out --k-core 0",
        "y.csv & item_id",
        {"x.csv": CSV, "y.csv": "article,title\nq1,Soap\n"},
    ),
    Bad(
        "prepare table x.csv --items y.csv --name Out --k-core 0",
        "y.csv & line 2",
        {"x.csv": CSV, "y.csv": 'item_id,title\np1,"never closed\np2,x\n'},
    ),
]
