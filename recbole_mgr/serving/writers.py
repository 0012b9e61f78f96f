"""Writing recommendations as they come: a table on the screen, CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from recbole_mgr.cleaners import for_csv, for_terminal
from recbole_mgr.distributed import processes
from recbole_mgr.files import replacing
from recbole_mgr.serving.messages import Recommendations

Write = Callable[[Recommendations], None]
_ID_WIDTH = 20  # characters of a column of ids on the screen, at least


class Layout(NamedTuple):
    """What is written of a recommended item.

    Attributes:
        ids_only: nothing but its id.
        fields: names of what follows the score and the title.
        values: item token -> a value for each of ``fields``.
    """

    ids_only: bool = False
    fields: tuple[str, ...] = ()
    values: Mapping[str, list[str]] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Of one item."""
        return ("item_id",) if self.ids_only else ("item_id", "score", "title", *self.fields)

    def items(self, batch: Recommendations) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """Each user with a tuple of :attr:`columns` for each item, best first."""
        unknown = [""] * len(self.fields)
        lists = [batch.item_ids] if self.ids_only else [batch.item_ids, batch.scores, batch.titles]
        for user, *columns in zip(batch.users, *lists, strict=True):
            rows = zip(*columns, strict=True)
            yield user, [(*row, *self.values.get(row[0], unknown)) for row in rows] if self.fields else list(rows)

    def rows(self, batch: Recommendations) -> Iterator[tuple[Any, ...]]:
        """User, rank and :attr:`columns`, item by item."""
        for user, items in self.items(batch):
            for rank, item in enumerate(items, start=1):
                yield user, rank, *item


@contextmanager
def open_writer(path: Path | None, layout: Layout) -> Iterator[Write]:
    """A context whose value writes one batch after the other.

    A file appears under its name when the context ends without error, and not at all otherwise. Several processes write
    a part each, in the order of their ranks; the owner puts the parts together.

    Args:
        path: ``.csv`` and ``.parquet`` get a row for each item recommended (user, rank, item_id, score, title, and the
            fields asked for), ``.jsonl`` a line for each user; None prints a table, or with ids alone a line for each
            user.
        layout: what is written of an item.

    Raises:
        ValueError: If the suffix is another one.
    """
    if path is not None:
        check_output(path)
    if processes.count() == 1:
        with _screen(layout) if path is None else _FORMATS[path.suffix](path, layout) as write:
            yield write
    elif path is None:
        batches: list[Recommendations] = []
        yield batches.append
        gathered = processes.gather(batches)
        if gathered is not None:
            with _screen(layout) as write:
                for batch in chain.from_iterable(gathered):
                    write(batch)
    else:
        rows = ".jsonl" if path.suffix == ".jsonl" else ".csv"
        parts = [path.with_name(f".{path.name}.part-{rank}{rows}") for rank in range(processes.count())]
        own = parts[processes.rank()]
        as_lines = rows == ".jsonl"
        with (
            _json_lines(own, layout) if as_lines else _csv(own, layout, for_spreadsheets=path.suffix == ".csv") as write
        ):
            yield write
        processes.wait()
        processes.on_owner(lambda: _put_together(parts, path, layout))


def _put_together(parts: list[Path], path: Path, layout: Layout) -> None:
    for part in parts:
        if not part.is_file():
            raise ValueError(f"{part}: another process has written it elsewhere; all machines need the same folders")
    if path.suffix == ".parquet":
        _to_parquet(parts, path, layout)
    else:
        with replacing(path) as unfinished, open(unfinished, "wb") as file:
            for part in parts:
                with open(part, "rb") as rows:
                    if path.suffix == ".csv" and part != parts[0]:
                        rows.readline()  # the names of the columns
                    shutil.copyfileobj(rows, file)
    for part in parts:
        part.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raise ValueError unless the suffix of a file is one that `open_writer` knows."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"--output {path}: the format follows from the suffix, one of {', '.join(_FORMATS)}")


@contextmanager
def _screen(layout: Layout) -> Iterator[Write]:
    def write_ids(batch: Recommendations) -> None:
        for user, items in layout.items(batch):
            print(for_terminal(user), *(for_terminal(item_id) for (item_id,) in items), sep="\t")

    widths: list[int] = []  # of users and items, whose ids are shown whole: longer ones need more from there on

    def write_row(user: str, rank: Any, item_id: str, score: str, words: Iterable[str]) -> None:
        print(f"{user:<{widths[0]}} {rank:>4}  {item_id:<{widths[1]}} {score:>9}  {'  '.join(words)}".rstrip())

    def write(batch: Recommendations) -> None:
        rows = [
            (
                for_terminal(user),
                rank,
                for_terminal(item_id),
                f"{score:.4f}",
                [for_terminal(word)[:80] for word in words],
            )
            for user, rank, item_id, score, *words in layout.rows(batch)
        ]
        is_first = not widths
        for column, place in enumerate((0, 2)):
            longest = max([_ID_WIDTH, *(len(row[place]) for row in rows), *widths[column : column + 1]])
            widths[column : column + 1] = [longest]
        if is_first:
            write_row("user", "rank", "item_id", "score", layout.columns[2:])
        for row in rows:
            write_row(*row)

    yield write_ids if layout.ids_only else write
    sys.stdout.flush()


@contextmanager
def _csv(path: Path, layout: Layout, *, for_spreadsheets: bool = True) -> Iterator[Write]:
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("user", "rank", *layout.columns))

        def write(batch: Recommendations) -> None:
            rows = layout.rows(batch)
            writer.writerows([for_csv(cell) for cell in row] if for_spreadsheets else row for row in rows)

        yield write


@contextmanager
def _json_lines(path: Path, layout: Layout) -> Iterator[Write]:
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="\n") as file:
        columns = layout.columns

        def write(batch: Recommendations) -> None:
            for user, items in layout.items(batch):
                if layout.ids_only:
                    content = [item_id for (item_id,) in items]
                else:
                    content = [dict(zip(columns, item, strict=True)) for item in items]
                file.write(json.dumps({"user": user, "items": content}, ensure_ascii=False) + "\n")

        yield write


@contextmanager
def _parquet(path: Path, layout: Layout) -> Iterator[Write]:
    """By way of a CSV file, because Parquet wants large groups of rows and memory stays that of a batch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        rows = Path(folder) / "rows.csv"
        with _csv(rows, layout, for_spreadsheets=False) as write:
            yield write
        _to_parquet([rows], path, layout)


def _to_parquet(rows: list[Path], path: Path, layout: Layout) -> None:
    import polars

    types = {"rank": polars.Int32, "score": polars.Float32}
    with replacing(path) as unfinished:
        schema = {name: types.get(name, polars.String) for name in ("user", "rank", *layout.columns)}
        table = polars.scan_csv(rows, schema=schema)
        table.with_columns(polars.col(polars.String).fill_null("")).sink_parquet(unfinished)  # an empty title


_FORMATS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
