"""What hostile and hurried users give to the commands: a command line, the files that it finds, and what it must name.

``{data}`` is a folder with the good data sets ``tiny`` and ``Shop``, ``{run}`` the run directory of TIGER on tiny,
``{bpr}`` that of BPR, ``{table}`` an experiment's table of both. A command runs in a folder with the files alone.
"""

from __future__ import annotations

import gzip
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

Content = str | bytes | Callable[[Path], None]


class Bad(NamedTuple):
    """A command that must be refused.

    Attributes:
        command: as typed, ``recbole-mgr`` left out.
        says: words that must stand in what it says, parted by `` & ``.
        files: name -> content, or what makes it.
    """

    command: str
    says: str
    files: Mapping[str, Content] = {}


# -- makers -------------------------------------------------------------------------------------------------------

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
ROWS = "".join(f"u{user}\ti{(user + step) % 9}\t{1_400_000_000 + step}\n" for user in range(9) for step in range(6))
ITEMS = "item_id:token\ttitle:token_seq\n" + "".join(f"i{n}\tTitle {n}\n" for n in range(9))
CSV = "user_id,item_id,timestamp,rating\n" + "".join(f"u{n % 7},p{n % 5},{1_400_000_000 + n},4\n" for n in range(70))
LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
PLAN = "title: T\ndataset: tiny\nseeds: [1]\nsettings: {epochs: 1}\nrows:\n- {label: A, model: BPR}\n"
DEEP = "[" * 300 + "]" * 300


def inter(content: str | bytes) -> dict[str, Content]:
    """A data set called bad with these interactions."""
    return {"bad/bad.inter": content}


def with_items(content: str | bytes) -> dict[str, Content]:
    """A data set with good interactions and this ``.item``."""
    return {"bad/bad.inter": HEADER + ROWS, "bad/bad.item": content}


def npy(array: np.ndarray) -> bytes:
    """The file that numpy.save writes."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_text(vectors: bytes, ids: str | bytes = "\n".join(f"i{n}" for n in range(9)) + "\n") -> dict[str, Content]:
    """A data set with good interactions and these vectors of the modality text."""
    return {"bad/bad.inter": HEADER + ROWS, "bad/bad.text.npy": vectors, "bad/bad.text.ids": ids}


def packed(name: str, content: bytes) -> bytes:
    """A zip archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def folder(path: Path) -> None:
    """An empty folder."""
    path.mkdir(parents=True)


def damaged(source: str, change: Callable[[Path], None], *, digests: bool = True) -> dict[str, Content]:
    """A copy of a run directory (``run`` or ``bpr``), called copy, after a change; without digests a stranger's, who
    notes none."""

    def make(path: Path) -> None:
        shutil.copytree(path.parent / ".world" / source, path)
        if not digests:
            about = path / "run.yaml"
            kept = about.read_text().partition("files:\n")
            about.write_text(kept[0] + "".join(line for line in kept[2].splitlines(True) if not line.startswith("  ")))
        change(path)

    return {"copy": make}


def without(name: str) -> Callable[[Path], None]:
    """Remove a file of a run directory."""
    return lambda path: (path / name).unlink()


def cut(name: str, length: int = 40) -> Callable[[Path], None]:
    """Keep a file's first bytes."""
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:length])


def filled(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Give a file another content."""
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def said(name: str, before: str, after: str) -> Callable[[Path], None]:
    """Change words of a text file."""

    def change(path: Path) -> None:
        text = (path / name).read_text(encoding="utf-8")
        assert before in text, (name, before)
        (path / name).write_text(text.replace(before, after, 1), encoding="utf-8")

    return change


def arrays(name: str, **changes: np.ndarray) -> Callable[[Path], None]:
    """Change arrays of an ``.npz`` file."""

    def change(path: Path) -> None:
        with np.load(path / name) as before:
            kept = dict(before)
        np.savez(path / name, **{**kept, **changes})

    return change


def checkpoint(content: object) -> Callable[[Path], None]:
    """Another checkpoint."""
    return lambda path: torch.save(content, path / "best.pth")


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    """A picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


# -- the list, by command -----------------------------------------------------------------------------------------

COMMAND_LINE = [
    Bad("recomend saved", "'recomend' & did you mean 'recommend'"),
    Bad("Run --model BPR", "'Run' is no command & did you mean 'run'"),
    Bad("''", "'' is no command"),
    Bad("TIGER", "'TIGER' is no command & the commands are"),
    Bad("../run", "'../run' is no command"),
    Bad("", "required: --model, --dataset"),
    Bad("--nonsense", "required: --model, --dataset"),
    Bad("settings BRP", "BRP & Did you mean BPR"),
    Bad("settings tiger", "tiger & Did you mean TIGER"),
    Bad("settings TIGER BPR", "unrecognized arguments: BPR"),
    Bad("settings --markdown TIGER", "--markdown & leave TIGER out"),
    Bad("settings --makdown", "--makdown"),
    Bad("settings ../TIGER", "../TIGER"),
]

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
READERS = ("check bad --data_path .", "run --model Pop --dataset bad --data_path=. --epochs=1 --state=ERROR")
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
]

PERSONAL = "personalize {run} --task rec"
PERSONALIZING = [
    Bad("personalize", "required: run_dir, --task"),
    Bad("personalize {run} --user u1", "required: --task"),
    Bad("personalize gone --task rec --user u1", "gone/run.yaml"),
    Bad("personalize {run} --task rec", "--user --history"),
    Bad(f"{PERSONAL} --user u1", "TIGER & only recommends"),
    Bad("personalize {bpr} --task rec --user u1", "BPR & only recommends|BPR"),
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


def plan(text: str) -> dict[str, Content]:
    """An experiment's file."""
    return {"x.yaml": text}


EXPERIMENTING = [
    Bad("experiment", "required: experiment"),
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

BAD_INPUTS = {
    "command line": COMMAND_LINE,
    "data": DATA,
    "run": TRAINING,
    "encode": ENCODING,
    "convert": CONVERTING,
    "prepare": PREPARING,
    "recommend": RECOMMENDING,
    "evaluate": EVALUATING,
    "personalize": PERSONALIZING,
    "experiment": EXPERIMENTING,
    "analyse": ANALYSING,
    "collaborative": COLLABORATING,
    "view, serve": VIEWING,
    "share, export": SHARING,
}
