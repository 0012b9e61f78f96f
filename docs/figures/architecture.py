"""Draw ``architecture.svg``: how an item becomes a semantic ID and how the next one is generated.

Run it as ``python docs/figures/architecture.py``; a test says that the picture is the one that this script draws.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 440
TEXT, IMAGE, MARK, PLAIN = "#3b6fb6", "#c46a1b", "#7a4fa3", "#5b6470"
CODE = 34  # pixels of a code's box


class Picture:
    """SVG elements, put together one after the other."""

    def __init__(self) -> None:
        self.elements: list[str] = []

    def text(self, x: float, y: float, words: str, *, size: int = 14, anchor: str = "start", colour: str = "") -> None:
        """Words whose base line begins (or ends, or has its middle) at a point."""
        fill = f' fill="{colour}"' if colour else ""
        self.elements.append(
            f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{fill}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, words: str, *, colour: str = PLAIN) -> None:
        """A rounded box with one line of words in its middle."""
        self.elements.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{colour}" fill-opacity="0.12" '
            f'stroke="{colour}"/>'
        )
        self.text(x + width / 2, y + height / 2 + 5, words, anchor="middle")

    def codes(self, x: float, y: float, codes: str, colours: list[str]) -> float:
        """A row of code boxes, one for each word; returns where the row ends."""
        for code, colour in zip(codes.split(), colours, strict=True):
            self.box(x, y, CODE - 4, CODE - 4, code, colour=colour)
            x += CODE
        return x

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through points, with a head at its end."""
        path = " L".join(f"{x},{y}" for x, y in points)
        self.elements.append(f'<path d="M{path}" class="arrow" marker-end="url(#head)"/>')

    def svg(self) -> str:
        """The whole file; words and lines follow the reader's light or dark theme."""
        style = (
            "text{font-family:system-ui,sans-serif;fill:#1f2328}.arrow{fill:none;stroke:#5b6470;stroke-width:1.5}"
            "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.arrow{stroke:#9aa4af}}"
        )
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{PLAIN}"/></marker>'
        )
        description = (
            "An item's text and image become vectors, each vector becomes a few codes, and the codes of both, with a "
            "transition token between them, are the item's semantic ID. A backbone reads the semantic IDs of a user's "
            "history and generates the next item's ID code by code, along a trie of the IDs that exist."
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
            f"<title>How recbole_mgr works</title><desc>{description}</desc><style>{style}</style><defs>{head}</defs>\n"
            + "\n".join(self.elements)
            + "\n</svg>\n"
        )


def architecture() -> str:
    """The picture as SVG: above an item becomes its ID, below the next ID is generated."""
    picture = Picture()
    picture.text(24, 34, "1  An item becomes a semantic ID", size=17)
    for y, modality, colour in ((58, "text", TEXT), (118, "image", IMAGE)):
        picture.box(24, y, 120, 40, modality, colour=colour)
        picture.arrow((146, y + 20), (180, y + 20))
        picture.box(184, y, 150, 40, "encoder: a vector", colour=colour)
        picture.arrow((336, y + 20), (370, y + 20))
        picture.box(374, y, 170, 40, "quantiser: three codes", colour=colour)
    picture.arrow((546, 78), (592, 100))
    picture.arrow((546, 138), (592, 118))
    digits = [TEXT] * 3 + [MARK] + [IMAGE] * 3
    picture.codes(600, 94, "5 0 7 → 2 9 4", digits)
    picture.text(600, 152, "text codes, transition token, image codes", size=13)
    picture.text(600, 172, "(MGR-LF++; the other models differ here)", size=13)

    picture.text(24, 226, "2  The next item is generated, not scored", size=17)
    for y, name in ((248, "A user's history"), (292, ""), (336, "")):
        if name:
            picture.text(24, y + 20, name)
        picture.codes(150, y, {248: "5 0 7 → 2 9 4", 292: "5 3 1 → 8 8 0", 336: "1 6 6 → 2 9 7"}[y], digits)
    picture.arrow((396, 307), (430, 307))
    picture.box(434, 272, 130, 70, "backbone", colour=PLAIN)
    picture.arrow((566, 307), (596, 307))
    picture.codes(600, 292, "5 0 ? · · · ·", digits)
    picture.text(600, 274, "beam search, code by code", size=13)
    picture.text(600, 350, "along a trie: only IDs that exist", size=13)
    picture.arrow((842, 307), (866, 307))
    picture.box(870, 280, 74, 54, "items", colour=PLAIN)

    picture.arrow((907, 336), (907, 392), (860, 392))
    picture.box(434, 374, 424, 36, "RecBole's metrics, over all users and all items", colour=PLAIN)
    picture.text(24, 397, "RecBole's own models stand in the same table.", size=13)
    return picture.svg()


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(architecture(), encoding="utf-8")
