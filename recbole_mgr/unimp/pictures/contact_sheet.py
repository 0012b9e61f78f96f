"""Generated pictures beside what they were made from, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

_GAP, _CAPTION = 6, 18  # pixels
_INK, _PAPER = "black", "white"


class SheetRow(NamedTuple):
    """One case; pictures of any size and shape, drawn as squares.

    Attributes:
        history: the user's pictures, oldest first.
        query: what was asked for.
        generated: the answer.
        target: the picture of what the user took.
    """

    history: Sequence[Image.Image]
    query: str
    generated: Image.Image
    target: Image.Image


def contact_sheet(rows: Sequence[SheetRow], *, side: int = 96) -> Image.Image:
    """Draw cases one below the other: history and query, then generated, then target.

    Args:
        rows: at least one.
        side: of a picture on the sheet, in pixels.

    Returns:
        An RGB picture. Shorter histories end at the same column, beside what was generated.
    """
    columns = max(len(row.history) for row in rows)
    step, height = side + _GAP, side + _CAPTION + _GAP
    sheet = Image.new("RGB", (_GAP + (columns + 2) * step + _GAP, _CAPTION + len(rows) * height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    generated_at, target_at = _GAP + columns * step, _GAP + (columns + 1) * step + _GAP
    for left, title in ((_GAP, "history"), (generated_at, "generated"), (target_at, "target")):
        draw.text((left, 1), title, fill=_INK, font=font)
    for number, row in enumerate(rows):
        top = _CAPTION + number * height
        first = generated_at - len(row.history) * step
        placed = [(first + index * step, picture) for index, picture in enumerate(row.history)]
        for left, picture in (*placed, (generated_at, row.generated), (target_at, row.target)):
            # few pixels are to look like few, not like a blur
            resample = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.LANCZOS
            sheet.paste(picture.convert("RGB").resize((side, side), resample), (left, top))
        draw.text((generated_at, top + side + 1), _shortened(row.query, draw, font, 2 * side), fill=_INK, font=font)
    return sheet


def _shortened(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont, width: int) -> str:
    """The text on one line of ``width`` pixels."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."
