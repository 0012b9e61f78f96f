"""Rows read are rows kept and rows left out by reason, whatever the table looks like."""

import csv
import io

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_pipeline import rows_of, run

from recbole_mgr.preparation.sources.table import Columns, Form, Table

IDS = st.sampled_from(["a", "b", "c", " d ", "", "NA", "é", "00", 'q"', "x,y", "tab\tin"])
TIMES = st.sampled_from(["1700000000", "2023-11-14", "", "soon", " 1700000001 ", "nan", "inf"])
RATINGS = st.sampled_from(["4", "3.5", "", "NA", "5"])
ROWS = st.lists(st.tuples(IDS, IDS, TIMES, RATINGS), min_size=1, max_size=30)
DAMAGE = st.sampled_from(["", ",", ",,,", "only one", "a,b,1700000000,4,too many", "  ", '"a","b",1700000000,4'])


@given(
    rows=ROWS, damage=st.lists(st.tuples(st.integers(0, 30), DAMAGE), max_size=5), ends=st.sampled_from(["\n", "\r\n"])
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_kept_or_counted(tmp_path_factory, rows, damage, ends):
    """Against an account of its own: csv's reader, and a row for each line that is not blank."""
    folder = tmp_path_factory.mktemp("shop")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("user_id", "item_id", "timestamp", "rating"), *rows])
    lines = text.getvalue().splitlines()
    for place, line in damage:
        lines.insert(1 + place % len(lines), line)
    (folder / "x.csv").write_text(ends.join(lines), newline="")
    read = sum(1 for row in csv.reader(lines[1:]) if len(row) > 1 or "".join(row).strip())
    whole = 0
    for row in csv.reader(lines[1:]):
        ids = [value.strip() for value in row[:2]]
        legal = len(row) == 4 and all(name and name != "NA" and "\t" not in name for name in ids)
        whole += legal and row[2].strip() in ("1700000000", "2023-11-14", "1700000001")
    try:
        target = run(Table(folder / "x.csv", None, Columns()), folder, broken_share=1)
    except ValueError as error:
        assert not whole, error
        return
    assert len(rows_of(target / "Shop.inter")) == whole
    account = yaml.safe_load((target / "Shop.provenance.yaml").read_text())["preparation"]["rows"][
        "interactions (x.csv)"
    ]
    assert (account["read"], account["kept"]) == (read, whole)
    assert sum(account["left_out"].values()) == read - whole


def shop(folder, rows, items=None):
    """Tables as they are typed."""
    (folder / "orders.csv").write_text("user_id,item_id,timestamp,rating\n" + "\n".join(rows) + "\n")
    if items:
        (folder / "items.csv").write_text("\n".join(items) + "\n")
    return Table(folder / "orders.csv", folder / "items.csv" if items else None, Columns(), Form())


def test_the_table_at_the_end(tmp_path):
    rows = [f"u{u},i{i},{1_700_000_000 + u},{i % 5 + 1}" for u in range(4) for i in range(6)]
    rows += ["u0,i0,1700000000,1", "u9,i9,1700000000,5", "u1,i1,soon,2", ",i1,1700000000,3", "u1,i1", ",,,"]
    items = ["item_id,title", *(f"i{i},Soap {i}" for i in range(5)), "i0,Again", "z,Nobody's"]
    said = []
    run(
        shop(tmp_path, rows, items),
        tmp_path,
        said,
        user_core=4,
        item_core=3,
        min_rating=2,
        duplicates="copies",
        broken_share=0.2,
    )
    text = "\n".join(said)
    table = [" ".join(line.split()) for line in said]
    for line in (
        "interactions (orders.csv): rows read 30",
        "left out: time that cannot be read 1",
        "left out: no usable user_id 1",
        "left out: wrong number of values 1",
        "left out: nothing in it 1",
        "left out: rating at least 2 9",
        "left out: core of 4 a user, 3 an item 1",
        "kept 16",
        "items (items.csv): rows read 7",
        "left out: a second row of an item 1",
        "left out: of items without interactions 1",
        "left out: of items that were left out 1",
        "items that have a row of their own 4 of 4 (100.0 %)",
        "3 4 4 16",
        "recbole-mgr encode Shop --data_path " + str(tmp_path / "data") + " --modality text",
    ):
        assert line in table, (line, text)
    assert "column 'timestamp': 1 values are no times that can be read, the first is 'soon'" in text
    assert max(len(line) for line in said if not line.startswith(("warning", "  recbole"))) <= 100


