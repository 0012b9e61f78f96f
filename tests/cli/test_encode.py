"""The command from items to feature file: caches, interruptions, processes, broken pictures."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from recbole_mgr.cli.main import main
from recbole_mgr.data.provenance import read_provenance
from recbole_mgr.encoding import shard
from recbole_mgr.encoding.classical import ClassicalPictures
from recbole_mgr.encoding.encoder import Encoder

ROOT = Path(__file__).parents[2]
ITEMS = 60


@pytest.fixture
def shop(tmp_path):
    """A shop of 60 items: pictures of 40 colours; the last 20 items show what the first 20 show; texts differ."""
    folder = tmp_path / "Shop"
    (folder / "images").mkdir(parents=True)
    write_items(folder, ITEMS)
    for item in range(ITEMS):
        picture(folder, item, (item % 40) * 6)
    return folder


def write_items(folder, count):
    rows = [f"i{item}\tsoap number {item}\t{'red ' * (item % 9 + 1)}\ti{item}.png" for item in range(count)]
    header = "item_id:token\ttitle:token_seq\tcolour:token_seq\timage:token"
    (folder / "Shop.item").write_text("\n".join([header, *rows]) + "\n")


def picture(folder, item, shade):
    Image.new("RGB", (8, 8), (shade, 255 - shade, 0)).save(folder / "images" / f"i{item}.png")


def encode(folder, *arguments, modality="image"):
    return main(["encode", "Shop", "--data_path", str(folder.parent), "--modality", modality, *arguments])


def vectors(folder, modality="image"):
    tokens = (folder / f"Shop.{modality}.ids").read_text().splitlines()
    return dict(zip(tokens, np.load(folder / f"Shop.{modality}.npy"), strict=True))


def provenance(folder, modality="image"):
    return yaml.safe_load((folder / f"Shop.{modality}.yaml").read_text())


class Shades(Encoder):
    """A picture's first pixel; counts what it encodes and may die on the way."""

    reads = "image"
    libraries = ("numpy",)
    identity = {"encoder": "shades"}

    def __init__(self):
        self.seen = 0

    @classmethod
    def of(cls, request):
        return cls()

    def encode(self, contents):
        self.seen += len(contents)
        return np.array([content.getpixel((0, 0)) for content in contents], dtype=np.float16)


@pytest.fixture
def shades(monkeypatch):
    encoder = Shades()
    monkeypatch.setattr("recbole_mgr.encoding.encode.make_encoder", lambda request: encoder)
    return encoder


# -- what is written ----------------------------------------------------------------------------------------------


def test_each_item_gets_the_vector_of_its_own_picture(shop, shades, capsys):
    assert encode(shop) == 0
    found = vectors(shop)
    assert list(found) == [f"i{item}" for item in range(ITEMS)]
    assert all(found[f"i{item}"].tolist() == [item % 40 * 6, 255 - item % 40 * 6, 0] for item in range(ITEMS))
    assert shades.seen == 40  # copies are not encoded again
    assert "60 x 3, 40 encoded now, read from image" in capsys.readouterr().out


def test_the_fields_are_kept_with_the_file_and_leave_the_data_as_it_was(shop):
    assert encode(shop, "--fields", "colour", "title", "--dim", "4", modality="text") == 0
    written = provenance(shop, "text")
    assert written["fields"] == ["colour", "title"]
    assert written["shape"] == [60, 4]
    assert written["settings"] == {"encoder": "classical", "method": "TF-IDF and SVD", "dim": 4}
    assert len(written["fingerprint"]) == 16
    assert len(written["date"]) == 10
    before = read_provenance(shop, "Shop").fingerprint
    (shop / "Shop.text.yaml").unlink()
    (shop / "Shop.text.encoder.npz").unlink()
    assert read_provenance(shop, "Shop").fingerprint == before


def test_classical_pictures_are_those_of_the_function(shop):
    from recbole_mgr.encoding.classical import encode_images

    assert encode(shop, "--dim", "8") == 0
    expected = encode_images([shop / "images" / f"i{item}.png" for item in range(ITEMS)], dim=8).vectors
    np.testing.assert_allclose(np.array(list(vectors(shop).values())), expected, atol=2e-3)


