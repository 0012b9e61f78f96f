"""Tiny models with random weights: nothing is downloaded."""

import json
import shutil

import pytest
import torch
from small_shop import TITLES


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """Folder of a tiny BERT with a tokenizer of whole words, 16 positions."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for title in TITLES.values() for word in title.split()} | {"Acme", "new", "item"})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("bert")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_config(tmp_path_factory):
    """JSON of a tiny CLIP: pictures of 16 pixels in 4 patches, 6 values a vector, 8 a patch."""
    path = tmp_path_factory.mktemp("clip") / "tiny-clip.json"
    path.write_text(
        json.dumps(
            {
                "embed_dim": 6,
                "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 8, "layers": 1, "head_width": 4},
                "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
            }
        )
    )
    return path


@pytest.fixture
def copy_of_bert(bert, tmp_path):
    """The tiny BERT in another folder."""
    return shutil.copytree(bert, tmp_path / "bert-moved")
