"""Text tables: quoting, broken rows, encodings and line numbers."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from recbole_mgr.preparation import delimited, opening
from recbole_mgr.preparation.delimited import EMPTY, WIDTH, delimited_batches, header, require_columns


def read(path, separator=",", problems=False, **options):
    frames = [batch.frame for batch in delimited_batches(path, separator=separator, **options)]
    return [row for frame in frames for row in (frame if problems else frame.drop("problem")).rows()]


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
    rows = read(path, separator="::", columns=["id", "title", "genre"], encoding="latin-1", quotes="none")
    assert rows == [("1", "Misérables, Les", "Drama", 1), (None, None, None, 2)]


UNCLOSED = {  # lines after the header a,b,c, and the line in which the mark opens
    "to the end": (["1,2,3", '4,"open,6', "7,8,9", "10,11,12"], 3),
    "to the next opening mark": (["1,2,3", '4,"open,6', "7,8,9", '10,"11, 12",13', "14,15,16"], 3),
    "to the next row's": (['1,"open,3', '4,"5, 6",7'], 2),
    "to an inch mark": (["1,2,3", '4,5,"6', "7,8,9", '10,11,12"', "13,14,15"], 3),
    "to an inch mark, behind honest rows of two lines": (
        ['1,"honest\nvalue",3', '1,"a, honest\nvalue",3', '4,5,"6', "7,8,9", '10,11,12"', "13,14,15"],
        6,
    ),
    "after a value that is closed": (['1,"two\nlines","open', "7,8,9", '10,"11",12'], 3),
    "in the last row": (["1,2,3", '4,5,"6'], 3),
    "over a mark that is doubled": (['1,2,"open', '3,4,""', "5,6,7"], 2),
}


@pytest.mark.parametrize(("lines", "where"), UNCLOSED.values(), ids=UNCLOSED)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_quotation_mark_that_never_closes_is_named(tmp_path, monkeypatch, lines, where, size):
    monkeypatch.setattr(delimited, "BATCH_ROWS", size)
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n" + "\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=f"x.csv, line {where}: a quotation mark opens .*--quotes none"):
        read(path)
    rows = read(path, quotes="none", problems=True)  # every line is a row then, or is counted
    assert len(rows) == len("\n".join(lines).splitlines())


def test_a_mark_that_opens_in_a_large_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n3,"open\n' + "4,5\n" * 50_000 + "6,7\n")
    with pytest.raises(
        ValueError, match="line 3: a quotation mark opens a value that does not close within 50,002 lines"
    ):
        read(path)


HONEST = {
    "prose": (['1,"Soft, mild,\nand for all, really",x'], [("1", "Soft, mild,\nand for all, really", "x")]),
    "empty values": (['1,"",""', '"","a","b"'], [("1", None, None), (None, "a", "b")]),
    "doubled marks": (['1,"7"" tablet","a\n""b"""'], [("1", '7" tablet', 'a\n"b"')]),
    "inches": (['1,7" tablet,9"', "2,x,y"], [("1", '7" tablet', '9"'), ("2", "x", "y")]),
    "a mark that is not doubled": (['1,"7" tablet",x', "2,y,z"], [("1", '7 tablet"', "x"), ("2", "y", "z")]),
    "a table in a value": (['1,"long\nvalue\nof four\nlines",x', '2,"k,v,w\n1,2,3",y'], None),
}


@pytest.mark.parametrize(("lines", "rows"), HONEST.values(), ids=HONEST)
def test_values_that_are_quoted_as_they_should_be(tmp_path, lines, rows):
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n" + "\n".join(lines) + "\n")
    found = [row[:3] for row in read(path)]
    assert found == rows if rows else len(found) == len(lines)


def test_rows_that_cannot_be_read_say_why(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n1\n,\n  \n3,4,5\n")
    expected = [("1", "2", 2, None), (None, None, 3, WIDTH), (None, None, 4, EMPTY), (None, None, 6, WIDTH)]
    assert read(path, problems=True) == expected
    path.write_text('a,b\n"1",2\n1\n,""\n  \n3,4,5\n')
    assert read(path, problems=True) == expected


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "plain": bytes}


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in members:
            archive.writestr(name, b"a,b\n1,2\n")
    return content.getvalue()


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.csv.zip"])
@pytest.mark.parametrize("packing", [*PACKED, "zip"])
def test_packing_is_told_by_the_content(tmp_path, packing, name):
    path = tmp_path / name
    path.write_bytes(zipped(["t/", "t/x.csv", "__MACOSX/x"]) if packing == "zip" else PACKED[packing](b"a,b\n1,2\n"))
    assert read(path) == [("1", "2", 2)]