def test_missing_and_broken_pictures_are_counted_and_listed(shop, shades, capsys):
    (shop / "images/i3.png").unlink()
    (shop / "images/i4.png").write_bytes(b"no picture")
    (shop / "images/i44.png").write_bytes(b"no picture")  # a copy of it
    assert encode(shop) == 0
    assert set(vectors(shop)) == {f"i{item}" for item in range(ITEMS)} - {"i3", "i4", "i44"}
    rows = [line.split("\t") for line in (shop / "Shop.image.missing.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows] == [
        ["item_id:token", "file:token"],
        *([i, f"{i}.png"] for i in ("i3", "i4", "i44")),
    ]
    assert "1 file is missing, 2 unreadable" in capsys.readouterr().out
    assert provenance(shop)["items_without_vector"] == {"file is missing": 1, "unreadable": 2}
    for item in (3, 4, 44):
        picture(shop, item, item % 40 * 6)
    assert encode(shop) == 0
    assert len(vectors(shop)) == ITEMS
    assert not (shop / "Shop.image.missing.tsv").exists()


# -- what is not encoded again ------------------------------------------------------------------------------------


def test_only_new_and_changed_pictures_are_encoded_again(shop, shades):
    assert encode(shop) == 0
    shades.seen = 0
    assert encode(shop) == 0
    assert shades.seen == 0
    write_items(shop, ITEMS + 2)
    picture(shop, ITEMS, 251)
    picture(shop, ITEMS + 1, 6)  # as item 1
    picture(shop, 0, 253)
    assert encode(shop) == 0
    assert shades.seen == 2
    found = vectors(shop)
    assert [int(found[f"i{item}"][0]) for item in (0, 1, 40, 60, 61)] == [253, 6, 0, 251, 6]


def test_another_encoder_shares_nothing(shop, shades):
    assert encode(shop) == 0
    shades.identity, shades.seen = {"encoder": "other shades"}, 0
    assert encode(shop) == 0
    assert shades.seen == 40


def test_an_interrupted_run_keeps_its_chunks(shop, shades, monkeypatch):
    monkeypatch.setattr(shard, "CHUNK_SECONDS", 0.0)
    original = shades.encode

    def dies(contents):
        if shades.seen >= 20:
            raise KeyboardInterrupt
        return original(contents)

    monkeypatch.setattr(shades, "encode", dies)
    assert encode(shop, "--batch_size", "5") == 130
    assert not (shop / "Shop.image.npy").exists()
    monkeypatch.setattr(shades, "encode", original)
    shades.seen = 0
    assert encode(shop, "--batch_size", "5") == 0
    assert shades.seen == 20
    assert [int(vector[0]) for vector in vectors(shop).values()] == [item % 40 * 6 for item in range(ITEMS)]


SLOW = """
import sys, time
from recbole_mgr.cli.main import main
from recbole_mgr.encoding import shard
from recbole_mgr.encoding.classical import ClassicalPictures
shard.CHUNK_SECONDS = 0.0
encode = ClassicalPictures.encode
ClassicalPictures.encode = lambda self, contents: time.sleep(0.5) or encode(self, contents)
sys.exit(main(sys.argv[1:]))
"""


def _started(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )


def test_killed_in_the_middle_then_resumed_nothing_is_lost_and_nothing_doubled(shop, monkeypatch):
    command = ["encode", "Shop", "--data_path", shop.parent, "--modality", "image", "--batch_size", "4"]
    killed = _started(["-c", SLOW, *command])
    store = shop / ".vectors"
    deadline = time.monotonic() + 240
    while len(list(store.glob("*/[!.]*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (shop / "Shop.image.npy").exists()
    kept = sum(len(np.load(path)) for path in store.glob("*/[!.]*.npy"))
    assert 12 <= kept < 40
    encoded = []
    original = ClassicalPictures.encode
    monkeypatch.setattr(ClassicalPictures, "encode", lambda self, part: encoded.extend(part) or original(self, part))
    assert encode(shop) == 0
    assert len(encoded) == 40 - kept
    keys = np.concatenate([np.load(path)["key"] for path in store.glob("*/[!.]*.npy")])
    assert len(np.unique(keys)) == len(keys) == 40
    assert len(vectors(shop)) == ITEMS


def test_two_processes_write_what_one_writes(shop, tmp_path):
    (shop / "images/i7.png").write_bytes(b"no picture")
    assert encode(shop, "--output", str(tmp_path / "one")) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["encode", "Shop", "--data_path", tmp_path, "--modality", "image", "--output", tmp_path / "two"]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # as torchrun says it
    ranks = [
        _started([ROOT / "run_recbole_mgr.py", *command], RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")
    ]
    try:
        (said, complaint), (silence, _) = (rank.communicate(timeout=240) for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], complaint
    assert "59 x 64" in said and not silence  # rank 0 alone speaks
    for name in ("Shop.image.ids", "Shop.image.missing.tsv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, two = (np.load(tmp_path / folder / "Shop.image.npy").astype(np.float32) for folder in ("one", "two"))
    np.testing.assert_allclose(one, two, atol=2e-3)  # other numbers of threads may round otherwise
    assert len(list((tmp_path / "two/.vectors").glob("*/*.npy"))) == 2  # each process encoded a share


# -- what is refused ----------------------------------------------------------------------------------------------


def test_vectors_that_a_user_user_supplied_are_not_overwritten(shop, shades, capsys):
    np.save(shop / "Shop.image.npy", np.ones((2, 3), dtype=np.float16))
    before = (shop / "Shop.image.npy").read_bytes()
    assert encode(shop) == 2
    assert "was not made by encode; choose another --modality" in capsys.readouterr().err
    assert (shop / "Shop.image.npy").read_bytes() == before
    assert encode(shop, "--overwrite") == 0
    assert len(vectors(shop)) == ITEMS


@pytest.mark.parametrize(
    ("arguments", "modality", "message"),
    [
        ([], "posters", "--reads text or --reads image"),
        (["--fields", "title"], "image", "--fields: makes a text"),
        (["--encoder", "clip"], "image", "--encoder clip: expected classical"),
        (["--device", "cuda:77"], "image", "--device cuda:77: not usable here"),
        (["--batch_size", "0"], "image", "--batch_size: 0 must be a whole number >= 1"),
        (["--dim", "0"], "text", "--dim: 0 must be a whole number >= 1"),
        (["--pooling", "max"], "text", "argument --pooling: invalid choice"),
        (["--reads", "text"], "te-xt", "is no name"),
    ],
)
def test_wrong_arguments_are_one_line(shop, capsys, arguments, modality, message):
    assert encode(shop, *arguments, modality=modality) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_no_readable_picture_at_all_is_an_error(shop, capsys):
    for path in (shop / "images").iterdir():
        path.unlink()
    assert encode(shop) == 2
    assert "no image of 60 items could be read, for example i59.png (file is missing)" in capsys.readouterr().err
