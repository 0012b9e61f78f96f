"""Bad interaction files are refused with file, line and remedy; odd but legal ones are read as they stand."""

import codecs

import numpy as np
import pandas as pd
import pytest

from recbole_mgr.data import interactions
from recbole_mgr.data.interactions import check_interactions, judged_interactions, read_interactions
from recbole_mgr.data.table import MISSING_WORDS, AtomicFormat

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"

BAD_FILES = {
    "empty": ("", "the file is empty"),
    "only a header": (HEADER, "holds no interactions"),
    "only blank lines": (HEADER + "\n\n", "holds no interactions"),
    "untyped column": ("user_id\titem_id:token\ttimestamp:float\nu\ti\t1\n", "line 1: column 'user_id' is not"),
    "unknown type": ("user_id:str\titem_id:token\ttimestamp:float\nu\ti\t1\n", "line 1: column 'user_id:str'"),
    "commas": (HEADER.replace("\t", ",") + "u,i,1\n", "columns are separated by tabs"),
    "column twice": (HEADER.replace("item_id", "user_id") + "u\ti\t1\n", "line 1: column 'user_id' stands there twice"),
    "no time": ("user_id:token\titem_id:token\nu\ti\n", "line 1: needs a column timestamp:float"),
    "time as token": (HEADER.replace("float", "token") + "u\ti\t1\n", "line 1: needs a column timestamp:float"),
    "no item": ("user_id:token\ttimestamp:float\nu\t1\n", "line 1: needs a column item_id:token"),
    "too many values": (HEADER + "u\ti\t1\nu\tj\t2\tx\n", r"line 3: more than 3 values \(1 such lines\)"),
    "too many values everywhere": (HEADER + "u\ti\t1\tx\nu\tj\t2\tx\n", "line 2: more than 3 values"),
    "too few values": (HEADER + "u\ti\t1\nu\tj\n", "line 3: timestamp is not a finite number"),
    "empty user": (HEADER + "u\ti\t1\n\ti\t1\n", "line 3: user_id is empty"),
    "empty item after a blank line": (HEADER + "u\ti\t1\n\nu\t\t1\n", r"line 4: item_id is empty.*\(1 such lines\)"),
    "word RecBole reads as missing": (HEADER + "NA\ti\t1\nu\ti\t1\n", "line 2: user_id is .* reads as missing"),
    "blanks around": (HEADER + "u\ti\t1\nu \tj\t2\n", "line 3: user_id has blanks around it .'u '"),
    "quotation mark": (HEADER + 'u\ti\t1\nu\t"j\t2\nv\tj"\t2\n', "line 3: a value begins with a quotation mark"),
    "time in words": (HEADER + "u\ti\t1\nu\tj\tlate\n", r"line 3: timestamp is not a finite number.*'late'"),
    "infinite time": (HEADER + "u\ti\tinf\n", "line 2: timestamp is not a finite number"),
    "times in words": (HEADER + "u\ti\tx\nu\ti\t1\nu\ti\tx\n", r"line 2.*\(2 such lines\)"),
    "words among numbers": (
        HEADER.replace("\n", "\tprice:float\n") + "u\ti\t1\t\nu\tj\t2\tcheap\n",
        r"line 3: price is not a number \('cheap'\).*write the column as price:token",
    ),
    "words among vectors": (
        HEADER.replace("\n", "\tplace:float_seq\n") + "u\ti\t1\t1 2\nu\tj\t2\t1 x\n",
        r"line 3: place is not a number \('1 x'\).*write the column as place:token_seq",
    ),
    "a picture": ("\x89PNG\r\n\x1a\n" + "x" * 99, "line 1: column"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_interactions_are_refused(tmp_path, content, message):
    path = tmp_path / "bad.inter"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        check_interactions(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 600


def test_a_missing_file_names_the_folder_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"shop\.inter does not exist; --data_path must name the folder that holds"):
        check_interactions(tmp_path / "shop" / "shop.inter")


@pytest.mark.parametrize("packed", [b"\x1f\x8b\x08\0", b"PK\x03\x04"])
def test_a_compressed_file_is_named_by_its_content(tmp_path, packed):
    (tmp_path / "shop.inter").write_bytes(packed + bytes(99))
    with pytest.raises(ValueError, match=r"shop\.inter: is compressed"):
        check_interactions(tmp_path / "shop.inter")


def test_bytes_of_another_encoding_are_named_by_their_line(tmp_path):
    path = tmp_path / "latin.inter"
    path.write_bytes((HEADER + "u\ti\t1\n" * 300_000 + "café\ti\t1\n").encode("latin-1"))  # beyond the first block
    with pytest.raises(ValueError, match=r"latin\.inter, line 300002: not UTF-8"):
        check_interactions(path)
    assert read_interactions(path, AtomicFormat(encoding="latin-1")).user_tokens == ["u", "café"]


ROWS = HEADER + "é#1\ti\t1.5e9\nv\tj\t-3\né#1\tj\t7\n"
WRITTEN = {
    "plain": ROWS.encode(),
    "byte order mark": codecs.BOM_UTF8 + ROWS.encode(),
    "Windows line ends": ROWS.replace("\n", "\r\n").encode(),
    "both": codecs.BOM_UTF8 + ROWS.replace("\n", "\r\n").encode(),
    "no line end at the end": ROWS.rstrip("\n").encode(),
    "blank lines at the end": (ROWS + "\n  \n\t\t\n\n").encode(),
    "blank lines between": ROWS.replace("\n", "\n\n").encode(),
    "blanks around numbers": ROWS.replace("-3", " -3 ").encode(),
}


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN)
def test_one_content_however_it_is_written(tmp_path, content):
    (tmp_path / "x.inter").write_bytes(content)
    check_interactions(tmp_path / "x.inter")
    read = read_interactions(tmp_path / "x.inter")
    assert (read.user_tokens, read.item_tokens) == (["é#1", "v"], ["i", "j"])
    assert (read.users.tolist(), read.items.tolist(), read.times.tolist()) == ([0, 1, 0], [0, 1, 1], [1.5e9, -3, 7])
    assert (read.users.dtype, read.items.dtype, read.times.dtype) == (np.int32, np.int32, np.float64)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-8-sig", "gb18030"])
def test_encoding_separator_and_names_are_those_of_the_settings(tmp_path, encoding):
    text = "uid:token;iid:token;when:float;stars:float\né\ti;soap;5;4.5\nv;mask;6;\n"
    (tmp_path / "x.inter").write_bytes(text.encode(encoding))
    settings = {
        "USER_ID_FIELD": "uid",
        "ITEM_ID_FIELD": "iid",
        "TIME_FIELD": "when",
        "RATING_FIELD": "stars",
        "encoding": encoding,
        "field_separator": ";",
    }
    format = AtomicFormat.of(settings)
    assert read_interactions(tmp_path / "x.inter", format).user_tokens == ["é\ti", "v"]  # a tab is a letter here
    rows, faults = judged_interactions(tmp_path / "x.inter", format, ratings=True)
    assert (rows["rating"].to_list(), faults) == ([4.5, None], [])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encoding", "utf-9", "encoding: 'utf-9' must be an encoding that Python knows"),
        ("field_separator", ";;", "field_separator: ';;' must be one character"),
        ("field_separator", "\n", "must be one character"),
    ],
)
def test_a_format_that_is_none_is_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        AtomicFormat.of({key: value})


