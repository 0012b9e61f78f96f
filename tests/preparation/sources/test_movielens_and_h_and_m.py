"""MovieLens and H&M, written as their publishers write them, end in files that this project and RecBole read."""

import zipfile

from raw_rows import DAY, ITEMS, QUICK, everybody_takes_everything, read

from recbole_mgr.preparation.sources.h_and_m import HAndM
from recbole_mgr.preparation.sources.movielens import MovieLens1m, MovieLens100k
from recbole_mgr.preparation.sources.raw_files import RawFolder


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
