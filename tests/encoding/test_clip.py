import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from recbole_mgr.encoding.encoder import EncoderRequest
from recbole_mgr.encoding.registry import make_encoder


@pytest.fixture
def checkpoint(clip_config, tmp_path):
    """A file of weights other than those called random, and the model that has them."""
    open_clip.add_model_config(clip_config)
    torch.manual_seed(7)
    model = open_clip.create_model("tiny-clip")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt", model.eval()


def make(name, reads="image", **options):
    return make_encoder(EncoderRequest(f"open_clip:{name}", reads, **options))


def pictures():
    return [Image.new("RGB", (20, 30), colour) for colour in ("red", "navy")]


def test_towers_give_what_open_clip_gives(clip_config, checkpoint):
    path, model = checkpoint
    encoder = make(f"{clip_config}@{path}")
    ready = [encoder.prepare(picture) for picture in pictures()]
    with torch.no_grad():
        expected = model.encode_image(torch.stack(ready), normalize=True)
        np.testing.assert_allclose(encoder.encode(ready), expected, atol=2e-3)
        words = open_clip.get_tokenizer("tiny-clip")(["olive soap", "a comb"])
        expected = model.encode_text(words, normalize=True)
    np.testing.assert_allclose(
        make(f"{clip_config}@{path}", "text").encode(["olive soap", "a comb"]), expected, atol=2e-3
    )


def test_patches_are_the_towers_output_tokens(clip_config, checkpoint):
    path, model = checkpoint
    encoder = make(f"{clip_config}@{path}", patches=True)
    ready = [encoder.prepare(picture) for picture in pictures()]
    vectors = encoder.encode(ready)
    assert vectors.shape == (2, 4, 8)  # [B, T, width]
    model.visual.output_tokens = True
    with torch.no_grad():
        np.testing.assert_allclose(vectors, model.visual(torch.stack(ready))[1], atol=2e-3)


def test_identity_tells_weights_and_towers_apart_and_random_weights_are_always_the_same(clip_config, checkpoint):
    path, _ = checkpoint
    random = make(f"{clip_config}@random")
    assert random.identity == make(f"{clip_config}@random").identity
    others = [
        make(f"{clip_config}@{path}"),
        make(f"{clip_config}@random", "text"),
        make(f"{clip_config}@random", patches=True),
    ]
    assert all(other.identity != random.identity for other in others)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-33@openai", "no such model"),
        ("ViT-B-32", "a pretrained tag .*openai"),
        ("ViT-B-32@opnai", "a pretrained tag .*openai"),
        ("absent.json@random", "there is no file absent.json"),
        ("hf-hub:nobody/nothing", "cannot be loaded"),
    ],
)
def test_what_cannot_be_had_is_said(name, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # or it would try again and again
    with pytest.raises(ValueError, match=message):
        make(name)


def test_weights_of_another_model_are_refused(clip_config, tmp_path):
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="cannot be loaded"):
        make(f"{clip_config}@{tmp_path / 'w.pt'}")
