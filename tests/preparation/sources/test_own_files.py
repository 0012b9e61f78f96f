"""Tables with names of their own and atomic files end in files that the project's and RecBole's loaders read."""

import polars as pl
import pytest
from raw_rows import ITEMS, everybody_takes_everything, read

from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.atomic import AtomicFolder
from recbole_mgr.preparation.sources.table import Columns, Form, Table


def test_reviews_that_belong_to_no_interaction_are_told(tmp_path):
    source = tmp_path / "Shop"
    source.mkdir()
    inter = ["user_id:token\titem_id:token\ttimestamp:float", *(f"u{u}\ti{i}\t1" for u in range(3) for i in range(3))]
    (source / "Shop.inter").write_text("\n".join(inter))
    head = "user_id:token\titem_id:token\treview:token_seq\n"
    (source / "Shop.review").write_text(f"{head}u1\ti1\tfine\nu1\ti1\ttwice\n9\ti1\tnobody's\n")
    said = []
    settings = Settings(name="Out", output=tmp_path / "data", user_core=0, item_core=0)
    prepare(AtomicFolder(source), settings, said.append)
    told = " ".join("\n".join(said).split())
    assert "reviews of Shop.review that belong to an interaction 1 of 3 (33.3 %)" in told
    partners = "1 of 3; without partner are 'u1 i1' and 'u0 i0'"  # and no way in which ids would meet that do
    assert f"warning: reviews of Shop.review that belong to an interaction: {partners}" in said
    (source / "Shop.review").write_text(f"{head}U1\ti1\tfine\n")
    with pytest.raises(ValueError, match="0 of 1; .*in lower case, 'U1 i1' and 'u1 i1' would meet"):
        prepare(AtomicFolder(source), settings._replace(name="Other"), said.append)


@pytest.mark.parametrize("ids", [[1087750.0, None, 7.0], [1087750, 2, 7]])
def test_ids_that_pandas_made_numbers_of(tmp_path, ids):
    frame = pl.DataFrame({"user_id": ["u", "v", "w"], "item_id": ids, "timestamp": [1, 2, 3]})
    frame.write_parquet(tmp_path / "x.csv")  # what it is its content says
    settings = Settings(name="Out", output=tmp_path, user_core=0, item_core=0, broken_share=0.5)
    folder = prepare(Table(tmp_path / "x.csv", None, Columns()), settings, lambda _: None)
    assert [row["item_id"] for row in read(folder, "inter")] == [f"{item:.0f}" for item in ids if item]


def test_a_table_with_names_of_its_own(tmp_path, prepared, server, picture):
    server.files["web.jpg"] = picture()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "front.jpg").write_bytes(picture())
    rows = ["who;what;when;stars;words"]
    rows += [f'u{u};p{i};2013-10-{day - 15_990} 12:00:00;4.5;"a;b"' for u, i, day in everybody_takes_everything()]
    (tmp_path / "orders.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    goods = {
        "what": [f"p{i}" for i in range(ITEMS)],
        "label": ["Balm", "Soap", None, "Comb"],
        "price": ["3.50", "free", None, "2"],
        "tag list": [["a", "b"], [], None, ["c"]],
        "photo": ["front.jpg", f"{server.url}/ok/web.jpg", None, "none.jpg"],
    }
    pl.DataFrame(goods).write_parquet(tmp_path / "goods.parquet")
    names = Columns(user="who", item="what", time="when", rating="stars", review="words", title="label", image="photo")
    source = Table(tmp_path / "orders.csv", tmp_path / "goods.parquet", names)
    folder = prepared(source, picture_folder=tmp_path / "photos", broken_share=0.4)  # one of three prices is "free"
    first, *_ = read(folder, "inter")
    assert first == {"user_id": "u0", "item_id": "p0", "timestamp": "1381406400", "rating": "4.5"}
    items = read(folder, "item")
    assert [item["title"] for item in items] == ["Balm", "Soap", "", "Comb"]
    assert [item["price"] for item in items] == ["3.5", "", "", "2.0"]
    assert [item["tag_list"] for item in items] == ["a, b", "", "", "c"]
    assert [item["image"] for item in items] == ["p0.jpg", "p1.jpg", "", ""]
    assert read(folder, "review")[0]["review"] == "a;b"


def test_a_shop_of_windows_that_writes_another_language(tmp_path):
    """Its encoding holds in messages too, what is not kept is told, and a column of prices has any name."""
    orders = [
        "Kunde;Artikel;Datum;Menge",
        *(f"Müller{u};Stück {i};1;2" for u in range(3) for i in range(3)),
        "Müller;;1;1",
    ]
    goods = ["Artikel;Name;Preis", *(f'Stück {i};"Öl; mild";1.299,5{i}' for i in range(3))]
    for name, rows in (("orders", orders), ("goods", goods)):
        (tmp_path / f"{name}.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    names = Columns(user="Kunde", item="Artikel", time="Datum", title="Name", price="Preis")
    source = Table(tmp_path / "orders.csv", tmp_path / "goods.csv", names, Form(encoding="cp1252"))
    said = []
    settings = Settings(name="Out", output=tmp_path / "data", user_core=0, item_core=0, broken_share=0.5)
    folder = prepare(source, settings, said.append)
    told = " ".join("\n".join(said).split())
    assert "orders.csv: columns that are not kept: Menge; of interactions" in told
    assert "no usable item_id ('Müller;;1;1')" in told
    assert [row["price"] for row in read(folder, "item")] == ["1299.5", "1299.51", "1299.52"]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["tag list", "tag_list"], {}),
        (["Name", "title"], {"title": "Name"}),
        (["Preis", "price"], {"price": "Preis"}),
        (["image", "image_url"], {}),
    ],
)
def test_columns_that_would_be_one_field_are_refused(tmp_path, columns, names):
    (tmp_path / "orders.csv").write_text("user_id,item_id,timestamp\nu,i,1\n")
    (tmp_path / "goods.csv").write_text(f"item_id,{','.join(columns)}\ni,a,b\n")
    with pytest.raises(ValueError, match=f"goods.csv: the columns '{columns[0]}' and '{columns[1]}' would both be"):
        Table(tmp_path / "orders.csv", tmp_path / "goods.csv", Columns(**names))


