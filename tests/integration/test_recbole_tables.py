"""RecBole sees of an atomic file what pandas makes of a clean one, and of any other what our readers do."""

import io

import numpy as np
import pandas as pd
import pytest

from recbole_mgr.integration.recbole_tables import open_without_mark, read_recbole_table
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

HEADER = "user_id:token\titem_id:token\tprice:float\twords:token_seq\tplace:float_seq"
ROWS = [
    "u1\ti1\t1.5\tred soap\t1 2",
    "NA\t\t\t\t",
    "u2\t007\tNaN\tNA\t.5",
    "u1\tü\t-1e-300\ta\t",
    "nan x\t1.0\t7\tx y\t3",
]
DTYPES = {column: np.float64 if column.endswith(":float") else str for column in HEADER.split("\t")}


@pytest.mark.parametrize("columns", [list(DTYPES), ["item_id:token", "price:float"]])
def test_equal_to_the_call_that_it_takes_the_place_of(tmp_path, columns):
    path = tmp_path / "x.inter"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n", encoding="utf-8")
    asked = {"delimiter": "\t", "usecols": columns, "dtype": DTYPES, "encoding": "utf-8", "engine": "python"}
    expected = pd.read_csv(path, **asked)
    sequences = [column for column in columns if column.endswith("_seq")]
    expected[sequences] = expected[sequences].fillna("")  # as RecBole does next
    pd.testing.assert_frame_equal(read_recbole_table(str(path), **asked), expected)


def test_numbers_are_read_to_the_last_bit(tmp_path):
    numbers = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.random.default_rng(1).integers(-300, 300, 2000)
    path = tmp_path / "x.inter"
    path.write_text("x:float\n" + "".join(f"{number!r}\n" for number in numbers.tolist()))
    read = read_recbole_table(str(path), delimiter="\t", usecols=["x:float"], dtype={"x:float": np.float64})
    assert (read["x:float"].to_numpy() == numbers).all()


def test_words_among_numbers_are_named(tmp_path):
    (tmp_path / "x.item").write_text("item_id:token\tprice:float\na\t1\nb\tcheap\n")
    with pytest.raises(ValueError, match=r"x\.item, line 3: price is not a number \('cheap'\)"):
        read_recbole_table(
            str(tmp_path / "x.item"), delimiter="\t", usecols=["item_id:token"], dtype={"item_id:token": str}
        )


def test_the_first_line_loses_its_mark(tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfuser_id:token\n")
    with open_without_mark(tmp_path / "x", "r", encoding="utf-8") as file:
        assert file.readline() == "user_id:token\n"
    with open_without_mark(tmp_path / "x", "rb") as file:
        assert isinstance(file, io.BufferedReader)


WRITTEN = {
    "byte order mark": ({}, lambda text: b"\xef\xbb\xbf" + text.encode()),
    "Windows line ends": ({}, lambda text: text.replace("\n", "\r\n").encode()),
    "blank lines": ({}, lambda text: (text.replace("\n", "\n\n") + "\t\t\n \n").encode()),
    "another encoding": ({"encoding": "utf-16"}, lambda text: text.encode("utf-16")),
    "another separator": ({"field_separator": ";"}, lambda text: text.replace("\t", ";").encode()),
    "other names": (
        {"USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when"},
        lambda text: text.replace("user_id", "who").replace("item_id", "what").replace("timestamp", "when").encode(),
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_table_does_not_depend_on_how_its_files_are_written(
    tmp_path, monkeypatch, write_dataset, tiny_settings, kind, plain_ranks
):
    settings, written = WRITTEN[kind]
    if "TIME_FIELD" in settings:
        settings = settings | {"load_col": {"inter": ["who", "what", "when"]}}
    assert ranks(tmp_path, monkeypatch, write_dataset, tiny_settings, written, settings) == plain_ranks


@pytest.fixture(scope="module")
def plain_ranks(tmp_path_factory, write_dataset, tiny_settings):
    with pytest.MonkeyPatch.context() as patch:
        return ranks(tmp_path_factory.mktemp("plain"), patch, write_dataset, tiny_settings, str.encode, {})


def ranks(folder, monkeypatch, write_dataset, tiny_settings, written, settings) -> list[list[int]]:
    """Ranks of the test targets by one of our models and one of RecBole's."""
    data = write_dataset(folder)
    text = (data / "tiny.inter").read_text()
    (data / "tiny.inter").write_bytes(written(text))
    items = sorted({line.split("\t")[1] for line in text.splitlines()[1:]})
    rows = "".join(f"{item}\tTitle\n" for item in items)
    (data / "tiny.item").write_bytes(written(f"item_id:token\ttitle:token_seq\n{rows}"))
    monkeypatch.chdir(folder)
    asked = tiny_settings(folder, n_layers=1, num_threads=1, epochs=1, **settings)
    results = run_comparison(
        [ModelRequest("TIGER", {"modalities": "text"}), ModelRequest("BPR", {})], "tiny", settings=asked
    )
    return [result.ranks.tolist() for result in results.results]
