"""Writing recommendations as they come: a table on the screen, CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from recbole_mgr.files import replacing
from recbole_mgr.serving.messages import Recommendations

COLUMNS = ("user", "rank", "item_id", "score", "title")
Write = Callable[[Recommendations], None]


def open_writer(path: Path | None) -> AbstractContextManager[Write]:
    """A context whose value writes one batch after the other.

    A file appears under its name when the context ends without error, and not at all otherwise.

    Args:
        path: ``.csv`` and ``.parquet`` get a row for each item recommended (user, rank, item_id, score, title),
            ``.jsonl`` a line for each user; None prints a table.

    Raises:
        ValueError: If the suffix is another one.
    """
    if path is None:
        return _screen()
    if path.suffix not in _FORMATS:
        raise ValueError(f"--output {path}: the format follows from the suffix, one of {', '.join(_FORMATS)}")
    return _FORMATS[path.suffix](path)


@contextmanager
def _screen() -> Iterator[Write]:
    def write(batch: Recommendations) -> None:
        for user, rank, item_id, score, title in _rows(batch):
            print(f"{user:<20} {rank:>4}  {item_id:<20} {score:>9.4f}  {title[:80]}")

    print(f"{'user':<20} {'rank':>4}  {'item_id':<20} {'score':>9}  title")
    yield write
    sys.stdout.flush()


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        yield lambda batch: writer.writerows(_rows(batch))


@contextmanager
def _json_lines(path: Path) -> Iterator[Write]:
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="\n") as file:

        def write(batch: Recommendations) -> None:
            for user, *items in _lists(batch):
                rows = [dict(zip(COLUMNS[2:], item, strict=True)) for item in zip(*items, strict=True)]
                file.write(json.dumps({"user": user, "items": rows}, ensure_ascii=False) + "\n")

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    """By way of a CSV file, because Parquet wants large groups of rows and memory stays that of a batch."""
    import polars

    types = (polars.String, polars.Int32, polars.String, polars.Float32, polars.String)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        rows = Path(folder) / "rows.csv"
        with _csv(rows) as write:
            yield write
        with replacing(path) as unfinished:
            schema = dict(zip(COLUMNS, types, strict=True))
            table = polars.scan_csv(rows, schema=schema)
            table.with_columns(polars.col(polars.String).fill_null("")).sink_parquet(unfinished)  # an empty title


_FORMATS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


def _lists(batch: Recommendations) -> Iterable[tuple[str, list[str], list[float], list[str]]]:
    return zip(batch.users, batch.item_ids, batch.scores, batch.titles, strict=True)


def _rows(batch: Recommendations) -> Iterator[tuple[str, int, str, float, str]]:
    for user, *items in _lists(batch):
        for rank, (item_id, score, title) in enumerate(zip(*items, strict=True), start=1):
            yield user, rank, item_id, score, title
