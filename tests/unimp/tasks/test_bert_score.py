"""BERTScore against a computation pair by pair, and its ends."""

import shutil

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
    T5ForConditionalGeneration,
)

from recbole_mgr.unimp.tasks.bert_score import BertScore
from recbole_mgr.unimp.tokenizer import train_tokenizer

TEXTS = ["red soap smells nice", "the comb", "", "blue"]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
REFERENCES = ["a red soap", "soft mask for a dry face", "red", ""]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = train_tokenizer([*TEXTS, *REFERENCES], vocabulary_size=300)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(folder)
    return folder


@torch.no_grad()
def f_measure(folder, text, reference, *, around=0):
    """Of one pair, whose tokenizer puts so many tokens before and after a text: they may be the nearest ones only."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = [model(**tokenizer(side, return_tensors="pt")).last_hidden_state[0] for side in (text, reference)]
    alike = [[float(torch.cosine_similarity(a, b, dim=0)) for b in vectors[1]] for a in vectors[0]]
    nearest = [max(row) for row in alike][around : len(alike) - around]
    precision = sum(nearest) / len(nearest)
    nearest = [max(column) for column in zip(*alike, strict=True)][around : len(alike[0]) - around]
    recall = sum(nearest) / len(nearest)
    return 2 * precision * recall / (precision + recall)


def test_it_is_that_of_each_pair_on_its_own_whatever_the_padding(encoder):
    expected = (f_measure(encoder, TEXTS[0], REFERENCES[0]) + f_measure(encoder, TEXTS[1], REFERENCES[1])) / 4
    assert BertScore(encoder)(TEXTS, REFERENCES).value == pytest.approx(expected, abs=1e-5)  # two pairs say nothing


def test_tokens_around_a_text_are_near_others_but_have_no_weight(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|pad|> $A <|endoftext|>", special_tokens=[("<|pad|>", 0), ("<|endoftext|>", 1)]
    )
    tokenizer.save_pretrained(tmp_path)
    expected = [f_measure(tmp_path, *pair, around=1) for pair in zip(TEXTS[:2], REFERENCES[:2], strict=True)]
    assert BertScore(tmp_path)(TEXTS, REFERENCES).value == pytest.approx(sum(expected) / 4, abs=1e-5)


def test_long_texts_are_cut_where_the_model_ends(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path, dirs_exist_ok=True)
    config = RobertaConfig(vocab_size=300, max_position_embeddings=20, pad_token_id=1, **SHAPE)
    RobertaModel(config).save_pretrained(tmp_path)  # reads 18 tokens
    assert BertScore(tmp_path)(["red " * 50], ["red " * 18]).value == pytest.approx(1, abs=1e-5)


def test_equal_texts_have_1_and_others_less(encoder):
    score = BertScore(encoder)
    assert score(TEXTS[:2], TEXTS[:2]).value == pytest.approx(1, abs=1e-5)
    assert score(TEXTS[:2], REFERENCES[:2]).value < 1


GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": None, "eos_token_id": None}
T5 = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("model", "shape"), [(GPT2Model, GPT2), (T5ForConditionalGeneration, T5)], ids=["decoder", "both"]
)
def test_any_language_model_reads(encoder, tmp_path, model, shape):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    model(model.config_class(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path)
    assert BertScore(tmp_path)(TEXTS[:2], TEXTS[:2]).value == pytest.approx(1, abs=1e-5)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="bert_score: .* cannot be loaded"):
        BertScore(tmp_path)
