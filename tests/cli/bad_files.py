"""Makers of broken files, and what a bad input is: a command, the words that its refusal says, and files."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

Content = str | bytes | Callable[[Path], None]


class Bad(NamedTuple):
    """A command that must be refused.

    Attributes:
        command: as typed, ``recbole-mgr`` left out.
        says: words that must stand in what it says, parted by `` & ``.
        files: name -> content, or what makes it.
    """

    command: str
    says: str
    files: Mapping[str, Content] = {}


HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
ROWS = "".join(f"u{user}\ti{(user + step) % 9}\t{1_400_000_000 + step}\n" for user in range(9) for step in range(6))
ITEMS = "item_id:token\ttitle:token_seq\n" + "".join(f"i{n}\tTitle {n}\n" for n in range(9))
CSV = "user_id,item_id,timestamp,rating\n" + "".join(f"u{n % 7},p{n % 5},{1_400_000_000 + n},4\n" for n in range(70))
LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
PLAN = "title: T\ndataset: tiny\nseeds: [1]\nsettings: {epochs: 1}\nrows:\n- {label: A, model: BPR}\n"
DEEP = "[" * 300 + "]" * 300


def inter(content: str | bytes) -> dict[str, Content]:
    """A data set called bad with these interactions."""
    return {"bad/bad.inter": content}


def with_items(content: str | bytes) -> dict[str, Content]:
    """A data set with good interactions and this ``.item``."""
    return {"bad/bad.inter": HEADER + ROWS, "bad/bad.item": content}


def npy(array: np.ndarray) -> bytes:
    """The file that numpy.save writes."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_text(vectors: bytes, ids: str | bytes = "\n".join(f"i{n}" for n in range(9)) + "\n") -> dict[str, Content]:
    """A data set with good interactions and these vectors of the modality text."""
    return {"bad/bad.inter": HEADER + ROWS, "bad/bad.text.npy": vectors, "bad/bad.text.ids": ids}


def packed(name: str, content: bytes) -> bytes:
    """A zip archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def folder(path: Path) -> None:
    """An empty folder."""
    path.mkdir(parents=True)


def damaged(source: str, change: Callable[[Path], None], *, digests: bool = True) -> dict[str, Content]:
    """A copy of a run directory (``run`` or ``bpr``), called copy, after a change; without digests a stranger's, who
    notes none."""

    def make(path: Path) -> None:
        shutil.copytree(path.parent / ".world" / source, path)
        if not digests:
            about = path / "run.yaml"
            kept = about.read_text().partition("files:\n")
            about.write_text(kept[0] + "".join(line for line in kept[2].splitlines(True) if not line.startswith("  ")))
        change(path)

    return {"copy": make}


def without(name: str) -> Callable[[Path], None]:
    """Remove a file of a run directory."""
    return lambda path: (path / name).unlink()


def cut(name: str, length: int = 40) -> Callable[[Path], None]:
    """Keep a file's first bytes."""
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:length])


def filled(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Give a file another content."""
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def said(name: str, before: str, after: str) -> Callable[[Path], None]:
    """Change words of a text file."""

    def change(path: Path) -> None:
        text = (path / name).read_text(encoding="utf-8")
        assert before in text, (name, before)
        (path / name).write_text(text.replace(before, after, 1), encoding="utf-8")

    return change


def arrays(name: str, **changes: np.ndarray) -> Callable[[Path], None]:
    """Change arrays of an ``.npz`` file."""

    def change(path: Path) -> None:
        with np.load(path / name) as before:
            kept = dict(before)
        np.savez(path / name, **{**kept, **changes})

    return change


def checkpoint(content: object) -> Callable[[Path], None]:
    """Another checkpoint."""
    return lambda path: torch.save(content, path / "best.pth")


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    """A picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()
