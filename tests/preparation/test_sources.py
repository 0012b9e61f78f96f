"""Each raw format, written as its publisher writes it, ends in files that the project's and RecBole's loaders read."""

import gzip
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from recbole_mgr.preparation.download import DownloadLimits
from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.amazon_2014 import Amazon2014
from recbole_mgr.preparation.sources.amazon_2018 import Amazon2018
from recbole_mgr.preparation.sources.amazon_2023 import Amazon2023
from recbole_mgr.preparation.sources.atomic import AtomicFolder
from recbole_mgr.preparation.sources.h_and_m import HAndM
from recbole_mgr.preparation.sources.movielens import MovieLens1m, MovieLens100k
from recbole_mgr.preparation.sources.raw_files import RawFolder
from recbole_mgr.preparation.sources.table import Columns, Form, Table

USERS, ITEMS = 6, 4
DAY = 86_400
QUICK = DownloadLimits(parallel=2, timeout=1, attempts=1)


def everybody_takes_everything():
    """(user, item, day): all items on two days, so that times tie."""
    return [(user, item, 16_000 + item // 2) for user in range(USERS) for item in range(ITEMS)]


def read(folder: Path, suffix: str) -> list[dict]:
    lines = (folder / f"{folder.name}.{suffix}").read_text(encoding="utf-8").split("\n")
    names = [column.split(":")[0] for column in lines[0].split("\t")]
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:-1]]


@pytest.fixture
def prepared(tmp_path, load_with_recbole):
    """Prepare a source, load it with RecBole, and return its folder."""

    def run(source, name="Out", **settings):
        settings = {"user_core": 2, "item_core": 2, "limits": QUICK, **settings}
        folder = prepare(source, Settings(name=name, output=tmp_path / "data", **settings), lambda _: None)
        dataset = load_with_recbole(folder)
        assert (dataset.user_num - 1, dataset.item_num - 1) == (USERS, ITEMS)
        assert dataset.inter_num == USERS * ITEMS
        inter = read(folder, "inter")
        for user in {row["user_id"] for row in inter}:
            items = [row["item_id"][-1] for row in inter if row["user_id"] == user]
            assert items == ["0", "1", "2", "3"]  # ties keep the order of the source
        return folder

    return run


def write_gz(path, lines):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def amazon_reviews(path):
    write_gz(
        path,
        [
            json.dumps(
                {
                    "reviewerID": f"A{user}",
                    "asin": f"B000{item}",
                    "reviewerName": 'Ann "Annie"',
                    "helpful": [0, 2],
                    "reviewText": f'"So" good &amp; cheap,\n\tuser {user}',
                    "overall": 5.0 - item,
                    "summary": "Good",
                    "unixReviewTime": day * DAY,
                    "reviewTime": "10 22, 2013",
                }
            )
            for user, item, day in everybody_takes_everything()
        ],
    )


def test_amazon_2014(tmp_path, prepared, server, picture):
    server.files["0.jpg"] = picture()
    amazon_reviews(tmp_path / "reviews_Beauty_5.json.gz")
    write_gz(
        tmp_path / "meta_Beauty.json.gz",
        [
            # Python literals: single quotes, no JSON
            f"{{'asin': 'B0000', 'title': 'Mom\\'s \"best\" &amp; <b>Balm</b>', 'imUrl': '{server.url}/ok/0.jpg', "
            "'related': {'also_bought': ['B9']}, 'salesRank': {'Beauty': 1}, 'price': 3.2, 'brand': 'Ümlaut', "
            "'categories': [['Beauty', 'Skin Care'], ['Other']]}",
            f"{{'asin': 'B0001', 'imUrl': '{server.url}/dead/1.jpg'}}",
            "{'asin': 'B0002', 'title': '', 'imUrl': 'http://g.example/icons/no-img-sm._V1_.gif', 'description': 'x'}",
            "{'asin': 'B9999', 'title': 'nobody bought it'}",
            "{'asin': 'B0000', 'title': 'a second row'}",
        ],
    )
    folder = prepared(Amazon2014(RawFolder(tmp_path), "Beauty"))
    first, *_ = read(folder, "inter")
    assert first == {"user_id": "A0", "item_id": "B0000", "timestamp": str(16_000 * DAY), "rating": "5.0"}
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["B0000"] | {"image_url": ""} == {
        "item_id": "B0000",
        "title": 'Mom\'s "best" & Balm',
        "brand": "Ümlaut",
        "categories": "Beauty > Skin Care",
        "price": "3.2",
        "description": "",
        "image_url": "",
        "image": "B0000.jpg",
    }
    assert (folder / "images" / "B0000.jpg").read_bytes() == server.files["0.jpg"]
    assert items["B0001"]["image"] == items["B0002"]["image_url"] == items["B0003"]["title"] == ""
    assert read(folder, "review")[0]["review"] == '“So" good & cheap, user 0'
    missing = (folder / "missing_pictures.tsv").read_text()
    assert f"B0001\t{server.url}/dead/1.jpg\tHTTP 404 Not Found" in missing


