"""Provenance labels and fingerprints the data; messages say where a data set is that was not found."""

import pytest

from recbole_mgr.data.provenance import as_arguments, no_such_data, read_provenance


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


def test_a_data_set_that_is_not_there_is_told_what_may_have_been_meant(tmp_path, write_dataset):
    nothing = no_such_data(tmp_path / "nowhere" / "shop" / "shop.inter")
    assert nothing.endswith("--data_path must name the folder that holds shop/shop.inter")
    for name in ("Shop", "films"):
        write_dataset(tmp_path, name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "old.inter").touch()  # no data set: it is not called as its folder
    misspelt = no_such_data(tmp_path / "shp" / "shp.inter")
    assert misspelt.endswith(f"the folder that holds shp/shp.inter. {tmp_path} holds Shop, films")
    folder_itself = no_such_data(tmp_path / "Shop" / "Shop" / "Shop.inter")
    assert folder_itself.endswith(f"must name the folder that holds Shop/Shop.inter: {tmp_path}")


def test_a_data_set_in_the_arguments_of_a_command_is_quoted(tmp_path):
    assert as_arguments(tmp_path / "Shop", "Shop") == f"Shop --data_path {tmp_path}"
    assert as_arguments(tmp_path / "my data" / "Shop", "Shop") == f"Shop --data_path '{tmp_path}/my data'"
