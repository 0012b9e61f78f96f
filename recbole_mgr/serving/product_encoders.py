"""Vectors of a product that somebody describes, made as those of a run's catalogue were."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.data.pictures import read_picture
from recbole_mgr.encoding.description import Made, description_of_run, encoder_like, request_like
from recbole_mgr.encoding.encoder import Encoder


class Product(NamedTuple):
    """What is known of a product.

    Attributes:
        words: by field of the ``.item`` file, such as ``title`` and ``brand``.
        picture: the content of a picture file; None without one.
    """

    words: Mapping[str, str]
    picture: bytes | None = None


class ProductEncoders:
    """The encoders of a run's vectors; each is built when it is first needed, and threads may share them.

    Args:
        run_dir: of the run, which keeps how its vectors were made, where ``recbole-mgr encode`` made them.
        modalities: that its semantic IDs are made of.

    Attributes:
        fields: by modality of which that is known, the fields that its encoder reads.
    """

    def __init__(self, run_dir: Path, modalities: Sequence[str]) -> None:
        described = {modality: description_of_run(run_dir, modality) for modality in modalities}
        self._made = {modality: made for modality, made in described.items() if made.fingerprint is not None}
        self.fields: dict[str, list[str]] = {
            name: list(made.details.get("fields") or []) for name, made in self._made.items()
        }
        self._run_dir, self._encoders, self._lock = run_dir, {}, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_encoders": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def vectors(self, product: Product) -> dict[str, np.ndarray]:
        """Modality -> float32 [1, dim], of those for which the product has words or a picture that say something.

        Raises:
            ValueError: If nothing is left, the picture cannot be read, or nobody knows how the run's vectors were made.
        """
        if not self._made:
            raise ValueError(
                f"{self._run_dir}: its vectors were not made by recbole-mgr encode, so nothing can encode a product "
                "as its catalogue was; give vectors instead"
            )
        vectors = {}
        with self._lock:
            for modality, made in self._made.items():
                encoder = self._encoder(modality, made)
                content = self._content(encoder, made, product)
                if content is not None:
                    vector = np.asarray(encoder.finish(encoder.encode([content]))[:], dtype=np.float32)
                    if vector.any():  # else there is nothing in it that the encoder knows
                        vectors[modality] = vector
        if not vectors:
            wanted = sorted({field for fields in self.fields.values() for field in fields})
            raise ValueError(f"there is nothing of this product that the encoders know; they read {', '.join(wanted)}")
        return vectors

    def _encoder(self, modality: str, made: Made) -> Encoder:
        if modality not in self._encoders:
            self._encoders[modality] = encoder_like(made, request_like(made, device="cpu", precision="fp32"))
        return self._encoders[modality]

    def _content(self, encoder: Encoder, made: Made, product: Product) -> Any:
        """What the encoder takes of the product; None where there is nothing."""
        if encoder.reads == "text":
            words = (product.words.get(field, "").strip() for field in made.details["fields"])
            return " ".join(filter(None, words)) or None
        if product.picture is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            path.write_bytes(product.picture)
            try:
                return encoder.prepare(read_picture(path))
            except ValueError as error:
                raise ValueError(f"the picture cannot be read: {error}") from error
