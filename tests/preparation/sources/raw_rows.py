"""Interactions that every raw format tells in its own way, and what came of them."""

import gzip
from pathlib import Path

from recbole_mgr.preparation.download import DownloadLimits

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


def write_gz(path, lines):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
