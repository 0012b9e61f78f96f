"""Provenance labels and fingerprints the data."""

import pytest

from recbole_mgr.data.provenance import read_provenance


def test_provenance_labels_synthetic_data(tmp_path, write_dataset):
    real, made_up = write_dataset(tmp_path, "real"), write_dataset(tmp_path, "Beauty", synthetic=True)
    assert read_provenance(real, "real").label == "real"
    provenance = read_provenance(made_up, "Beauty")
    assert provenance.label == "Beauty (synthetic sample)"
    assert provenance.details["licence"] == "none"
    (real / "real.provenance.yaml").unlink()
    assert read_provenance(real, "real").details == {}


def test_the_fingerprint_follows_the_interactions_alone(tmp_path, write_dataset):
    one, two = write_dataset(tmp_path / "one"), write_dataset(tmp_path / "two")
    before = read_provenance(one, "tiny").fingerprint
    assert len(before) == 12
    assert read_provenance(two, "tiny").fingerprint == before
    (two / "images").mkdir()
    (two / "notes.txt").write_text("not a data file")
    (two / "tiny.backup").mkdir()
    assert read_provenance(two, "tiny").fingerprint == before
    seen = {before}
    for suffix in ("inter", "text.npy", "image.ids"):
        file = one / f"tiny.{suffix}"
        file.write_bytes(file.read_bytes() + b" ")
        seen.add(read_provenance(one, "tiny").fingerprint)
    assert len(seen) == 2  # a file that a model reads is part of what its run is (run/identity.py)


@pytest.mark.parametrize(("content", "message"), [("a: [", "not valid YAML"), ("- a list", "expected 'key: value'")])
def test_bad_provenance_is_refused(tmp_path, write_dataset, content, message):
    folder = write_dataset(tmp_path)
    (folder / "tiny.provenance.yaml").write_text(content)
    with pytest.raises(ValueError, match=f"tiny.provenance.yaml: {message}"):
        read_provenance(folder, "tiny")