def test_copies_alone_are_dropped_and_repeats_counted(tmp_path):
    rows = ["u,i,1,5", "u,i,1,5", "u,i,1,4", "u,i,2,5", "u,j,1,5"]
    said = []
    folder = run(shop(tmp_path, rows), tmp_path, said)
    assert len(rows_of(folder / "Shop.inter")) == 5
    assert "repeats: 3 interactions (60.0 %) take an item again, 1 as exact copies" in "\n".join(said)
    folder = run(shop(tmp_path, rows), tmp_path, name="Once", duplicates="copies")
    assert [row[2:] for row in rows_of(folder / "Once.inter")] == [
        ["1", "5.0"],
        ["1", "4.0"],
        ["1", "5.0"],
        ["2", "5.0"],
    ]


def test_a_core_that_leaves_little_warns_and_one_that_leaves_nothing_says_what_others_would(tmp_path):
    rows = [f"u{u},i{i},1,5" for u in range(3) for i in range(3)] + [f"v{n},j{n},1,5" for n in range(20)]
    said = []
    run(shop(tmp_path, rows), tmp_path, said, k_core=3)
    assert "warning: the 3-core leaves out 69 % of 29 interactions" in "\n".join(said)
    with pytest.raises(ValueError, match="nothing is left after the step '4-core'.*9 with 2-core, 9 with 3-core"):
        run(shop(tmp_path, rows), tmp_path, name="None", k_core=4)


def test_ids_that_do_not_meet_are_an_error_with_one_of_each_side(tmp_path, picture):
    rows = [f"u{n},{1087750 + n},1,5" for n in range(4)]
    items = ["item_id,title", *(f"0{1087750 + n},Vest" for n in range(4))]
    with pytest.raises(ValueError, match="0 of 4; .* '1087750' and '01087750'; without leading zeros.*in one way"):
        run(shop(tmp_path, rows, items), tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "01087750.png").write_bytes(picture(kind="PNG"))
    with pytest.raises(ValueError, match="items with a picture in .*photos: 0 of 4; .*'01087750'.*--no-images"):
        run(shop(tmp_path, rows), tmp_path, picture_folder=tmp_path / "photos")
    said = []
    run(shop(tmp_path, [*rows, "u,01087750,1,5"], items), tmp_path, said)
    assert "warning: items of the interactions with a row in items.csv: 1 of 5" in "\n".join(said)


def test_a_rating_that_cannot_be_read_never_decides_what_is_kept(tmp_path):
    rows = [f"u{n},i,1,good" for n in range(9)] + ["u,i,1,5"]
    with pytest.raises(ValueError, match="line 2, column 'rating': 9 of 10 values are no numbers.*'good'"):
        run(shop(tmp_path, rows), tmp_path, min_rating=4)
    rows = [f'u{n},i,1,"{n},5"' for n in range(1, 5)]
    folder = run(shop(tmp_path, rows), tmp_path, min_rating=3)
    assert [row[3] for row in rows_of(folder / "Shop.inter")] == ["3.5", "4.5"]


def test_ids_as_spreadsheets_and_pandas_damage_them(tmp_path):
    said = []
    run(shop(tmp_path, ["u,1.23457E+12,1,5", "v,1.23457E+12,1,5"]), tmp_path, said)
    assert "1 item ids are written like '1.23457E+12'" in "\n".join(said)