TAR = b"x.csv".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 300
REFUSED = {
    "spreadsheet": (
        zipped(["[Content_Types].xml", "xl/workbook.xml"]),
        r"is a spreadsheet \(.xlsx.*save each sheet as CSV UTF-8",
    ),
    "two files": (zipped(["a.csv", "b.csv"]), "a zip archive of 2 files .'a.csv', 'b.csv'.; unpack it"),
    "no file": (zipped([]), "an empty zip archive"),
    "cut zip": (zipped(["a.csv"])[:40], "cannot be unpacked"),
    "cut xz": (lzma.compress(b"a,b\n" * 1000)[:-30], "cannot be unpacked after line .*get it again"),
    "cut bz2": (bz2.compress(b"a,b\n" * 1000)[:-30], "cannot be unpacked.*get it again"),
    "damaged bz2": (b"BZh9" + b"x" * 100, "cannot be unpacked"),
    "zstd": (b"\x28\xb5\x2f\xfd....", "is packed with zstd; unpack it"),
    "tar": (TAR, "holds a tar archive"),
    "tar.gz": (gzip.compress(TAR), "holds a tar archive"),
    "packed twice": (gzip.compress(gzip.compress(b"a,b\n")), "is packed twice"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is a spreadsheet \(.xls\)"),
    "pickle": (b"\x80\x04\x95\x00", "is a Python pickle, which can run code"),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-le"), "line 1: holds NUL characters; .*--encoding utf-16-le"),
    "empty": (b"", "is empty; its first line must name the columns"),
    "blank": (b"\n \n", "is empty"),
    "only the line for Excel": (b"sep=;\n", "is empty"),
    "names": (b'a,"b\n1,2\n', "line 1: the names of the columns cannot be read"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "utf-16-le"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, ends):
    path = tmp_path / "x.csv"
    path.write_bytes(ends.join(["a,b", "1,café", '2,"Œuvre"', "", " ", ""]).encode(encoding))
    named = {"encoding": encoding} if encoding in ("cp1252", "utf-16-le") else {}
    assert read(path, **named) == [("1", "café", 2), ("2", "Œuvre", 3)]


@pytest.mark.parametrize("named", ["utf-16", "utf-16-le", "utf_16_be"])
def test_a_mark_is_no_part_of_the_text_whatever_encoding_is_named(tmp_path, named):
    path = tmp_path / "x.csv"
    path.write_bytes("a,b\n1,café\n".encode("utf-16"))
    assert read(path, encoding=named) == [("1", "café", 2)]


def test_no_line_fills_the_memory(tmp_path, monkeypatch):
    for module in (opening, delimited):
        monkeypatch.setattr(module, "LONGEST_LINE", 100)
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1," * 100)
    with pytest.raises(ValueError, match="a line after line 1 has over 100 characters"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; its first line must name the columns"),
        (b"a,b,a\n1,2,3\n", "line 1: column 'a' stands there twice"),
        (b"a,b\n" + b"1,x\n" * 9_000 + b"1,caf\xe9\n2,y\n", "line 9002: not UTF-8 .'1,caf.*--encoding .cp1252"),
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


@pytest.mark.parametrize("first", ["sep=;\r\n", "\r\nsep=;\r\n", "\r\n"])
def test_excels_word_to_itself_is_passed_over(tmp_path, first):
    (tmp_path / "x.csv").write_text(f"{first}user;item\r\nu;i\r\n", newline="")
    (batch,) = delimited_batches(tmp_path / "x.csv", separator=";")
    assert header(tmp_path / "x.csv", ";") == ["user", "item"]
    assert batch.frame.select("user", "item", "line_number").rows() == [("u", "i", 2 + first.count("\n"))]
