"""Text tables: quoting, broken rows, encodings and line numbers."""

import gzip

import pytest

from recbole_mgr.preparation import delimited
from recbole_mgr.preparation.delimited import delimited_batches, require_columns


def read(path, **options):
    frames = [batch.frame for batch in delimited_batches(path, **options)]
    return [row for frame in frames for row in frame.rows()]


def test_rows_with_their_lines(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,"two\nlines, ""quoted"""\n\n3\n4,5,6\n7,\n8,9', encoding="utf-8-sig", newline="")
    assert read(path, separator=",") == [
        ("1", 'two\nlines, "quoted"', 3),
        (None, None, 5),
        (None, None, 6),
        ("7", None, 7),
        ("8", "9", 8),
    ]


def test_batches_are_seamless(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BATCH_ROWS", 7)
    path = tmp_path / "x.tsv.gz"
    with gzip.open(path, "wt") as file:
        file.write("a\tb\n" + "".join(f"{i}\t{i * i}\n" for i in range(50)))
    assert read(path, separator="\t") == [(str(i), str(i * i), i + 2) for i in range(50)]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_both_ways_of_reading_agree_wherever_a_batch_ends(tmp_path, monkeypatch, size):
    monkeypatch.setattr(delimited, "BATCH_ROWS", size)
    plain = ["1,2", "", "3", "4,5,6", "7,", ",8", "9,10\r"]
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "\n".join([*plain, '11,"x\n\ny"', "12,13", '"14",15']), newline="")
    expected = [("1", "2", 2), (None, None, 4), (None, None, 5), ("7", None, 6), (None, "8", 7), ("9", "10", 8)]
    assert read(path, separator=",") == [*expected, ("11", "x\n\ny", 11), ("12", "13", 12), ("14", "15", 13)]


def test_long_separators_and_other_encodings(tmp_path):
    path = tmp_path / "movies.dat"
    path.write_bytes("1::Misérables, Les::Drama\n2::Broken\n".encode("latin-1"))
    rows = read(path, separator="::", columns=["id", "title", "genre"], encoding="latin-1", quoted=False)
    assert rows == [("1", "Misérables, Les", "Drama", 1), (None, None, None, 2)]


def test_a_quotation_mark_that_never_closes_breaks_rows_only(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n3,"open\n' + "4,5\n" * 50_000 + "6,7\n")
    rows = read(path, separator=",")
    assert rows[0] == ("1", "2", 2)
    assert any(row[0] is None for row in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; its first line must name the columns"),
        (b"a,b,a\n1,2,3\n", "line 1: column 'a' stands there twice"),
        (b"a,b\n1,caf\xe9\n", "not utf-8-sig after line 0"),
    ],
)
def test_unreadable_tables(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(path, separator=",")
    assert str(path) in str(error.value)


def test_a_cut_archive_is_named(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])
    with pytest.raises(ValueError, match="x.csv.gz: cannot be unpacked after line .*get it again"):
        read(path, separator=",")


def test_a_column_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "articles.csv"
    path.write_text("article_id,prod_name\n1,Top\n")
    require_columns(path, ",", ["prod_name", "article_id"])
    with pytest.raises(ValueError, match="line 1: has no column 'detail_desc', only 'article_id', 'prod_name'"):
        require_columns(path, ",", ["article_id", "detail_desc"])
