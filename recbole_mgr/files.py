"""Writing files whole or not at all, by one command at a time; telling files by their content; where our property
files stand."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed by others
    fcntl = None


_PACKAGE = Path(__file__).resolve().parent
# Installed, the property files ship inside the package; in a checkout they stand beside it.
PROPERTIES = next(p for p in (_PACKAGE / "properties", _PACKAGE.parent / "properties") if p.is_dir())
_PAUSE = 0.1  # seconds between two looks at a lock
_SYNCS = 16  # at a time; a disk takes many in the time of one
_LEFTOVER = re.compile(r"\..+-[0-9a-f]{12}(\.[^.]*)?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is on the disk and takes ``path``'s place, on failure it is
    removed.

    The temporary name keeps the suffix, which numpy and pandas read the format from. Whatever wrote it (safetensors
    lets nobody else read its files), it has the permissions of any new file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.stem}-{uuid4().hex[:12]}{path.suffix}")
    with folder_for(path):
        try:
            yield temporary
            with suppress(PermissionError):  # of a file system without permissions
                temporary.chmod(0o666 & ~_umask())
            to_disk(temporary)
            os.replace(temporary, path)
            to_disk(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@functools.cache
def _umask() -> int:
    mask = os.umask(0o022)  # there is no other way to read it
    os.umask(mask)
    return mask


@contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """Make the folder of a file or folder that is to be made; on failure the folders that were made and are empty go.

    Raises:
        OSError: If a file stands where a folder belongs, or the folder cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]  # the deepest first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from error
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another command has put something there, or removed it
            for folder in missing:
                folder.rmdir()
        raise


def require_folder(path: Path) -> None:
    """Raises NotADirectoryError if a folder cannot be made at a path, because a file stands there or above it."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            return
        if folder.exists() or folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


@contextmanager
def owned(path: Path, *, waits: bool = False) -> Iterator[None]:
    """Own a file or folder that is being made, so that no other command writes it at the same time.

    The owner's lock is a file ``.<name>.lock`` beside it, which the system releases when the process ends in whatever
    way, and which is removed at the end.

    Args:
        path: of the file or folder.
        waits: whether to wait while another command owns it.

    Raises:
        ValueError: if another command owns it, saying which.
    """
    with folder_for(path):
        yield from _owned(path, waits)


def _owned(path: Path, waits: bool) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    while True:
        try:
            file = lock.open("a+", encoding="utf-8")  # noqa: SIM115 - closed below, when the lock may go
        except FileNotFoundError:  # a command that failed has just removed the folder
            lock.parent.mkdir(parents=True, exist_ok=True)
            continue
        if not _locked(file):
            if waits:
                file.close()
                time.sleep(_PAUSE)
                continue
            with file:
                file.seek(0)
                owner = file.read(200).strip() or "another command"
            raise ValueError(f"{path} is being made by {owner}; wait until it is done, or choose another name")
        if _is(file, lock):
            break
        file.close()  # the owner before has removed the file after we had opened it
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        if fcntl:
            lock.unlink(missing_ok=True)  # while it is still ours
        file.close()
        if not fcntl:
            lock.unlink(missing_ok=True)


def _locked(file: Any) -> bool:
    """Lock an open file, or say that another process has."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt  # of Windows alone

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise  # those are file systems that know no locks: there is nobody to ask
    return True


def _is(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk and outlives a crash of the machine."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(made: Path, target: Path) -> None:
    """Give a file or folder that is complete its name, once all of it is on the disk.

    Without that a crash of the machine could leave the name with empty files behind it.
    """
    # what cannot be written was not written now: a picture of the user's, linked
    paths = [path for path in (made, *made.rglob("*")) if os.access(path, os.W_OK)]
    with ThreadPoolExecutor(_SYNCS) as pool:
        for _ in pool.map(to_disk, paths):
            pass
    os.replace(made, target)
    to_disk(target.parent)


def sweep(folder: Path) -> None:
    """Remove what `replacing` left in a folder, and below it, when a command was killed; for the folder's owner."""
    for file in folder.rglob(".*"):
        if _LEFTOVER.fullmatch(file.name) and file.is_file():
            file.unlink(missing_ok=True)


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


def remembered_digest(path: Path) -> str:
    """`content_digest`, which a process computes once of a file that has not changed since."""
    if path.is_file():
        status = path.stat()
        return _digest_of(path.resolve(), status.st_size, status.st_mtime_ns)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\n{remembered_digest(file)}\n".encode())
    return digest.hexdigest()


@functools.cache
def _digest_of(path: Path, _size: int, _modified: int) -> str:
    return content_digest(path)


def add_content(digest: hashlib._Hash, path: Path) -> None:
    """Go on with a digest over a file's content, of which little is in memory at a time."""
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def is_text_encoding(name: str) -> bool:
    """Whether Python knows an encoding of that name; it has others that are not of text, such as hex."""
    try:
        "".encode(name)
    except LookupError:
        return False
    return True
