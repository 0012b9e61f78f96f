"""Amazon's three formats, written as their publishers write them, end in files that the project's and RecBole's
loaders read."""

import json

import polars as pl
from raw_rows import DAY, everybody_takes_everything, read, write_gz

from recbole_mgr.preparation.sources.amazon_2014 import Amazon2014
from recbole_mgr.preparation.sources.amazon_2018 import Amazon2018
from recbole_mgr.preparation.sources.amazon_2023 import Amazon2023
from recbole_mgr.preparation.sources.raw_files import RawFolder


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
