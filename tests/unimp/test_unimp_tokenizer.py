"""The data set's own tokenizer: lossless, deterministic, kept without pickle."""

import contextlib
import json

import pytest

from recbole_mgr.unimp.tokenizer import load_tokenizer, require_tokenizer, train_tokenizer

TEXTS = ["red lipstick matte", "matte red nail polish", "Crème brûlée 日本 lip balm", ""] * 5


def test_any_text_survives_even_with_unseen_characters():
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300)
    for text in ["red lipstick", "Ω → 🎨 never seen", "tabs\tand\nlines", "日本", ""]:
        token_ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(token_ids, clean_up_tokenization_spaces=False).removeprefix(" ") == text


def test_a_word_has_the_same_tokens_wherever_it_stands():
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300)
    alone = tokenizer("lipstick")["input_ids"]
    assert tokenizer("red lipstick")["input_ids"] == tokenizer("red")["input_ids"] + alone


def test_the_same_texts_give_the_same_tokenizer_and_frequent_words_get_tokens_of_their_own():
    first, second = (train_tokenizer(iter(TEXTS), vocabulary_size=300) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()
    assert len(first) <= 300
    assert len(first("matte red")["input_ids"]) == 2


def test_special_tokens_exist_and_are_not_added(tmp_path):
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300)
    assert {tokenizer.pad_token_id, tokenizer.eos_token_id} == {0, 1}
    assert not set(tokenizer("red lipstick")["input_ids"]) & {0, 1}
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded("Crème 日本 lip")["input_ids"] == tokenizer("Crème 日本 lip")["input_ids"]
    assert (loaded.pad_token_id, loaded.eos_token_id, len(loaded)) == (0, 1, len(tokenizer))


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ValueError, match="bpe_vocabulary: 257 is too small"):
        train_tokenizer(TEXTS, vocabulary_size=257)


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match="language_model: no tokenizer could be read from .*nowhere"):
        load_tokenizer(tmp_path / "nowhere")


def test_code_beside_a_tokenizer_never_runs_and_nobody_is_asked(tmp_path, monkeypatch):
    train_tokenizer(TEXTS, vocabulary_size=300).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config |= {"auto_map": {"AutoTokenizer": ["code.Stranger", "code.Stranger"]}, "tokenizer_class": "Stranger"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Stranger: pass\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # the answer of somebody in a hurry
    with contextlib.suppress(ValueError):
        load_tokenizer(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_that_was_there_is_not_read_for_each_row_of_a_table(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("recbole_mgr.unimp.tokenizer.load_tokenizer", lambda path: read.append(path))
    folders = [str(tmp_path / name) for name in ("one", "another", "one")]
    for folder in folders:
        require_tokenizer(folder)
    assert read == folders[:2]
    monkeypatch.undo()
    for _ in range(2):  # what is missing stays missing
        with pytest.raises(ValueError, match="no tokenizer could be read"):
            require_tokenizer(str(tmp_path / "nowhere"))