@pytest.mark.parametrize(
    ("times", "unit", "seconds"),
    [
        (["1700000000", " 1700000000.5 "], "s", [1700000000, 1700000000.5]),
        ([1700000000123, 5], "ms", [1700000000.123, 0.005]),
        (["2023-11-14", "2023-11-14T22:13:20Z"], "s", [1699920000, 1700000000]),
        (["2023-11-14 22:13:20.25", "2023-11-14 23:13:20+01:00"], "s", [1700000000.25, 1700000000]),
        (["2023-11-14 22:13", "14/11/2023"], "s", [1699999980, 1699920000]),
        (["1700000000", "2023-11-14"], "s", [1700000000, 1699920000]),
    ],
)
def test_times(tmp_path, times, unit, seconds):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": ["u", "v"], "item_id": ["i", "j"], "timestamp": times}).write_parquet(path)
    (batch,) = Table(path, None, Columns(), Form(time_unit=unit)).interactions()
    assert batch.frame["timestamp"].to_list() == seconds


def test_columns_of_any_type_are_texts_where_they_are_no_numbers(tmp_path):
    category, duration = pl.Categorical, pl.Duration("us")
    orders = {
        "user_id": pl.Series(["u", "v"], dtype=category),
        "item_id": pl.Series(["i", "j"], dtype=category),
        "timestamp": pl.Series(["2023-11-14", "2023-11-15"], dtype=category),
        "rating": pl.Series(["4.5", "1"], dtype=category),
    }
    goods = {
        "item_id": ["i", "j"],
        "price": pl.Series(["$3", "$1"], dtype=category),
        "lasts": pl.Series([1, 2], dtype=duration),
    }
    pl.DataFrame(orders).write_parquet(tmp_path / "orders.parquet")
    pl.DataFrame(goods).write_parquet(tmp_path / "goods.parquet")
    source = Table(tmp_path / "orders.parquet", tmp_path / "goods.parquet", Columns())
    folder = prepare(source, Settings(name="Out", output=tmp_path, user_core=0, item_core=0), lambda _: None)
    first, _ = read(folder, "inter")
    assert first == {"user_id": "u", "item_id": "i", "timestamp": "1699920000", "rating": "4.5"}
    assert [(item["price"], item["lasts"]) for item in read(folder, "item")] == [
        ("3.0", "0:00:00.000001"),
        ("1.0", "0:00:00.000002"),
    ]


@pytest.mark.parametrize("odd", [[[1, 2], [2]], pl.Series([1, 2], dtype=pl.Duration("us"))], ids=["lists", "durations"])
def test_times_of_a_type_that_tells_none_are_named(tmp_path, odd):
    pl.DataFrame({"user_id": ["u", "v"], "item_id": ["i", "j"], "timestamp": odd}).write_parquet(tmp_path / "x.parquet")
    settings = Settings(name="Out", output=tmp_path, user_core=0, item_core=0)
    with pytest.raises(ValueError, match="of 2 rows are broken, the first in line 1: time that cannot be read"):
        prepare(Table(tmp_path / "x.parquet", None, Columns()), settings, lambda _: None)


def test_atomic_files_keep_what_they_hold(tmp_path, prepared, picture):
    source = tmp_path / "Shop"
    (source / "images").mkdir(parents=True)
    (source / "images" / "old.jpg").write_bytes(picture())
    rows = ["item_id:token\tuser_id:token\ttimestamp:float\textra:float"]
    rows += [f"i{i}\tu{u}\t{day}.5\t1" for u, i, day in everybody_takes_everything()]
    (source / "Shop.inter").write_text("\n".join(rows) + "\n")
    (source / "Shop.item").write_text(
        'item_id:token\tyear:float\tclass:token_seq\timage:token\ni0\t1999\t7" one two\told.jpg\ni1\t\t\t\n'
    )
    (source / "Shop.review").write_text("user_id:token\titem_id:token\treview:token_seq\nu1\ti1\tfine\n")
    (source / "Shop.provenance.yaml").write_text("source: invented\nlicence: MIT\nsynthetic: true\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "i1.jpg").write_bytes(picture())
    folder = prepared(AtomicFolder(source))
    assert read(folder, "inter")[0] == {"user_id": "u0", "item_id": "i0", "timestamp": "16000.5"}
    assert (folder / "Out.item").read_text().startswith("item_id:token\tyear:float\tclass:token_seq\timage:token\n")
    assert read(folder, "item")[0] == {"item_id": "i0", "year": "1999", "class": '7" one two', "image": "i0.jpg"}
    assert read(folder, "review") == [{"user_id": "u1", "item_id": "i1", "review": "fine"}]
    provenance = (folder / "Out.provenance.yaml").read_text()
    assert "synthetic: true" in provenance and "source: invented" in provenance
    with_more = prepared(AtomicFolder(source), "More", picture_folder=tmp_path / "more")
    assert [row["image"] for row in read(with_more, "item")][1] == "i1.jpg"
