"""Tokenizers: one trained on the data set's own text, or the one of a pretrained language model."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|endoftext|>"
SMALLEST_VOCABULARY = 256 + 2  # every byte, padding and end: any text can be written


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the same texts give the same tokenizer.

    Any text can be tokenised, also one with characters never seen. A text begins as if a space stood before it, so
    that a word has the same tokens at the start of a field and inside it.

    Args:
        texts: what to learn from; the training part's texts only.
        vocabulary_size: most tokens, >= 258; fewer where the texts have no more to merge.

    Returns:
        The tokenizer, with ``pad_token`` and ``eos_token``; it adds neither to a text by itself.

    Raises:
        ValueError: If ``vocabulary_size`` is too small.
    """
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise ValueError(
            f"bpe_vocabulary: {vocabulary_size} is too small, the 256 bytes and two special tokens "
            f"alone need {SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[PAD_TOKEN, END_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        add_prefix_space=True,  # transformers 4 would take it back
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
    )


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a pretrained language model, or one kept by ``save_pretrained``.

    Args:
        path: a folder, a ``.gguf`` file, or a name on the Hugging Face hub.

    Returns:
        The tokenizer; where it has no padding token, its end token serves, since padding is masked anyway.

    Raises:
        ValueError: If there is no tokenizer there, or it has no end token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**pretrained_source(path))
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(
            f"language_model: no tokenizer could be read from {path} ({error}); give a folder with a whole causal "
            "language model"
        ) from error
    if tokenizer.eos_token is None:
        raise ValueError(f"language_model: the tokenizer of {path} has no end token; choose a causal language model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@functools.cache
def require_tokenizer(path: str) -> None:
    """Refuse what `load_tokenizer` refuses. One that was there is not read again: that takes seconds, and a table may
    have many rows of one language model."""
    load_tokenizer(path)


def pretrained_source(path: str | Path) -> dict[str, str | bool]:
    """How transformers' ``from_pretrained`` is told to read a folder, a ``.gguf`` file or a hub name.

    It runs no code that lies there: without an answer it would ask at the terminal whether it may.
    """
    file = Path(path)
    if file.suffix != ".gguf":
        return {"pretrained_model_name_or_path": str(path), "trust_remote_code": False}
    return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "trust_remote_code": False}
