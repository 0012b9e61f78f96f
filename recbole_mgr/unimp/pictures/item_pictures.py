"""The pictures of a catalogue as codes, and the codec that reads them back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mgr.data.arrays import read_array
from recbole_mgr.files import replacing
from recbole_mgr.unimp.pictures.codec import CONFIG_FILE, PictureCodec
from recbole_mgr.unimp.pictures.pixels import read_pixels

CODEC_FORMAT = 1  # raise it when training gives another codec for the same pictures
CODES_FILE, CODEC_FOLDER = "codes.npy", "codec"
MOST_TRAINING_PICTURES = 10_000
_CHUNK = 4096  # pictures in memory at a time


class ItemPictures:
    """Codes of each item's picture.

    Args:
        codec: what made them.
        codes: int64 [N+1, G] by item id; -1 for items without a picture and for PAD.
        paths: N+1 picture files by item id, None where there is none; of a loaded run none at all: it keeps no
            pictures.
    """

    def __init__(self, codec: PictureCodec, codes: np.ndarray, paths: Sequence[Path | None] | None = None) -> None:
        self.codec = codec
        self.codes = codes
        self.paths = paths

    @property
    def num_codes(self) -> int:
        """P, codes are 0..P-1."""
        return self.codec.num_codes

    @property
    def has_picture(self) -> np.ndarray:
        """bool [N+1]."""
        return self.codes[:, 0] >= 0

    def save(self, folder: Path) -> None:
        """Write codec and codes; the paths stay behind."""
        self.codec.save(folder / CODEC_FOLDER)
        with replacing(folder / CODES_FILE) as path:
            np.save(path, self.codes.astype(np.int32))

    @classmethod
    def load(cls, folder: Path) -> ItemPictures:
        """Read what `save` wrote; raises ValueError where files are missing, damaged or of different runs."""
        codec = PictureCodec.load(folder / CODEC_FOLDER)
        path = folder / CODES_FILE
        codes = read_array(path, remedy="copy the run directory again")
        fits = codes.dtype.kind == "i" and codes.ndim == 2 and codes.shape[1] == codec.num_tokens
        if not fits or codes.min(initial=-1) < -1 or codes.max(initial=-1) >= codec.num_codes:
            raise ValueError(f"{path}: these are not codes of the codec beside them; copy the run directory whole")
        return cls(codec, codes.astype(np.int64))


def make_item_pictures(
    paths: Sequence[Path | None], *, settings: Mapping[str, Any], seed: int, cache_dir: Path | None
) -> ItemPictures:
    """Encode the pictures of a catalogue, with a codec trained on them or user-supplied.

    Args:
        paths: picture files of the N items in the order of their ids from 1; None = no picture.
        settings: ``picture_codec`` (folder of a codec, or None to train one), ``picture_size`` in pixels and
            ``picture_code_count`` of the one to train.
        seed: of the training.
        cache_dir: keeps trained codecs by the content of pictures and settings; None keeps nothing.

    Raises:
        ValueError: If no item has a picture, a picture or the codec cannot be read, or a setting is out of range.
    """
    files = sorted({path for path in paths if path is not None})  # the codec shall not depend on the order of items
    if not files:
        raise ValueError("task image_generation: no item has a picture (column image of .item); leave it out of tasks")
    if settings["picture_codec"] is not None:
        codec = PictureCodec.load(Path(settings["picture_codec"]))
    else:
        codec = _trained_codec(files, settings, seed, cache_dir)
    codes_of: dict[Path, np.ndarray] = {}
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        codes_of.update(zip(chunk, codec.encode(read_pixels(chunk, codec.picture_size)), strict=True))
    nothing = np.full(codec.num_tokens, -1, dtype=np.int64)
    by_id = [None, *paths]
    return ItemPictures(codec, np.stack([codes_of.get(path, nothing) for path in by_id]), by_id)


def _trained_codec(files: list[Path], settings: Mapping[str, Any], seed: int, cache_dir: Path | None) -> PictureCodec:
    if len(files) > MOST_TRAINING_PICTURES:
        chosen = np.random.default_rng(seed).choice(len(files), MOST_TRAINING_PICTURES, replace=False)
        files = [files[index] for index in np.sort(chosen)]
    size, num_codes = settings["picture_size"], settings["picture_code_count"]
    pixels = read_pixels(files, size)
    if cache_dir is None:
        return PictureCodec.train(pixels, num_codes=num_codes, seed=seed)
    how = json.dumps([CODEC_FORMAT, pixels.shape, num_codes, seed])
    folder = cache_dir / f"pictures-{hashlib.sha256(how.encode() + pixels.tobytes()).hexdigest()[:20]}"
    if not (folder / CONFIG_FILE).exists():
        PictureCodec.train(pixels, num_codes=num_codes, seed=seed).save(folder)
    return PictureCodec.load(folder)
