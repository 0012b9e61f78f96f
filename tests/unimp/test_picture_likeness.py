from __future__ import annotations

import numpy as np
from PIL import Image

from recbole_mgr.unimp.pictures.likeness import PictureLikeness


def pictures() -> np.ndarray:
    """uint8 [24, 32, 32, 3]: six colours, each in four shapes."""
    drawn = []
    for colour in ["red", "green", "blue", "orange", "black", "purple"]:
        for box in [(4, 4, 28, 28), (12, 2, 20, 30), (2, 12, 30, 20), (0, 0, 16, 16)]:
            picture = Image.new("RGB", (32, 32), "white")
            picture.paste(colour, box)
            drawn.append(np.asarray(picture))
    return np.stack(drawn)


def test_alike_is_what_shares_colour_and_shape():
    pixels = pictures()
    likeness = PictureLikeness(pixels)
    vectors = likeness.vectors(pixels)
    alike = vectors @ vectors.T  # [24, 24]
    assert np.allclose(alike.diagonal(), 1, atol=1e-5)
    noisy = np.clip(pixels + np.random.default_rng(0).normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
    assert ((likeness.vectors(noisy) @ vectors.T).argmax(axis=1) == np.arange(24)).all()
    off_diagonal = alike[~np.eye(24, dtype=bool)]
    assert abs(off_diagonal.mean()) < 0.1  # drawn at random: about 0
    assert alike[0, 1] > alike[0, 9]  # red square: rather the red bar than the blue one
    assert alike[1, 9] > alike[1, 10]  # red bar: rather the upright blue bar than the lying one


def test_what_is_judged_does_not_move_the_measure():
    likeness = PictureLikeness(pictures())
    alone = likeness.vectors(pictures()[:1])
    together = likeness.vectors(pictures())[:1]
    assert np.allclose(alone, together)
