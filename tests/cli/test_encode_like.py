"""New items get the vectors that the catalogue's own encoder gives them; those of another encoder are refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mgr.cli.main import main
from recbole_mgr.encoding.classical import ClassicalPictures, ClassicalText
from recbole_mgr.encoding.description import keep_encoders
from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "dataset_atomic" / "Beauty"
HALF = 300


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """The sample's items and pictures as they are, encoded by default; a run directory that read them."""
    folder = tmp_path_factory.mktemp("data") / "Beauty"
    folder.mkdir()
    shutil.copy(SAMPLE / "Beauty.item", folder)
    (folder / "images").symlink_to(SAMPLE / "images")
    for modality in ("text", "image"):
        assert main(["encode", "Beauty", "--data_path", str(folder.parent), "--modality", modality]) == 0
    keep_encoders(folder, "Beauty", ["text", "image"], folder.parent / "run")
    return folder


@pytest.fixture
def news(tmp_path):
    """Half of the sample's items in a folder of their own, in another order."""
    folder = tmp_path / "News"
    folder.mkdir()
    header, *rows = (SAMPLE / "Beauty.item").read_text(encoding="utf-8").splitlines()
    (folder / "News.item").write_text("\n".join([header, *reversed(rows[:HALF])]) + "\n", encoding="utf-8")
    (folder / "images").symlink_to(SAMPLE / "images")
    return folder


def encode(folder, *arguments, modality="text"):
    name, data_path = folder.name, str(folder.parent)
    return main(["encode", name, "--data_path", data_path, "--modality", modality, *map(str, arguments)])


def vectors(folder, modality="text"):
    tokens = (folder / f"{folder.name}.{modality}.ids").read_text(encoding="utf-8").splitlines()
    return dict(zip(tokens, np.load(folder / f"{folder.name}.{modality}.npy"), strict=True))


def description(folder, modality="text"):
    return yaml.safe_load((folder / f"{folder.name}.{modality}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("like", ["data", "run"])
def test_an_item_encoded_again_gets_its_vector_and_its_codes(catalogue, news, modality, like):
    folder = catalogue if like == "data" else catalogue.parent / "run"
    assert encode(news, "--like", folder, modality=modality) == 0
    ours, theirs = vectors(catalogue, modality), vectors(news, modality)
    assert len(theirs) > HALF - 10
    assert all((ours[item] == vector).all() for item, vector in theirs.items())
    quantizer = ResidualKMeans(levels=3, codebook_size=32, seed=0)
    quantizer.fit(np.array(list(ours.values())))
    assert (
        quantizer.encode(np.array([ours[item] for item in theirs])) == quantizer.encode(np.array(list(theirs.values())))
    ).all()
    assert description(news, modality)["fingerprint"] == description(catalogue, modality)["fingerprint"]
    assert description(news, modality)["fields"] == description(catalogue, modality)["fields"]


def test_without_like_the_same_items_get_other_vectors(catalogue, news):
    """The control: what the test above would see if nothing were kept."""
    assert encode(news) == 0
    ours, theirs = vectors(catalogue), vectors(news)
    assert np.mean([(ours[item] == vector).all() for item, vector in theirs.items()]) < 0.1
    assert description(news)["fingerprint"] != description(catalogue)["fingerprint"]


def test_what_was_learned_survives_its_file(tmp_path):
    texts = ["red lipstick", "lipstick, red and glossy", "guitar strings", "???"]
    encoder, again = ClassicalText(dim=3), ClassicalText(dim=3)
    expected = encoder.encode(texts)
    np.savez(tmp_path / "x.npz", **encoder.learned())
    again.load(dict(np.load(tmp_path / "x.npz")))
    np.testing.assert_array_equal(again.encode(texts), expected)
    np.testing.assert_array_equal(again.encode(texts[1:2]), expected[1:2])
    assert not again.encode(["kiwi"]).any()
    with pytest.raises(ValueError, match="not what an encoder of pictures learned"):
        ClassicalPictures(dim=3).load(encoder.learned())
    with pytest.raises(ValueError, match="not what an encoder of texts learned"):
        ClassicalText(dim=2).load(encoder.learned())
    with pytest.raises(ValueError, match="not what an encoder of texts learned"):
        ClassicalText(dim=3).load({**encoder.learned(), "width": np.array([3, 3])})


def test_items_of_which_nothing_is_known_are_listed_as_absent(catalogue, news, capsys):
    with open(news / "News.item", "a", encoding="utf-8") as file:
        file.write("stranger\t\u0416\u0416\u0416\t\t\t\t\n")
    assert encode(news, "--like", catalogue) == 0
    assert "1 has nothing in common with what the encoder learned" in capsys.readouterr().out
    assert "stranger" not in vectors(news)


def spoil(folder, how):
    """Make the description beside a catalogue's vectors wrong in some way."""
    path = folder / f"{folder.name}.text.yaml"
    if how == "no description":
        path.unlink()
    elif how == "an old description":
        path.write_text("encoder: classical\n")
    elif how == "another's fit":
        shutil.copy(folder / f"{folder.name}.image.encoder.npz", folder / f"{folder.name}.text.encoder.npz")
    elif how == "no fit":
        (folder / f"{folder.name}.text.encoder.npz").unlink()
    elif how == "a cut fit":
        fit = folder / f"{folder.name}.text.encoder.npz"
        fit.write_bytes(fit.read_bytes()[:-2000])
    elif how == "another fit":
        encoder = ClassicalText(dim=64)
        encoder.encode(["other words", "than those"])
        np.savez(folder / f"{folder.name}.text.encoder.npz", **encoder.learned())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no description", "which would say how its 'text' was encoded"),
        ("an old description", "has no fingerprint"),
        ("another's fit", "not what an encoder of texts learned"),
        ("no fit", "text.encoder.npz: not readable"),
        ("a cut fit", "text.encoder.npz: not readable"),
        ("another fit", "its vectors were made by another encoder"),
    ],
)
def test_what_cannot_be_done_again_is_refused(catalogue, news, tmp_path, capsys, how, message):
    copy = tmp_path / "Beauty"
    shutil.copytree(catalogue, copy, symlinks=True)
    spoil(copy, how)
    assert encode(news, "--like", copy) == 2
    assert message in capsys.readouterr().err
    assert not (news / "News.text.npy").exists()


