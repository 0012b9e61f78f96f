"""JSON lines: the quick way and the careful way read the same, and broken lines are null rows with their number."""

import gzip
import json
import random

import polars as pl
import pytest

from recbole_mgr.preparation import raw_lines
from recbole_mgr.preparation.opening import excerpt
from recbole_mgr.preparation.raw_lines import json_batches, parquet_batches

SCHEMA = {"id": pl.String, "time": pl.Float64}


def read(path, schema=SCHEMA):
    return [row for batch in json_batches(path, schema) for row in batch.frame.drop("problem", strict=False).rows()]


def problems(path):
    """Of each row; batches without any have no such column."""
    frames = [batch.frame for batch in json_batches(path, SCHEMA)]
    return [
        row for frame in frames for row in frame.get_column("problem", default=pl.repeat(None, len(frame), eager=True))
    ]


def test_broken_lines_are_null_and_numbered(tmp_path):
    path = tmp_path / "x.json"
    lines = ['{"id": "a", "time": 1, "more": {"x": [1]}}', "", '{"id": "b", "ti', "[1]", '{"id": 7, "time": "2.5"}']
    lines += ['{"id": ["c"], "time": true}', '{"time": NaN, "id": "half \\ud83d"}', '{"id": "z", "time": 3}']
    path.write_text("\n".join(lines))
    rows = read(path)
    assert rows[:5] == [("a", 1.0, 1), (None, None, 3), (None, None, 4), ("7", 2.5, 5), (None, None, 6)]
    assert rows[5][0] == "half ?" and rows[5][2] == 7
    assert rows[6] == ("z", 3.0, 8)
    assert [problem is None for problem in problems(path)] == [True, False, False, True, True, True, True]
    assert excerpt(path, 3) == '{"id": "b", "ti'


def test_the_quick_way_reads_what_the_careful_way_reads(tmp_path, monkeypatch):
    generator = random.Random(0)
    path = tmp_path / "x.json.gz"
    texts = ["plain", 'quo"te', "tab\t", "é😀", "\\", "\u0000x", ""]
    records = [
        {"id": generator.choice(texts), "skip": [None, {"a": 1}], "time": generator.choice([1, 2.5, 1.4e9, None])}
        for _ in range(300)
    ]
    for record in records[::7]:
        del record["id"]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    expected = [(record.get("id"), record.get("time"), n) for n, record in enumerate(records, 1)]
    monkeypatch.setattr(raw_lines, "_BLOCK", 1000)
    quick = read(path)
    monkeypatch.setattr(raw_lines.pl, "read_ndjson", lambda *_, **__: pl.DataFrame())
    assert quick == read(path) == expected


def test_a_line_may_be_longer_than_a_block_but_not_endless(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_lines, "_BLOCK", 10)
    monkeypatch.setattr(raw_lines, "LONGEST_LINE", 100)
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"id": "' + b"a" * 50 + b'"}\n\n{"id": "b"}')
    assert read(path) == [("a" * 50, None, 1), ("b", None, 3)]
    path.write_bytes(b'{"id": "a"}\n{"id": "' + b"b" * 100 + b'"}\n')
    with pytest.raises(ValueError, match="x.json, line 2: over 100 bytes; there must be one record a line"):
        read(path)


def test_a_cut_archive_is_named(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(b'{"id": "a"}\n' * 1000)[:-12])
    with pytest.raises(ValueError, match="x.json.gz: cannot be unpacked after line .*get it again"):
        read(path)


def test_parquet_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_lines, "BATCH_ROWS", 7)
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": range(20), "b": ["x"] * 20}).write_parquet(path)
    rows = [row for batch in parquet_batches(path, ["a"]) for row in batch.frame.rows()]
    assert rows == [(i, i + 1) for i in range(20)]
    path.write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="x.parquet: not a readable Parquet file"):
        next(parquet_batches(path))
