"""A run directory is complete, is checked, and runs nothing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mgr import load
from recbole_mgr.run.pipeline import ModelRequest, run_comparison


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.fixture
def copy(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


@pytest.fixture
def unsealed(copy):
    """A copy whose ``run.yaml`` knows no digests, as a stranger may make it, or 0.1 did."""
    change_yaml(copy / "run.yaml", files={})
    return copy


def change_yaml(path: Path, **changes) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_what_is_in_it(run):
    about = yaml.safe_load((run.folder / "run.yaml").read_text())
    assert (about["model"], about["items"], about["users"]) == ("MGRLFpp", 24, 30)
    assert about["data"]["details"]["licence"] == "none"
    assert {"torch", "recbole", "recbole_mgr", "python"} <= set(about["environment"])
    assert not list(run.folder.glob("*.pth"))
    modes = {file.stat().st_mode for file in run.folder.iterdir()}
    assert len(modes) == 1  # whoever may read one file may read them all


def test_arrays_that_hold_code_are_refused(unsealed):
    for name in ("quantizers.npz", "histories.npz"):
        whole = (unsealed / name).read_bytes()
        np.savez(unsealed / name, users=np.array([Bomb()], dtype=object))
        with pytest.raises(ValueError, match=f"{name}: this file is damaged .*holds Python objects"):
            load(unsealed)
        (unsealed / name).write_bytes(whole)
    assert load(unsealed)
    assert not Path("executed").exists()


def test_yaml_that_holds_code_is_refused(copy):
    for name in ("run.yaml", "settings.yaml"):
        whole = (copy / name).read_text()
        (copy / name).write_text(whole + "bomb: !!python/object/apply:os.mkdir [executed]\n")
        with pytest.raises(ValueError, match=f"{name}: not valid YAML"):
            load(copy)
        (copy / name).write_text(whole)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "name", ["run.yaml", "settings.yaml", "model.safetensors", "best.semantic_ids.tsv", "items.tsv"]
)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"{name} does not exist; name the folder of a finished run"):
        load(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "quantizers.npz", "histories.npz"])
@pytest.mark.parametrize("length", [0, 100])
def test_a_file_cut_short_is_named(copy, name, length):
    (copy / name).write_bytes((copy / name).read_bytes()[:length])
    with pytest.raises(ValueError, match=f"{name}: .*copy the run directory"):
        load(copy)


def test_files_of_different_runs_do_not_mix(unsealed, run, make_run):
    other = make_run("MGRLFpp", semantic_id_seed=7).folder
    for name, message in (
        ("best.semantic_ids", "these are not the semantic IDs of run.yaml"),
        ("model", "not the weights of this run's MGRLFpp .they were trained on other"),
    ):
        for file in other.glob(f"{name}.*"):
            shutil.copy(file, unsealed)
        with pytest.raises(ValueError, match=message):
            load(unsealed)
        for file in run.folder.glob(f"{name}.*"):
            shutil.copy(file, unsealed)
    assert load(unsealed)


def test_foreign_models_and_formats_are_refused(copy):
    change_yaml(copy / "run.yaml", format=99)
    with pytest.raises(ValueError, match="format 99, this version reads 1; install the recbole_mgr that wrote it"):
        load(copy)
    change_yaml(copy / "run.yaml", format=1, model="os.system")
    with pytest.raises(ValueError, match="model 'os.system' is not one of"):
        load(copy)
    change_yaml(copy / "run.yaml", model="TIGER")
    with pytest.raises(ValueError, match="model 'TIGER' is not one of .* or not that of settings.yaml"):
        load(copy)


def test_every_file_is_known_by_its_digest(copy):
    about = yaml.safe_load((copy / "run.yaml").read_text())
    there = {file.relative_to(copy).as_posix() for file in copy.rglob("*") if file.is_file()}
    assert set(about["files"]) == (there - {"run.yaml"}) | {"best.pth"}  # which was not copied
    for name in sorted(there - {"run.yaml", "result.json", "ranking.npz"}):
        whole = (copy / name).read_bytes()
        for place in (len(whole) // 3, len(whole) - 2):
            (copy / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ValueError, match=f"(?s){name}: .*(damaged|not valid YAML).*copy the run directory"):
                load(copy)
        (copy / name).write_bytes(whole)
    assert load(copy)


def test_sizes_and_ids_are_checked_before_anything_is_built(unsealed):
    settings = (unsealed / "settings.yaml").read_text()
    change_yaml(unsealed / "settings.yaml", hidden_size=200_000)
    with pytest.raises(ValueError, match="settings.yaml: hidden_size: 200000, but no stored weight is larger than"):
        load(unsealed)
    (unsealed / "settings.yaml").write_text(settings)
    arrays = dict(np.load(unsealed / "histories.npz"))
    for changes, message in (
        ({"item_ids": np.where(arrays["item_ids"] == 3, 4000, arrays["item_ids"])}, "ids out of 1..24"),
        ({"item_ids": -arrays["item_ids"]}, "ids out of 1..24"),
        ({"starts": arrays["starts"][::-1]}, "this file is damaged .starts."),
        ({"starts": np.append(arrays["starts"], arrays["starts"][-1])}, "30 users, 31 histories"),
        ({"users": np.zeros(10**8, dtype=np.uint8)}, "this file is damaged .it would unpack to 100,.* bytes"),
    ):
        np.savez_compressed(unsealed / "histories.npz", **{**arrays, **changes})
        with pytest.raises(ValueError, match=f"histories.npz: .*{message}"):
            load(unsealed)


def test_histories_are_kept_only_where_wanted(make_run, tmp_path, monkeypatch, write_dataset, tiny_settings):
    run = make_run("MGRLF", keep_histories=False)
    assert not (run.folder / "histories.npz").exists()
    model = load(run.folder)
    assert len(model.recommend(histories=[["i1"]]).item_ids[0]) == 10
    with pytest.raises(ValueError, match="keeps no histories of its users .*; give histories instead"):
        model.recommend(users=["u1"])

    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path)
    settings = tiny_settings(tmp_path, num_threads=1)
    run_comparison([ModelRequest("MGRLF", {})], "tiny", settings=settings)
    (kept,) = tmp_path.rglob("histories.npz")
    run_comparison([ModelRequest("MGRLF", {})], "tiny", settings={**settings, "keep_histories": False})
    assert not kept.exists()  # the finished run is read back, and forgets its users