def test_amazon_2018(tmp_path, prepared, server, picture):
    server.files["0.png"] = picture(kind="PNG")
    amazon_reviews(tmp_path / "Luxury_Beauty_5.json.gz")
    garbage = "\n\n<script type='text/javascript'>var aPageStart = (new Date()).getTime();</script>Amazon.com: x"
    metas = [
        {
            "asin": "B0000",
            "category": ["Beauty", "Bath &amp; Body"],
            "title": 'Soap <span class="a">bar</span>',
            "price": "$1,299.50",
            "description": ["First.", "Second."],
            "imageURL": [f"{server.url}/dead/small.jpg"],
            "imageURLHighRes": [f"{server.url}/ok/0.png"],
        },
        {"asin": "B0001", "title": garbage, "price": ".a-box-inner{background-color:#fff}#alohaBuyBoxWidget{}"},
        {"asin": "B0002", "title": "Brush", "price": "$5.00 - $9.99", "imageURLHighRes": []},
        {"asin": "B0003", "title": "<style>.x{}</style>Comb", "image": [], "price": "9,99"},
    ]
    write_gz(tmp_path / "meta_Luxury_Beauty.json.gz", [json.dumps(meta) for meta in metas])
    folder = prepared(Amazon2018(RawFolder(tmp_path), "Luxury_Beauty"))
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["B0000"]["title"] == "Soap bar"
    assert items["B0000"]["categories"] == "Beauty > Bath & Body"
    assert items["B0000"]["description"] == "First. Second."
    assert items["B0000"]["image"] == "B0000.png"
    assert [items[f"B000{n}"]["price"] for n in range(4)] == ["1299.5", "", "5.0", ""]  # 9,99 is not 999
    assert [items[f"B000{n}"]["title"] for n in (1, 2, 3)] == ["", "Brush", "Comb"]


def amazon_2023_reviews():
    return [
        {
            "rating": 4.0,
            "title": "t",
            "text": "good<br /><br />stuff",
            "images": [],
            "asin": f"V{item}",
            "parent_asin": f"P{item}",
            "user_id": f"AE{user}",
            "timestamp": day * DAY * 1000 + 923,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for user, item, day in everybody_takes_everything()
    ]


def check_amazon_2023(folder):
    assert read(folder, "inter")[0]["timestamp"] == f"{16_000 * DAY}.923"  # milliseconds are exact
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["P0"]["brand"] == "Howard"
    assert items["P0"]["image_url"].endswith("/ok/main.jpg")
    assert (items["P0"]["image"], items["P1"]["image"]) == ("P0.jpg", "")
    assert (items["P0"]["price"], items["P1"]["price"]) == ("24.99", "")
    assert items["P0"]["description"] == "A. B."
    assert read(folder, "review")[0]["review"] == "good stuff"


def test_amazon_2023_json(tmp_path, prepared, server, picture):
    server.files["main.jpg"] = picture()
    write_gz(tmp_path / "All_Beauty.jsonl.gz", map(json.dumps, amazon_2023_reviews()))
    images = [
        {"thumb": "http://x/t", "large": "http://x/side.jpg", "variant": "PT01", "hi_res": None},
        {"thumb": "http://x/t", "large": f"{server.url}/ok/main.jpg", "variant": "MAIN", "hi_res": "http://x/h"},
    ]
    metas = [
        {
            "parent_asin": "P0",
            "title": "Spray",
            "store": "Howard",
            "price": 24.99,
            "images": images,
            "description": ["A.", "B."],
            "categories": ["Beauty"],
            "details": {"Brand": "x"},
        },
        {"parent_asin": "P1", "title": "Gel", "price": None, "images": [], "store": None, "description": []},
    ]
    (tmp_path / "meta_All_Beauty.jsonl").write_text("\n".join(map(json.dumps, metas)))
    check_amazon_2023(prepared(Amazon2023(RawFolder(tmp_path), "All_Beauty")))


def test_amazon_2023_parquet(tmp_path, prepared, server, picture):
    server.files["main.jpg"] = picture()
    reviews, meta = tmp_path / "raw_review_All_Beauty", tmp_path / "raw_meta_All_Beauty"
    reviews.mkdir()
    meta.mkdir()
    rows = pl.DataFrame(amazon_2023_reviews())
    rows[:10].write_parquet(reviews / "full-00000-of-00002.parquet")
    rows[10:].write_parquet(reviews / "full-00001-of-00002.parquet")
    # Parquet has one list per size, not one mapping per picture
    images = [
        {"hi_res": [None, None], "large": ["http://x/s", f"{server.url}/ok/main.jpg"], "variant": ["PT01", "MAIN"]},
        {"hi_res": [], "large": [], "variant": []},
    ]
    columns = {"parent_asin": ["P0", "P1"], "title": ["Spray", "Gel"], "store": ["Howard", None], "images": images}
    columns |= {"price": ["24.99", "None"], "description": [["A.", "B."], []], "categories": [["Beauty"], []]}
    pl.DataFrame(columns).write_parquet(meta / "full-00000-of-00001.parquet")
    check_amazon_2023(prepared(Amazon2023(RawFolder(tmp_path), "All_Beauty")))


def test_movielens_100k(tmp_path, prepared, picture):
    rows = [f"{user}\t{item + 10}\t3\t{day * DAY}" for user, item, day in everybody_takes_everything()]
    (tmp_path / "u.data").write_text("\n".join(rows) + "\n")
    flags = ["0"] * 19
    flags[4] = flags[5] = "1"
    movies = [f"{item + 10}|Léon {item} (1994)|01-Jan-1994||http://x|{'|'.join(flags)}" for item in range(ITEMS)]
    (tmp_path / "u.item").write_bytes("\n".join(movies).encode("latin-1"))
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "11.jpg").write_bytes(picture())
    folder = prepared(MovieLens100k(RawFolder(tmp_path)))
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["11"] == {
        "item_id": "11",
        "title": "Léon 1 (1994)",
        "categories": "Children's, Comedy",
        "image": "11.jpg",
    }
    assert items["12"]["image"] == ""


