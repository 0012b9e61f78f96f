"""Bad interaction files are refused with file, line and remedy; provenance labels and fingerprints the data."""

import pytest

from recbole_mgr.data.atomic_files import check_interactions, read_provenance

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"

BAD_FILES = {
    "empty": ("", "line 1: column '' is not written name:type"),
    "only a header": (HEADER, "holds no interactions"),
    "only blank lines": (HEADER + "\n\n", "holds no interactions"),
    "untyped column": ("user_id\titem_id:token\ttimestamp:float\nu\ti\t1\n", "line 1: column 'user_id' is not"),
    "unknown type": ("user_id:str\titem_id:token\ttimestamp:float\nu\ti\t1\n", "line 1: column 'user_id:str'"),
    "commas": (HEADER.replace("\t", ",") + "u,i,1\n", "columns are separated by tabs"),
    "column twice": (HEADER.replace("item_id", "user_id") + "u\ti\t1\n", "line 1: column 'user_id' stands there twice"),
    "no time": ("user_id:token\titem_id:token\nu\ti\n", "line 1: needs a column timestamp:float"),
    "time as token": (HEADER.replace("float", "token") + "u\ti\t1\n", "line 1: needs a column timestamp:float"),
    "no item": ("user_id:token\ttimestamp:float\nu\t1\n", "line 1: needs a column item_id:token"),
    "byte order mark": ("\ufeff" + HEADER + "u\ti\t1\n", r"line 1: needs a column user_id:token.*ufeffuser_id"),
    "too many values": (HEADER + "u\ti\t1\nu\tj\t2\tx\n", "line 3, saw 4; every line needs 3 values"),
    "too many values everywhere": (HEADER + "u\ti\t1\tx\nu\tj\t2\tx\n", "line 2: more than 3 values"),
    "too few values": (HEADER + "u\ti\t1\nu\tj\n", "line 3: timestamp is not a number"),
    "empty user": (HEADER + "u\ti\t1\n\ti\t1\n", "line 3: user_id is empty"),
    "empty item after a blank line": (HEADER + "u\ti\t1\n\nu\t\t1\n", r"line 4: item_id is empty.*\(1 such lines\)"),
    "word RecBole reads as missing": (HEADER + "NA\ti\t1\nu\ti\t1\n", "line 2: user_id is .* reads as missing"),
    "quotation mark": (HEADER + 'u\ti\t1\nu\t"j\t2\nv\tj"\t2\n', "line 3: item_id begins with a quotation mark"),
    "time in words": (HEADER + "u\ti\t1\nu\tj\tlate\n", r"line 3: timestamp is not a number.*'late'"),
    "infinite time": (HEADER + "u\ti\tinf\n", "line 2: timestamp is not a number"),
    "times in words": (HEADER + "u\ti\tx\nu\ti\t1\nu\ti\tx\n", r"line 2.*\(2 such lines\)"),
}


def check(path):
    check_interactions(path, user="user_id", item="item_id", time="timestamp")


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_interactions_are_refused(tmp_path, content, message):
    path = tmp_path / "bad.inter"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        check(path)
    assert str(path) in str(error.value)


def test_a_missing_file_names_the_folder_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"shop\.inter does not exist; --data_path must name the folder that holds"):
        check(tmp_path / "shop" / "shop.inter")


def test_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.inter"
    path.write_bytes((HEADER + "café\ti\t1\n").encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.inter: not UTF-8"):
        check(path)


def test_unusual_but_legal_files_pass(tmp_path):
    path = tmp_path / "good.inter"
    extra = HEADER.replace("\n", "\trating:float\treview:token_seq\n")
    path.write_text(extra + 'é#1\tsaid "hi"\t1.5e9\t\tfine\r\nv\tN/A?\t-3\t4\t\n\n', encoding="utf-8")
    check(path)


def test_provenance_labels_synthetic_data(tmp_path, write_dataset):
    real, made_up = write_dataset(tmp_path, "real"), write_dataset(tmp_path, "Beauty", synthetic=True)
    assert read_provenance(real, "real").label == "real"
    provenance = read_provenance(made_up, "Beauty")
    assert provenance.label == "Beauty (synthetic sample)"
    assert provenance.details["licence"] == "none"
    (real / "real.provenance.yaml").unlink()
    assert read_provenance(real, "real").details == {}


def test_the_fingerprint_follows_the_content_of_every_data_file(tmp_path, write_dataset):
    one, two = write_dataset(tmp_path / "one"), write_dataset(tmp_path / "two")
    before = read_provenance(one, "tiny").fingerprint
    assert len(before) == 12
    assert read_provenance(two, "tiny").fingerprint == before
    (two / "images").mkdir()
    (two / "notes.txt").write_text("not a data file")
    (two / "tiny.backup").mkdir()
    assert read_provenance(two, "tiny").fingerprint == before
    seen = {before}
    for suffix in ("inter", "text.npy", "image.ids"):
        file = one / f"tiny.{suffix}"
        file.write_bytes(file.read_bytes() + b" ")
        seen.add(read_provenance(one, "tiny").fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(("content", "message"), [("a: [", "not valid YAML"), ("- a list", "expected 'key: value'")])
def test_bad_provenance_is_refused(tmp_path, write_dataset, content, message):
    folder = write_dataset(tmp_path)
    (folder / "tiny.provenance.yaml").write_text(content)
    with pytest.raises(ValueError, match=f"tiny.provenance.yaml: {message}"):
        read_provenance(folder, "tiny")
