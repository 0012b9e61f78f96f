"""Draw the product pictures of the synthetic sample: a container for each type, dyed and decorated.

The shade and the pattern of a product are found here and in no text. Cap, backdrop, size and position
say nothing about anybody's taste; they keep two pictures of the same look from being the same pixels.
"""

import random
from typing import NamedTuple

from PIL import Image, ImageDraw

SIDE = 96  # pixels of a finished picture
CANVAS = 2 * SIDE  # drawn at twice the size, so that shrinking smooths the edges

# In the order of the colour wheel: neighbours look alike, and a taste for one extends to the next.
SHADES = {
    "ruby": (170, 18, 42),
    "coral": (255, 112, 88),
    "amber": (238, 176, 52),
    "lime": (164, 200, 62),
    "emerald": (22, 130, 82),
    "teal": (54, 190, 190),
    "navy": (30, 48, 122),
    "lavender": (168, 146, 226),
    "plum": (104, 34, 104),
    "pink": (244, 138, 178),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "wavy")
CAPS = ((206, 170, 92), (186, 190, 198), (34, 34, 38), (222, 208, 186))  # gold, silver, black, ivory
BACKDROPS = ((252, 250, 247), (240, 238, 244), (236, 242, 242), (246, 238, 228))
GLASS = (226, 232, 238)


class Look(NamedTuple):
    """How one product is drawn: type and pattern by name, shade by name, the rest by index or amount."""

    kind: str
    shade: str
    pattern: str
    cap: int
    backdrop: int
    shift: tuple[int, int]  # canvas pixels, right and down
    scale: float  # about 1


def choose_look(rng: random.Random, kind: str, shade: str, pattern: str) -> Look:
    """Draw by lot all that is not given."""
    return Look(
        kind=kind,
        shade=shade,
        pattern=pattern,
        cap=rng.randrange(len(CAPS)),
        backdrop=rng.randrange(len(BACKDROPS)),
        shift=(rng.randrange(-8, 9), rng.randrange(-4, 5)),
        scale=0.86 + 0.12 * rng.random(),
    )


def draw_product(look: Look) -> Image.Image:
    """Draw one product: RGB, SIDE x SIDE pixels. Raises KeyError for an unknown type or shade."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), BACKDROPS[look.backdrop])
    dyed = Image.new("L", (CANVAS, CANVAS), 0)
    pen = _Pen(look, ImageDraw.Draw(canvas), ImageDraw.Draw(dyed))
    CONTAINERS[look.kind](pen)
    canvas.paste(_fabric(SHADES[look.shade], look.pattern), mask=dyed)
    return canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


class _Pen:
    """Draws boxes given in hundredths of the picture, either plainly or into the mask that gets dyed."""

    def __init__(self, look: Look, plain: ImageDraw.ImageDraw, dyed: ImageDraw.ImageDraw) -> None:
        self._look, self._plain, self._dyed = look, plain, dyed
        self.cap = CAPS[look.cap]

    def plain(self, box: tuple[int, int, int, int], fill: tuple[int, int, int], radius: int = 2) -> None:
        self._shape(self._plain, box, fill, radius)

    def dyed(self, box: tuple[int, int, int, int], radius: int = 2) -> None:
        self._shape(self._dyed, box, 255, radius)

    def dyed_slant(self, box: tuple[int, int, int, int], drop: int) -> None:
        left, top, right, bottom = self._place(box)
        fall = drop * CANVAS * self._look.scale / 100
        self._dyed.polygon([(left, top + fall), (right, top), (right, bottom), (left, bottom)], fill=255)

    def _shape(self, draw: ImageDraw.ImageDraw, box: tuple, fill: int | tuple, radius: int) -> None:
        draw.rounded_rectangle(self._place(box), radius=radius * CANVAS * self._look.scale / 100, fill=fill)

    def _place(self, box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
        grow = self._look.scale * CANVAS / 100
        across, down = (CANVAS / 2 + shift for shift in self._look.shift)
        left, top, right, bottom = (grow * (edge - 50) for edge in box)
        return across + left, down + top, across + right, down + bottom


def _fabric(shade: tuple[int, int, int], pattern: str) -> Image.Image:
    """The whole canvas in the shade, decorated in a tint of it."""
    tint = tuple(channel + (255 - channel) * 3 // 5 for channel in shade)
    fabric = Image.new("RGB", (CANVAS, CANVAS), shade)
    draw = ImageDraw.Draw(fabric)
    step = CANVAS // 12
    if pattern == "striped":
        for top in range(0, CANVAS, step):
            draw.rectangle((0, top, CANVAS, top + step // 3), fill=tint)
    elif pattern == "dotted":
        for row, top in enumerate(range(0, CANVAS, step)):
            for left in range(row % 2 * step // 2, CANVAS, step):
                draw.ellipse((left, top, left + step // 2, top + step // 2), fill=tint)
    elif pattern == "checked":
        for row, top in enumerate(range(0, CANVAS, step)):
            for left in range(row % 2 * step, CANVAS, 2 * step):
                draw.rectangle((left, top, left + step - 1, top + step - 1), fill=tint)
    elif pattern == "wavy":
        for left in range(-CANVAS, CANVAS, step * 2):
            draw.line(
                [(left + down + (down // step % 2) * step, down) for down in range(0, CANVAS + 1, step)],
                fill=tint,
                width=step // 3,
            )
    return fabric


def _pump_bottle(pen: _Pen) -> None:
    pen.plain((47, 12, 53, 30), pen.cap)
    pen.plain((30, 8, 56, 14), pen.cap)
    pen.plain((40, 26, 60, 34), pen.cap)
    pen.dyed((30, 34, 70, 92), radius=8)


def _tall_bottle(pen: _Pen) -> None:
    pen.plain((42, 6, 58, 22), pen.cap, radius=5)
    pen.dyed((36, 23, 64, 94), radius=4)


def _dropper_bottle(pen: _Pen) -> None:
    pen.plain((44, 8, 56, 30), pen.cap, radius=6)
    pen.plain((40, 28, 60, 40), (70, 70, 76))
    pen.plain((30, 46, 70, 90), GLASS, radius=10)
    pen.dyed((33, 56, 67, 87), radius=8)


def _jar(pen: _Pen) -> None:
    pen.plain((16, 30, 84, 48), pen.cap, radius=4)
    pen.dyed((19, 49, 81, 82), radius=9)


def _round_compact(pen: _Pen) -> None:
    pen.plain((12, 12, 88, 88), pen.cap, radius=38)
    pen.dyed((21, 21, 79, 79), radius=29)


def _palette(pen: _Pen) -> None:
    pen.plain((6, 26, 94, 74), pen.cap, radius=4)
    for left in (11, 38, 65):
        for top in (31, 53):
            pen.dyed((left, top, left + 24, top + 17), radius=2)


def _bullet(pen: _Pen) -> None:
    pen.plain((36, 56, 64, 94), pen.cap)
    pen.plain((39, 44, 61, 56), GLASS)
    pen.dyed_slant((41, 10, 59, 44), drop=12)


def _polish_bottle(pen: _Pen) -> None:
    pen.plain((42, 8, 58, 52), pen.cap, radius=4)
    pen.dyed((28, 52, 72, 92), radius=6)


CONTAINERS = {
    "Cleanser": _pump_bottle,
    "Toner": _tall_bottle,
    "Serum": _dropper_bottle,
    "Cream": _jar,
    "Blush": _round_compact,
    "Eyeshadow": _palette,
    "Lipstick": _bullet,
    "Nail Polish": _polish_bottle,
}
