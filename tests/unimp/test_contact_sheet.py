from __future__ import annotations

import numpy as np
from PIL import Image

from recbole_mgr.unimp.pictures.contact_sheet import SheetRow, contact_sheet


def plain(colour: str, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_every_picture_has_its_place():
    rows = [
        SheetRow([plain("red"), plain("green", (40, 20))], "soap", plain("blue"), plain("yellow", (200, 100))),
        SheetRow([plain("cyan")], "words " * 50, plain("magenta"), plain("orange")),
    ]
    sheet = contact_sheet(rows, side=32)
    pixels = np.asarray(sheet).reshape(-1, 3)
    for name, colour in {
        "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
        "cyan": (0, 255, 255), "magenta": (255, 0, 255), "orange": (255, 165, 0),
    }.items():  # fmt: skip
        assert (pixels == colour).all(axis=1).sum() == 32 * 32, name
    columns = [
        np.flatnonzero((np.asarray(sheet) == colour).all(axis=2).any(axis=0)) for colour in [(0, 0, 255), (255, 0, 255)]
    ]
    assert (columns[0] == columns[1]).all()  # what was generated stands in one column, however long the history


def test_text_stays_on_the_sheet():
    long = contact_sheet([SheetRow([plain("white")], "wordswords " * 50, plain("white"), plain("white"))], side=32)
    none = contact_sheet([SheetRow([plain("white")], "", plain("white"), plain("white"))], side=32)
    assert long.size == none.size
    ink = (np.asarray(long) != np.asarray(none)).any(axis=2)
    assert ink.any() and not ink[:, -4:].any()
