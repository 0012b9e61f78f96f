"""Ids become numbers, rows are sorted stably, broken rows are counted."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.interactions import IdNumbers, read_interactions


def batch(rows, start=1, path="raw.parquet"):
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame = frame.with_columns(pl.col("timestamp").cast(pl.Float64))
    return Batch(Path(path), frame.with_columns(line_number=pl.int_range(start, start + len(rows), dtype=pl.Int64)))


def read(*batches, broken=None):
    users, items = IdNumbers(), IdNumbers()
    found = read_interactions(
        iter(batches), user_numbers=users, item_numbers=items, broken=broken or BrokenRows(0), review_folder=None
    )
    return found, users.ids(), items.ids()


def test_numbers_are_kept_over_batches_and_columns_die():
    numbers = IdNumbers()
    assert numbers.numbers(pl.Series(["b", "a", "b"])).tolist() == [0, 1, 0]
    assert numbers.numbers(pl.Series(["c", "a"])).tolist() == [2, 1]
    assert numbers.ids().to_list() == ["b", "a", "c"]
    assert IdNumbers().ids().to_list() == []


def test_equal_times_keep_the_order_of_the_source():
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{n}", float(t)) for n, (u, t) in enumerate(rng.integers([5, 4], size=(400, 2)))]
    found, users, items = read(batch(rows[:150]), batch(rows[150:], start=151))
    read_back = list(zip(users[pl.Series(found.users)], items[pl.Series(found.items)], found.times, strict=True))
    order = {user: place for place, user in enumerate(dict.fromkeys(user for user, *_ in rows))}
    assert read_back == sorted(rows, key=lambda row: (order[row[0]], row[2]))  # Python's sort is stable
    assert [rows[place] for place in found.source_rows] == read_back


def test_broken_rows_are_skipped_counted_and_shown(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("u,i,1\nu,,2\nNA,i,3\nu,i,inf\nu,j,5\n")
    rows = [("u", "i", 1), ("u", None, 2), ("NA", "i", 3), ("u", "i", float("inf")), ("u", "j", 5)]
    broken = BrokenRows(0.6)
    found, *_ = read(batch(rows, path=path), broken=broken)
    assert found.times.tolist() == [1, 5]
    assert found.source_rows.tolist() == [0, 1]
    once = {"no usable item_id": 1, "no usable user_id": 1, "no usable timestamp": 1}
    assert broken.counts == {"raw.csv": once} and broken.reasons(path) == once and broken.rows == {path: 5}
    first, *_ = broken.check()
    assert first == f"{path}: 1 of 5 rows skipped, the first in line 2: no usable item_id ('u,,2')"
    broken.limit = 0.59
    with pytest.raises(ValueError, match=r"raw.csv: 3 of 5 rows are broken.*--broken-share"):
        broken.check()


def test_nothing_usable_names_the_first_row():
    with pytest.raises(ValueError, match="2 of 2 rows are broken, the first in line 1: no usable user_id"):
        read(batch([(None, "i", 1), (None, None, None)]))
    with pytest.raises(ValueError, match="holds no interactions"):
        read()
