import numpy as np
import pytest
from PIL import Image, ImageDraw

from recbole_mgr.encoding.classical import encode_images, encode_text

TEXTS = [
    "red lipstick for dry lips",
    "lipstick red and glossy",
    "electric guitar strings",
    "strings for an acoustic guitar",
    "running shoes",
]


def picture(folder, name, colour, stripes="across"):
    image = Image.new("RGB", (60, 90), "white")
    draw = ImageDraw.Draw(image)
    for start in range(0, 90, 20):
        box = (0, start, 60, start + 9) if stripes == "across" else (start, 0, start + 9, 90)
        draw.rectangle(box, fill=colour)
    path = folder / name
    image.save(path)
    return path


def nearest(vectors):
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return similarity.argmax(axis=1).tolist()


@pytest.mark.parametrize("dim", [2, 5, 64])
def test_text_vectors_have_the_asked_form_and_do_not_change(dim):
    vectors = encode_text(TEXTS, dim=dim)
    assert vectors.shape == (5, dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors, encode_text(TEXTS, dim=dim))


def test_texts_with_words_in_common_are_near():
    vectors = encode_text(TEXTS)
    assert nearest(vectors)[:4] == [1, 0, 3, 2]
    assert not vectors[:, len(TEXTS) :].any()  # no direction beyond the rank


def test_texts_without_anything_in_common_are_orthogonal_and_equal_texts_are_equal():
    gram = (vectors := encode_text(["kiwi", "plum", "kiwi"])) @ vectors.T
    np.testing.assert_allclose(gram, [[1, 0, 1], [0, 1, 0], [1, 0, 1]], atol=1e-5)


def test_words_that_differ_in_a_vowel_mark_alone_are_different():
    vectors = encode_text(["राम की", "राम का", "राम की"], dim=3)
    assert np.allclose(vectors[0], vectors[2]) and vectors[0] @ vectors[1] < 0.9


def test_text_lost_to_the_reduction_is_zero_and_not_noise():
    vectors = encode_text(["kiwi", "kiwi", "kiwi", "plum"], dim=1)
    np.testing.assert_allclose(np.abs(vectors[:, 0]), [1, 1, 1, 0], atol=1e-5)


def test_text_without_any_letter_still_has_a_vector():
    np.testing.assert_allclose(np.linalg.norm(encode_text(["???", "!!", "a"]), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "dim", "message"),
    [(["a", " \n"], 4, r"texts\[1\] is blank"), ([], 4, "nothing to encode"), (["a"], 0, "dim is 0")],
)
def test_bad_texts_are_named(texts, dim, message):
    with pytest.raises(ValueError, match=message):
        encode_text(texts, dim=dim)


def test_pictures_of_one_colour_and_of_one_direction_are_near(tmp_path):
    looks = [("darkred", "across"), ("red", "across"), ("darkred", "down"), ("red", "down")]
    looks += [("navy", "across"), ("blue", "across"), ("navy", "down"), ("blue", "down")]
    encoded = encode_images([picture(tmp_path, f"{i}.png", *look) for i, look in enumerate(looks)])
    assert encoded.vectors.shape == (8, 64)
    assert encoded.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-5)
    gram = encoded.vectors @ encoded.vectors.T
    across, reddish = np.arange(8) % 4 < 2, np.arange(8) < 4
    for trait in (across, reddish):
        same = trait[:, None] == trait
        other_equal = ~np.eye(8, dtype=bool)
        assert gram[same & other_equal].mean() > gram[~same].mean() + 0.2
    assert nearest(encoded.vectors) == [1, 0, 3, 2, 5, 4, 7, 6]


def test_missing_pictures_are_absent_and_do_not_change_the_others(tmp_path):
    paths = [picture(tmp_path, f"{c}.png", c) for c in ("red", "blue", "green")]
    full = encode_images(paths, dim=8)
    gaps = encode_images([None, *paths[:2], None, str(paths[2])], dim=8)
    assert gaps.present.tolist() == [False, True, True, False, True]
    assert not gaps.vectors[[0, 3]].any()
    np.testing.assert_array_equal(gaps.vectors[gaps.present], full.vectors)


def test_a_lone_picture_has_nothing_to_tell_it_apart(tmp_path):
    encoded = encode_images([picture(tmp_path, "a.png", "red")])
    assert encoded.present.tolist() == [True]
    assert not encoded.vectors.any()


def test_transparent_pixels_count_as_white(tmp_path):
    image = Image.open(picture(tmp_path, "solid.png", "teal")).convert("RGBA")
    pixels = np.array(image)
    pixels[(pixels[..., :3] == 255).all(axis=2)] = 0
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    other = picture(tmp_path, "other.png", "red", "down")
    vectors = encode_images([tmp_path / "solid.png", tmp_path / "clear.png", other]).vectors
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2])


def test_an_unreadable_picture_is_named(tmp_path):
    good = picture(tmp_path, "good.jpg", "red")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:-200])
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    for bad in (cut, text, tmp_path / "absent.jpg"):
        with pytest.raises(ValueError, match=f"{bad.name}.*leave its item without"):
            encode_images([good, bad])
    with pytest.raises(ValueError, match="no picture"):
        encode_images([None, None])
