"""Writing files whole or not at all, telling files by their content, and reading YAML."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes ``path``'s place, on failure it is removed.

    The temporary name keeps the suffix, which numpy and pandas read the format from.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def content_digest(path: Path) -> str:
    """SHA-256, in hex, of a file's content, or of the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    if path.is_file():
        add_content(digest, path)
    else:
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\n{content_digest(file)}\n".encode())
    return digest.hexdigest()


def add_content(digest: hashlib._Hash, path: Path) -> None:
    """Go on with a digest over a file's content, of which little is in memory at a time."""
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def read_yaml(path: Path, *, remedy: str, may_be_empty: bool = False, loader: type = yaml.SafeLoader) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines.

    Args:
        path: a file that exists.
        remedy: what the error advises, e.g. ``restore the file``.
        may_be_empty: whether a file without content is an empty dictionary, and no error.
        loader: PyYAML's class that reads it, one that builds no objects.

    Raises:
        ValueError: Naming the file and the remedy.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML ({error}); {remedy}") from error
    if content is None and may_be_empty:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected 'key: value' lines, found a {type(content).__name__}; {remedy}")
    return content
