"""Files are written whole or not at all."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from recbole_mgr.files import content_digest, owned, publish, replacing, require_folder, sweep, write_text


def test_the_file_appears_only_when_the_block_has_ended(tmp_path):
    target = tmp_path / "new" / "vectors.npy"
    with replacing(target) as unfinished:
        unfinished.write_bytes(b"first half")
        assert not target.exists()
        assert unfinished.parent == target.parent  # a rename must not cross file systems
        assert unfinished.suffix == ".npy"
    assert target.read_bytes() == b"first half"
    assert os.listdir(target.parent) == ["vectors.npy"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.md"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="half way"), replacing(target) as unfinished:
        unfinished.write_text("new")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "é")
    with replacing(tmp_path / "arrays.safetensors") as unfinished:
        save_file({"x": torch.ones(1)}, unfinished)
    assert (tmp_path / "arrays.safetensors").stat().st_mode == (tmp_path / "ours").stat().st_mode
    (tmp_path / "usual").write_text("é", encoding="utf-8")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "usual").read_bytes()


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "x") as one, replacing(tmp_path / "x") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "x").read_text() == "one"  # the outer block ends last


def test_a_digest_is_of_the_content_and_of_the_names_below_a_folder(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "a.png").write_bytes(b"picture")
    file = tmp_path / "one" / "below" / "a.png"
    assert content_digest(file) == hashlib.sha256(b"picture").hexdigest()
    same = content_digest(tmp_path / "other")
    assert content_digest(tmp_path / "one") == same
    file.write_bytes(b"another")
    assert content_digest(tmp_path / "one") != same
    file.unlink()
    (tmp_path / "one" / "below" / "b.png").write_bytes(b"picture")
    assert content_digest(tmp_path / "one") != same


def test_of_two_owners_the_second_is_refused_by_name(tmp_path):
    with owned(tmp_path / "Shop"):
        with (
            pytest.raises(
                ValueError, match=f"Shop is being made by process {os.getpid()} on .*; wait until it is done"
            ),
            owned(tmp_path / "Shop"),
        ):
            pass
        with owned(tmp_path / "Other"):
            pass
    with pytest.raises(RuntimeError), owned(tmp_path / "Shop"):
        raise RuntimeError
    with owned(tmp_path / "Shop"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_dead_owner_is_none(tmp_path):
    child = os.fork()
    if not child:
        with owned(tmp_path / "x"):
            os._exit(1)
    os.waitpid(child, 0)
    assert os.listdir(tmp_path) == [".x.lock"]
    with owned(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []


def test_never_two_owners_however_they_race(tmp_path):
    """Owners that come and go remove the lock that others are about to take."""
    inside, most = [], []

    def work():
        turns = 0
        while turns < 50:
            try:
                with owned(tmp_path / "x"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                turns += 1
            except ValueError:
                pass  # another one has it; a busy machine may say so any number of times

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200


def test_leftovers_of_a_killed_command_are_swept_and_nothing_else(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("kept.npz", "below/.hidden", ".x-notdigits0000.npy"):
        (tmp_path / name).write_text("mine")
    for name in (".x-0123456789ab.npy", "below/.best-fedcba987654.pth", ".y-0123456789ab"):
        (tmp_path / name).write_text("half")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".hidden", ".x-notdigits0000.npy", "below", "kept.npz"]
    with replacing(tmp_path / "z.npy") as unfinished:
        unfinished.write_text("half")
        sweep(tmp_path)  # such are the names of what is being made
        assert not unfinished.exists()
        unfinished.write_text("whole")


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", lambda source, target: steps.append(f"{source} -> {target}"))
    with replacing(tmp_path / "x") as unfinished:
        unfinished.write_text("whole")
    assert steps == [str(unfinished), f"{unfinished} -> {tmp_path / 'x'}", str(tmp_path)]


def test_a_folder_is_on_the_disk_with_all_that_it_holds_before_it_takes_its_name(tmp_path, monkeypatch):
    made, target = tmp_path / "made", tmp_path / "target"
    (made / "below").mkdir(parents=True)
    for name in ("x", "below/y"):
        (made / name).write_text("whole")
    steps, rename = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", lambda source, target: (steps.append("renamed"), rename(source, target)))
    publish(made, target)
    names = ("", "/below", "/below/y", "/x")
    assert sorted(steps[:4]) == [f"{made}{name}" for name in names]
    assert steps[4:] == ["renamed", str(tmp_path)]
    assert (target / "below" / "y").read_text() == "whole"


def test_what_cannot_be_made_is_named_and_leaves_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError) as error, replacing(tmp_path / "file" / "x"):
        pass
    assert error.value.filename == str(tmp_path / "file")
    with pytest.raises(IsADirectoryError) as error, replacing(tmp_path):
        pass
    assert error.value.filename == str(tmp_path)
    with pytest.raises(NotADirectoryError):
        require_folder(tmp_path / "file" / "below")
    require_folder(tmp_path / "new" / "below")
    for making in (replacing, owned):
        with pytest.raises(ValueError, match="refused"), making(tmp_path / "new" / "below" / "x"):
            raise ValueError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_waits_for_the_other_and_finds_its_work(tmp_path):
    made = []

    def work():
        with owned(tmp_path / "x", waits=True):
            if not (tmp_path / "x").exists():
                made.append(1)
                write_text(tmp_path / "x", "whole")

    threads = [threading.Thread(target=work) for _ in range(3)]
    with owned(tmp_path / "x"):
        for thread in threads:
            thread.start()
        assert made == []
    for thread in threads:
        thread.join()
    assert made == [1] and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_may_come_back_while_its_lock_is_made(tmp_path, monkeypatch):
    """A command that failed removes it, and a third one makes it again at once."""
    opened = Path.open

    def gone_for_a_moment(self, *args, **kwargs):
        monkeypatch.setattr(Path, "open", opened)
        raise FileNotFoundError

    monkeypatch.setattr(Path, "open", gone_for_a_moment)
    with owned(tmp_path / "saved" / "run"):
        assert (tmp_path / "saved" / ".run.lock").is_file()
