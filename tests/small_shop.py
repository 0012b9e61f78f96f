"""A shop of four items with titles and pictures, written as atomic files."""

from PIL import Image

TITLES = {"balm": "lip balm with honey", "soap": "olive soap", "mask": "clay mask for oily skin", "comb": "wooden comb"}
COLOURS = {"balm": "gold", "soap": "olive", "mask": "grey"}


def write_shop(folder, *, titles=TITLES, colours=COLOURS):
    """``<folder>/Shop`` with `.item` and pictures 20 pixels wide; items without a colour name no picture."""
    shop = folder / "Shop"
    (shop / "images").mkdir(parents=True, exist_ok=True)
    lines = ["item_id:token\ttitle:token_seq\tbrand:token\timage:token"]
    for item, title in titles.items():
        file = f"{item}.png" if item in colours else ""
        lines.append(f"{item}\t{title}\tAcme\t{file}")
        if file:
            Image.new("RGB", (20, 30), colours[item]).save(shop / "images" / file)
    (shop / "Shop.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return shop
