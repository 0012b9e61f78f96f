import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel

from recbole_mgr.encoding.encoder import EncoderRequest
from recbole_mgr.encoding.registry import make_encoder
from recbole_mgr.encoding.transformers_text import pool

TEXTS = ["olive soap", "clay mask for oily skin", "wooden"]


def make(folder, **options):
    return make_encoder(EncoderRequest(f"transformers:{folder}", "text", **options))


@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_takes_the_tokens_and_never_the_padding(side):
    states = torch.arange(1.0, 9).reshape(2, 4, 1)  # rows 1 2 3 4 and 5 6 7 8
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]) if side == "right" else torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    expected = {"mean": [1.5, 6.5], "cls": [1, 5], "last": [2, 8]}
    if side == "left":
        expected = {"mean": [3.5, 6.5], "cls": [3, 5], "last": [4, 8]}
    for pooling, values in expected.items():
        assert pool(states, mask, pooling)[:, 0].tolist() == values


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_batch_gives_what_each_text_gives_alone(bert, pooling):
    encoder = make(bert, pooling=pooling, normalize=False)
    vectors = encoder.encode(TEXTS)
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
        np.testing.assert_allclose(vector, expected.numpy(), atol=2e-3)


def test_vectors_have_length_1_unless_told_otherwise(bert):
    np.testing.assert_allclose(np.linalg.norm(make(bert).encode(TEXTS).astype(float), axis=1), 1, atol=2e-3)
    assert np.linalg.norm(make(bert, normalize=False).encode(TEXTS).astype(float), axis=1).max() > 1.1


def test_long_texts_are_cut(bert):
    encoder = make(bert, max_tokens=2)
    np.testing.assert_array_equal(encoder.encode(["clay mask for oily skin"]), encoder.encode(["clay mask"]))
    assert make(bert).encode(["soap " * 400]).shape == (1, 8)  # longer than the model's 16 positions


def test_a_model_whose_positions_begin_after_the_padding_reads_as_many_fewer(bert, tmp_path):
    shutil.copytree(bert, tmp_path, dirs_exist_ok=True)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = RobertaConfig(vocab_size=40, max_position_embeddings=18, pad_token_id=1, **shape)
    RobertaModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--max_tokens 17: the model reads 1 to 16 tokens"):
        make(tmp_path, max_tokens=17)
    for encoder in (make(tmp_path, max_tokens=16), make(tmp_path)):
        assert encoder.encode(["soap " * 400]).shape == (1, 8)


def test_identity_is_that_of_the_content_and_not_of_the_place(bert, copy_of_bert):
    encoder, moved = make(bert), make(copy_of_bert)
    assert encoder.identity == moved.identity
    assert encoder.settings != moved.settings
    model = AutoModel.from_pretrained(copy_of_bert)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[3, 0] += 1
    model.save_pretrained(copy_of_bert)
    assert make(copy_of_bert).identity != encoder.identity
    assert make(bert, pooling="cls").identity != encoder.identity


def test_the_encoder_half_of_an_encoder_decoder_is_taken(bert, tmp_path):
    from transformers import T5Config, T5Model

    config = T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    T5Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    assert make(tmp_path).encode(TEXTS).shape == (3, 8)


def test_bf16_is_near_fp32(bert):
    np.testing.assert_allclose(make(bert, precision="bf16").encode(TEXTS), make(bert).encode(TEXTS), atol=0.05)


def test_what_cannot_be_loaded_is_said(bert, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded .*copy its folder"):
        make(tmp_path / "absent")
    with pytest.raises(ValueError, match="--max_tokens 17: the model reads 1 to 16 tokens"):
        make(bert, max_tokens=17)
    for file, size in (("tokenizer.json", 100), ("config.json", 10), ("model.safetensors", 500)):  # not all came over
        part = shutil.copytree(bert, tmp_path / file)
        (part / file).write_bytes((part / file).read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"transformers:.*{file} cannot be loaded .*give a folder made by"):
            make(part)
    with pytest.raises(ValueError, match="reads texts, not pictures"):
        make_encoder(EncoderRequest(f"transformers:{bert}", "image"))
    with pytest.raises(ValueError, match="--encoder clip: expected classical"):
        make_encoder(EncoderRequest("clip", "image"))
    with pytest.raises(ValueError, match="--patches: only open_clip"):
        make_encoder(EncoderRequest("classical", "image", patches=True))


def test_code_beside_a_model_never_runs_and_nobody_is_asked(bert, tmp_path, monkeypatch):
    folder = shutil.copytree(bert, tmp_path / "stranger")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # the answer of somebody in a hurry
    with pytest.raises(ValueError, match="transformers:.*stranger cannot be loaded"):
        make(folder)
    assert not (tmp_path / "ran").exists()
