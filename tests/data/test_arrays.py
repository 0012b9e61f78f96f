"""Arrays of strangers' files: what they claim is compared with what they hold before memory is taken."""

import io
import zipfile

import numpy as np
import pytest

from recbole_mgr.data.arrays import finite, read_array, read_arrays, whole


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), version=(1, 0))
    return buffer.getvalue()


def packed(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_what_was_written_comes_back(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(["u1", "ü"]), "c": np.array(3.5), "d": np.empty((0, 4))}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    back = read_arrays(tmp_path / "x.npz", remedy="")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
    np.save(tmp_path / "x.npy", arrays["a"])
    np.testing.assert_array_equal(read_array(tmp_path / "x.npy", remedy=""), arrays["a"])


def test_arrays_may_stay_in_their_file(tmp_path):
    arrays = {"text": np.arange(6, dtype=np.float16).reshape(2, 3), "by column": np.arange(6).reshape(2, 3).T}
    np.savez(tmp_path / "x.npz", **arrays)
    back = read_arrays(tmp_path / "x.npz", remedy="", mapped=True)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert isinstance(back[name], np.memmap) and back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match="text.npy is compressed.*; copy it again"):
        read_arrays(tmp_path / "x.npz", remedy="copy it again", mapped=True)


def broken_archives(path):
    small = npy(np.arange(3))
    huge = small.replace(b"(3,), }" + b" " * 12, b"(9999999999999,), }")  # 80 TB in a header of the same length
    assert huge != small and len(huge) == len(small)
    with_object = io.BytesIO()
    np.lib.format.write_array(with_object, np.array([{}], dtype=object), allow_pickle=True)
    yield "header states", {"a.npy": huge}
    yield "header states", {"a.npy": small[:-1]}
    yield "a.npy holds Python objects", {"a.npy": with_object.getvalue()}
    yield "would unpack to 300,000", {"a.npy": bytes(300_000_000)}
    yield "magic", {"a.npy": b"no array at all"}
    yield "EOF", {"a.npy": b""}


@pytest.mark.parametrize("number", range(6))
def test_claims_that_are_not_so_are_refused_by_name(tmp_path, number):
    message, members = list(broken_archives(tmp_path))[number]
    packed(tmp_path / "x.npz", members)
    with pytest.raises(ValueError, match=rf"x\.npz: this file is damaged .*{message}.*; copy it again"):
        read_arrays(tmp_path / "x.npz", remedy="copy it again")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04\x95 pickle"])
def test_what_is_no_archive_is_refused_by_name(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz: this file is damaged .*; copy it again"):
        read_arrays(tmp_path / "x.npz", remedy="copy it again")
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy: this file is damaged .*; copy it again"):
        read_array(tmp_path / "x.npy", remedy="copy it again")


def test_an_array_larger_than_its_file_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(300))
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (whole[:-8], whole.replace(b"(300,)", b"(999,)"), whole.replace(b"(300,)", b"(300(,")):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            read_array(tmp_path / "x.npy", remedy="")


def test_arrays_of_a_file_are_what_they_are_expected_to_be():
    arrays = {"a": np.ones((2, 3)), "ids": np.array([0, 4]), "none": np.empty((0, 3)), "x": np.array([np.inf, 1])}
    assert finite(arrays, "a", 2, 3) is finite(arrays, "a", None, 3) is arrays["a"]
    assert finite(arrays, "none", 0, 3).size == 0
    assert whole(arrays, "ids", 2, least=0, below=5) is arrays["ids"]
    for name, shape, message in (
        ("b", (2,), "'b' is missing"),
        ("a", (3, 2), r"'a' is float64 \[2, 3\], expected numbers \[3, 2\]"),
        ("a", (2,), r"'a' is float64 \[2, 3\], expected numbers \[2\]"),
        ("none", (None, 3), r"'none' is float64 \[0, 3\], expected numbers \[n, 3\]"),
        ("x", (2,), "'x' has numbers that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            finite(arrays, name, *shape)
    for name, below in (("ids", 4), ("x", 5)):
        with pytest.raises(ValueError, match=rf"'{name}' is .*expected whole numbers in 0..{below - 1}"):
            whole(arrays, name, 2, least=0, below=below)