@pytest.mark.parametrize("option", ["--dim=8", "--fields=title", "--reads=text", "--no-normalize"])
def test_what_like_settles_cannot_be_asked_for(catalogue, news, capsys, option):
    assert encode(news, "--like", catalogue, option) == 2
    assert "with --like it is that of the vectors made before" in capsys.readouterr().err


def test_a_folder_that_is_none(news, capsys):
    assert encode(news, "--like", news.parent / "gone") == 2
    assert "no such folder; name a data set's folder or a run directory" in capsys.readouterr().err


# -- killed, or two at once ---------------------------------------------------------------------------------------

DIES = """
import os, sys
from recbole_mgr.cli.main import main
from recbole_mgr import files
from recbole_mgr.encoding import encode
names = {"vectors": "write_features", "description": "write_description"}
name = names[sys.argv[1]]
original = getattr(encode, name)
def dies(*arguments, **options):
    if sys.argv[2] == "after":
        original(*arguments, **options)
    os._exit(9)
setattr(encode, name, dies)
main(sys.argv[3:])
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["vectors", "description"])
def test_killed_beside_any_file_the_same_command_goes_on(news, what, when):
    command = ["encode", "News", "--data_path", str(news.parent), "--modality", "text"]
    killed = subprocess.run([sys.executable, "-c", DIES, what, when, *command], cwd=ROOT, timeout=120)
    assert killed.returncode == 9
    assert main(command) == 0
    assert len(vectors(news)) == HALF
    assert description(news)["shape"] == [HALF, 64]


def test_a_second_command_is_refused_by_name(news, monkeypatch, capsys):
    from recbole_mgr.encoding import encode as module

    original = module.write_features
    seen = []

    def while_the_first_writes(*arguments):
        other = subprocess.run(
            [sys.executable, ROOT / "run_recbole_mgr.py", "encode", "News", "--data_path", news.parent]
            + ["--modality", "text"],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
        )
        seen.append((other.returncode, other.stderr))
        original(*arguments)

    monkeypatch.setattr(module, "write_features", while_the_first_writes)
    assert encode(news) == 0
    ((status, complaint),) = seen
    assert status == 2 and "News.text.npy is being made by process" in complaint
    assert len(vectors(news)) == HALF