def test_values_are_kept_whatever_they_hold(tmp_path):
    odd = ["a\x01b", "a\x00b", "a\rb", "a\x0bb", "a\u2028b", "[x]*?", 'said "hi"', "\ufffd", "N/A?", "-"]
    text = HEADER.replace("\n", "\trating:float\treview:token_seq\n")
    text += "".join(f"{user}\ti\t1\t\tfine\n" for user in odd)
    path = tmp_path / "[glob]*.inter"
    path.write_bytes(text.encode())
    assert read_interactions(path).user_tokens == odd


def test_missing_words_are_those_of_pandas(tmp_path):
    letters = ["", "#", "n", "N", "a", "A", "/", "na", "NA", "null", "Null", "NULL", "None", "none", "nan", "NaN", "-"]
    words = {a + b + c for a in letters for b in letters for c in letters} | set(MISSING_WORDS) - {""} | {"inf", "0"}
    words = sorted(word for word in words if word)
    (tmp_path / "x.tsv").write_text("x\n" + "".join(f"{word}\n" for word in words), encoding="utf-8")
    missing = pd.read_csv(tmp_path / "x.tsv", sep="\t", dtype=str)["x"].isna()
    assert {word for word, is_missing in zip(words, missing, strict=True) if is_missing} == set(MISSING_WORDS)


def test_a_good_file_is_read_once_and_a_changed_one_again(tmp_path, monkeypatch):
    path = tmp_path / "x.inter"
    path.write_text(HEADER + "u\ti\t1\n")
    check_interactions(path)
    monkeypatch.setattr(interactions, "judged_interactions", lambda *_: pytest.fail("read again"))
    check_interactions(path)
    monkeypatch.undo()
    path.write_text(HEADER + "u\ti\t1\n\ti\t2\n")
    with pytest.raises(ValueError, match="line 3: user_id is empty"):
        check_interactions(path)


@pytest.mark.parametrize("hashes", ["own", "few", "one"])
def test_ids_are_told_apart_whatever_their_hashes_are(tmp_path, monkeypatch, hashes):
    if hashes != "own":
        own, count = interactions._hashes, 3 if hashes == "few" else 1
        monkeypatch.setattr(
            interactions, "_hashes", lambda tokens, seed: own(tokens, seed) % count if seed == 1 else own(tokens, seed)
        )
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=200).tolist(), rng.integers(50, size=200).tolist()
    path = tmp_path / "x.inter"
    rows = [f"u{user}\ti{item}\t{time}" for time, (user, item) in enumerate(zip(users, items, strict=True))]
    path.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n", encoding="utf-8")
    found = read_interactions(path)
    assert found.user_tokens == [f"u{user}" for user in dict.fromkeys(users)]
    assert found.item_tokens == [f"i{item}" for item in dict.fromkeys(items)]
    assert [found.user_tokens[number] for number in found.users] == [f"u{user}" for user in users]
    assert [found.item_tokens[number] for number in found.items] == [f"i{item}" for item in items]
