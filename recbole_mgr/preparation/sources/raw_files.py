"""Where the files of a published data set are, or where to get them."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.files import owned, publish
from recbole_mgr.preparation.download import DownloadLimits, download_file

_LARGEST_UNPACKED = 1 << 30  # bytes; MovieLens 1M has 25 million


class RawFolder(NamedTuple):
    """A folder of raw files, perhaps to be filled.

    Attributes:
        folder: holds the files.
        download: whether to fetch what is missing.
        base: a server to fetch from instead of the publisher's.
        limits: of downloads.
    """

    folder: Path
    download: bool = False
    base: str | None = None
    limits: DownloadLimits = DownloadLimits()

    def file(self, names: list[str], url: str) -> Path:
        """The first of some files that exists; where none does, the one at ``url`` is downloaded.

        Raises:
            ValueError: if there is none, or it cannot be had.
        """
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        address = self._address(url)
        if not self.download:
            raise ValueError(
                f"{self.folder}: needs one of the files {', '.join(names)}. Get {address} and put it there, or let "
                "--download do so"
            )
        target = self.folder / address.rsplit("/", 1)[-1]
        download_file(address, target, self.limits)
        return target

    def unpacked(self, inner: str, url: str) -> Path:
        """The folder that holds the file ``inner``: this one or a subfolder of the archive's name; where neither does,
        the zip archive at ``url`` is used, and downloaded first if need be.

        Raises:
            ValueError: as :meth:`file`, and if the archive is broken.
        """
        name = url.rsplit("/", 1)[-1].removesuffix(".zip")
        for folder in (self.folder, self.folder / name):
            if (folder / inner).is_file():
                return folder
        archive = self.file([f"{name}.zip"], url)
        with owned(self.folder / name):
            partial = self.folder / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                with zipfile.ZipFile(archive) as content:
                    size = sum(member.file_size for member in content.infolist())
                    if size > _LARGEST_UNPACKED:
                        raise ValueError(f"{archive}: {size:,} bytes unpacked; it is not the archive of {url}")
                    content.extractall(partial)
                if not (partial / name / inner).is_file():
                    raise ValueError(f"{archive}: holds no {name}/{inner}; it is not the archive of {url}")
                publish(partial / name, self.folder / name)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
                raise ValueError(f"{archive}: cannot be unpacked ({error}); remove it and get it again") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return self.folder / name

    def _address(self, url: str) -> str:
        return f"{self.base.rstrip('/')}/{url.rsplit('/', 1)[-1]}" if self.base else url


def existing(folder: Path, name: str) -> Path:
    """The file ``name`` of a folder.

    Raises:
        ValueError: if it is missing.
    """
    if not (folder / name).is_file():
        raise ValueError(
            f"{folder / name} does not exist; the folder must be the one that the data set was unpacked to"
        )
    return folder / name


def subfolder(folder: Path, *names: str) -> Path | None:
    """The first of some subfolders that exists."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)
