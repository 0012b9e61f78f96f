"""A shop with pictures, odd titles and semantic IDs, and the pages of it."""

import numpy as np
import pytest
from PIL import Image

from recbole_mgr.run.pipeline import ModelRequest, run_comparison

ODD = {
    0: "<img src=x onerror=alert(1)>",
    1: "</script><script>alert(1)</script>",
    2: "A title that goes on and on, " * 20,
    3: "",
}


@pytest.fixture(scope="session")
def shop_data(write_dataset, tmp_path_factory):
    """24 items, 30 users, text and image vectors; some items without picture, title or vector; two that collide."""
    folder = write_dataset(tmp_path_factory.mktemp("shop"), "tiny", without_vector=["i7"])
    (folder / "images").mkdir()
    lines = ["item_id:token\ttitle:token_seq\tbrand:token\timage:token"]
    for number in range(24):
        name = "" if number == 4 else f"i{number}.png"
        lines.append(f"i{number}\t{ODD.get(number, f'Thing {number} of wood')}\tMaker {number % 3}\t{name}")
        if number not in (4, 5):
            Image.new("RGB", (30, 40), (10 * number, 80, 120)).save(folder / "images" / name)
    (folder / "tiny.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    codes = ["item_id:token\ttext_codes:token_seq\timage_codes:token_seq"]
    codes += [f"i{n}\t{n % 3} {n // 3 % 4}\t{n // 12} {0 if n in (0, 12) else n % 5}" for n in range(24)]
    codes.append("i24\t0 0\t0 0")  # collides with i0, and no interaction has it
    (folder / "tiny.semantic_ids.tsv").write_text("\n".join(codes) + "\n", encoding="utf-8")
    np.save(folder / "tiny.audio.npy", np.zeros((0, 4), dtype=np.float32))  # unreadable, so left out
    (folder / "tiny.audio.ids").write_text("")
    return folder


@pytest.fixture(scope="session")
def shop_runs(shop_data, tiny_settings, tmp_path_factory):
    """Run directories of three rows on the shop: TIGER, a baseline without beams, LF++."""
    folder = tmp_path_factory.mktemp("shop_runs")
    settings = tiny_settings(shop_data.parent, checkpoint_dir=str(folder / "saved"), n_layers=1, epochs=2)
    rows = [
        ModelRequest("TIGER", {"modalities": ["text"]}),
        ModelRequest("HistoryAgain", {}),
        ModelRequest("MGRLFpp", {}),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_comparison(rows, "tiny", settings=settings)
    return [next((folder / "saved").glob(f"*/{row.name}*/seed-*")) for row in rows]