def test_movielens_1m_from_the_archive(tmp_path, prepared, picture, server):
    rows = [f"{user}::{item + 10}::3::{day * DAY}" for user, item, day in everybody_takes_everything()]
    movies = [f"{item + 10}::Misérables, Les ({item})::Drama|Musical" for item in range(ITEMS)]
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "\n".join(rows) + "\n")
        archive.writestr("ml-1m/movies.dat", "\n".join(movies).encode("latin-1"))
    server.files["ml-1m.zip"] = (tmp_path / "made.zip").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "13.png").write_bytes(picture(kind="PNG"))
    raw = RawFolder(tmp_path / "raw", download=True, base=f"{server.url}/ok", limits=QUICK)
    folder = prepared(MovieLens1m(raw), picture_folder=tmp_path / "elsewhere")
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["13"] == {
        "item_id": "13",
        "title": "Misérables, Les (3)",
        "categories": "Drama, Musical",
        "image": "13.png",
    }
    asked = len(server.requests)
    MovieLens1m(raw)
    assert len(server.requests) == asked  # unpacked already


def test_h_and_m(tmp_path, prepared, picture):
    rows = ["t_dat,customer_id,article_id,price,sales_channel_id"]
    rows += [f"2018-09-2{day - 16_000},{'0' * 63}{u},010877501{i},0.05,2" for u, i, day in everybody_takes_everything()]
    (tmp_path / "transactions_train.csv").write_text("\n".join(rows) + "\n")
    header = "article_id,product_code,prod_name,product_type_name,product_group_name,colour_group_name,department_name"
    articles = [f"{header},index_name,detail_desc"]
    articles += [
        f'010877501{i},1,"Strap, top",Vest,Upper body,Black,Jersey,Ladieswear,"A ""nice"" top"' for i in range(3)
    ]
    (tmp_path / "articles.csv").write_text("\n".join(articles) + "\n")
    (tmp_path / "images" / "010").mkdir(parents=True)
    (tmp_path / "images" / "010" / "0108775011.jpg").write_bytes(picture())
    folder = prepared(HAndM(tmp_path))
    assert read(folder, "inter")[0]["timestamp"] == "1537401600"  # 2018-09-20, UTC
    items = {row["item_id"]: row for row in read(folder, "item")}
    assert items["0108775011"] == {
        "item_id": "0108775011",
        "title": "Strap, top",
        "categories": "Ladieswear > Upper body > Vest",
        "colour": "Black",
        "department": "Jersey",
        "description": 'A "nice" top',
        "image": "0108775011.jpg",
    }
    assert not (folder / "Out.review").exists()
    types = dict(column.split(":") for column in (folder / "Out.item").read_text().split("\n")[0].split("\t"))
    assert types["colour"] == types["department"] == "token_seq"  # which encoders of texts read


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
    assert "warning: reviews of Shop.review that belong to an interaction: 1 of 3; without partner are" in told
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


WRONG = {
    "no raw files": (
        lambda p: Amazon2014(RawFolder(p), "Beauty"),
        "needs one of the files reviews_Beauty_5.json.gz,.*",
    ),
    "no archive": (lambda p: MovieLens1m(RawFolder(p)), "ml-1m.zip.*--download"),
    "no csv": (lambda p: HAndM(p), "transactions_train.csv does not exist"),
    "no table": (lambda p: Table(p / "x.csv", None, Columns()), "x.csv does not exist"),
    "no inter": (lambda p: AtomicFolder(p), ".inter does not exist"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_missing_raw_files_are_named(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


def test_missing_columns_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("user,item_id,timestamp,line_number\n")
    with pytest.raises(ValueError, match="has no column 'user_id'; name the right one with --user: 'user', 'item_id'"):
        Table(tmp_path / "x.csv", None, Columns())
    with pytest.raises(ValueError, match="has no column 'stars'; name the right one with --rating"):
        Table(tmp_path / "x.csv", None, Columns(user="user", rating="stars"))
    with pytest.raises(ValueError, match="'line_number' has a meaning of its own here"):
        Table(tmp_path / "x.csv", None, Columns(user="user"))
