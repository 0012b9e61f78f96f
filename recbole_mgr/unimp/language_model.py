"""The language model inside UniMP: a small one from a configuration, or any causal one of transformers.

How it is trained is a setting: ``full``, ``lora`` (peft) or ``frozen``. The order of construction is
:func:`make_language_model`, :func:`apply_training`, then
:func:`recbole_mgr.unimp.new_tokens.extend_vocabulary`, whose rows are trainable in every case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    GenerationConfig,
    GPT2Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from recbole_mgr.integration.transformers_models import accepts, cache_argument, returned_cache
from recbole_mgr.model.backbone.layers import use_cheap_dropout
from recbole_mgr.unimp.new_tokens import JoinedEmbedding
from recbole_mgr.unimp.tokenizer import load_tokenizer, pretrained_source

TRAINING_MODES = ("frozen", "lora", "full")
LORA_DEFAULTS = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05}


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings:
    """What UniMP's settings say about its language model.

    Attributes:
        language_model: a folder, a ``.gguf`` file or a hub name; None builds a small GPT-2, randomly initialised.
        lm_weights: ``pretrained``, or ``random``: a language model of the same make and size that has read nothing.
        lm_layers: how many of its layers are kept, the first ones; None keeps all.
        lm_training: ``frozen`` | ``lora`` | ``full``; a random language model has to be trained in full.
        lora_options: options of peft's LoraConfig, over r 8, lora_alpha 16, lora_dropout 0.05.
        max_tokens: longest sequence the model has to read.
        hidden_size, n_layers, n_heads, inner_size: sizes of the small GPT-2.
        hidden_dropout_prob, attn_dropout_prob: its dropouts, in [0, 1).

    Raises:
        ValueError: If ``lm_training`` is unknown or does not fit the language model, or the heads do not divide H.
    """

    language_model: str | None
    lm_weights: Literal["pretrained", "random"] = "pretrained"
    lm_layers: int | None = None
    lm_training: Literal["frozen", "lora", "full"]
    lora_options: Mapping[str, Any]
    max_tokens: int
    hidden_size: int
    n_layers: int
    n_heads: int
    inner_size: int
    hidden_dropout_prob: float
    attn_dropout_prob: float

    def __post_init__(self) -> None:
        if self.lm_training not in TRAINING_MODES:
            raise ValueError(f"lm_training: {self.lm_training!r} is not known; choose one of {TRAINING_MODES}")
        if self.lora_options and self.lm_training != "lora":
            raise ValueError(f"lora_options: not used with lm_training: {self.lm_training}; remove them or set lora")
        if self.lm_training != "full" and not self.is_pretrained:
            raise ValueError(
                f"lm_training: {self.lm_training} keeps the language model as it is, and without language_model it "
                "is random, as with lm_weights: random; name a pretrained one or set lm_training: full"
            )
        if self.language_model is not None:
            return
        for key, value in (("lm_weights", self.lm_weights == "random"), ("lm_layers", self.lm_layers)):
            if value:
                raise ValueError(
                    f"{key}: {getattr(self, key)} is about the language model that language_model names, and none is; "
                    "name one or leave it out"
                )
        if self.hidden_size % self.n_heads:
            raise ValueError(f"n_heads: {self.n_heads} heads do not divide hidden_size {self.hidden_size}")

    @property
    def is_pretrained(self) -> bool:
        """Whether the language model has read something before."""
        return self.language_model is not None and self.lm_weights == "pretrained"

    @classmethod
    def from_config(cls, config) -> LanguageModelSettings:
        """The settings in RecBole's Config or in a plain dictionary, which must hold every one of them."""
        return cls(
            language_model=config["language_model"],
            lm_weights=config["lm_weights"],
            lm_layers=config["lm_layers"],
            lm_training=config["lm_training"],
            lora_options=config["lora_options"] or {},
            max_tokens=config["max_tokens"],
            hidden_size=config["hidden_size"],
            n_layers=config["n_layers"],
            n_heads=config["n_heads"],
            inner_size=config["inner_size"],
            hidden_dropout_prob=config["hidden_dropout_prob"],
            attn_dropout_prob=config["attn_dropout_prob"],
        )


class Reading(NamedTuple):
    """What the language model makes of a batch: ``hidden`` [B, S, H] after its last norm, and its ``cache``."""

    hidden: Tensor
    cache: Cache | None


def load_base_tokenizer(settings: LanguageModelSettings) -> PreTrainedTokenizerFast:
    """The tokenizer of the pretrained language model; see :func:`recbole_mgr.unimp.tokenizer.load_tokenizer`."""
    return load_tokenizer(settings.language_model)


def base_vocabulary_size(settings: LanguageModelSettings, tokenizer: PreTrainedTokenizerFast) -> int:
    """How many token ids the language model has of its own; new tokens come after them.

    Raises:
        ValueError: If the tokenizer writes token ids which the pretrained language model does not have.
    """
    if settings.language_model is None:
        return len(tokenizer)
    with _named_errors(settings):
        size = AutoConfig.from_pretrained(**pretrained_source(settings.language_model)).get_text_config().vocab_size
    if len(tokenizer) > size:
        raise ValueError(
            f"language_model: {settings.language_model} knows {size} tokens and its tokenizer {len(tokenizer)}; they "
            "do not belong together"
        )
    return size


def make_language_model(settings: LanguageModelSettings, *, vocabulary_size: int, pad_token_id: int) -> PreTrainedModel:
    """Build or load the language model, in float32, with generation settings of its own removed.

    Args:
        settings: which one, and the sizes of a small one.
        vocabulary_size: from :func:`base_vocabulary_size`; without the new tokens.
        pad_token_id: what fills rows up.

    Returns:
        A causal language model of transformers.

    Raises:
        ValueError: If the language model cannot be read, reads fewer than ``max_tokens``, or has another vocabulary.
    """
    if settings.language_model is None:
        lm = AutoModelForCausalLM.from_config(_small_gpt2(settings, vocabulary_size, pad_token_id))
        use_cheap_dropout(lm)
    else:
        lm = _load_pretrained(settings, vocabulary_size)
    lm.generation_config = GenerationConfig(pad_token_id=pad_token_id)
    return lm


def apply_training(lm: PreTrainedModel, settings: LanguageModelSettings) -> PreTrainedModel:
    """Make the parameters of a language model trainable, or not, as ``lm_training`` says.

    LoRA is injected in place: the model keeps its class, so ``generate`` and its hooks are those of transformers.

    Args:
        lm: not extended by new tokens yet.
        settings: ``lm_training`` and ``lora_options``.

    Returns:
        ``lm`` itself.

    Raises:
        ValueError: If ``lm`` has new tokens already, or peft refuses ``lora_options``.
    """
    if isinstance(lm.get_input_embeddings(), JoinedEmbedding):
        raise ValueError("apply_training has to come before extend_vocabulary, whose rows stay trainable")
    lm.requires_grad_(settings.lm_training == "full")
    if settings.lm_training == "lora":
        from peft import LoraConfig, inject_adapter_in_model  # imports for seconds, and few runs need it

        try:
            options = LoraConfig(task_type="CAUSAL_LM", **LORA_DEFAULTS | dict(settings.lora_options))
            inject_adapter_in_model(options, lm)
        except (TypeError, ValueError) as error:
            raise ValueError(f"lora_options: {dict(settings.lora_options)} is refused by peft: {error}") from error
    return lm


def base_fingerprint(lm: nn.Module) -> str:
    """What a checkpoint does not hold: sha256 over the names, shapes and values of the untrained parameters.

    It depends on ``lm_training``: nothing is left out of a checkpoint under ``full``, so all such have the same.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(lm.named_parameters()):
        if not parameter.requires_grad:
            digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
            digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read(
    lm: PreTrainedModel,
    token_ids: Tensor,
    attention_mask: Tensor,
    *,
    positions: Tensor | None = None,
    cache: Cache | None = None,
    keep_cache: bool = False,
) -> Reading:
    """Read tokens without computing logits; positions count real tokens, so the side of the padding does not matter.

    Args:
        lm: the language model.
        token_ids: int64 [B, S].
        attention_mask: int64 [B, past + S], 1 for real tokens, over those in ``cache`` and these; or float
            [B, 1, S, past + S], added to the attention scores.
        positions: int64 [B, S], needed with a mask of four dimensions; None counts the real tokens.
        cache: of the tokens read before; it is extended in place.
        keep_cache: whether a cache is wanted back.

    Returns:
        Reading.
    """
    if positions is None:
        counted = attention_mask.long().cumsum(1) - 1  # [B, past + S]
        positions = counted[:, -token_ids.shape[1] :].clamp(min=0)  # [B, S]
    model = lm.base_model
    arguments: dict[str, Any] = {} if cache is None else {cache_argument(model): cache}
    if accepts(model, "position_ids"):
        arguments["position_ids"] = positions
    output = model(input_ids=token_ids, attention_mask=attention_mask, use_cache=keep_cache, **arguments)
    return Reading(output.last_hidden_state, returned_cache(model, output) if keep_cache else None)


def decoder_layers(lm: PreTrainedModel) -> nn.ModuleList:
    """The list of decoder layers of any causal language model of transformers.

    Raises:
        ValueError: If there is none.
    """
    number = lm.config.get_text_config().num_hidden_layers
    for module in lm.base_model.modules():  # outer modules come first, so lists inside a layer cannot be met
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise ValueError(f"language_model: {type(lm).__name__} has no list of {number} decoder layers")


def _small_gpt2(settings: LanguageModelSettings, vocabulary_size: int, pad_token_id: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocabulary_size,
        n_positions=settings.max_tokens,
        n_embd=settings.hidden_size,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
        n_inner=settings.inner_size,
        resid_pdrop=settings.hidden_dropout_prob,
        embd_pdrop=settings.hidden_dropout_prob,
        attn_pdrop=settings.attn_dropout_prob,
        activation_function="gelu",  # GPT-2's own is an approximation, of several steps and slower on a CPU
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=pad_token_id,
    )


@contextmanager
def _named_errors(settings: LanguageModelSettings) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(
            f"language_model: {settings.language_model} could not be read ({error}); give a folder with a whole causal "
            "language model"
        ) from error


def _load_pretrained(settings: LanguageModelSettings, vocabulary_size: int) -> PreTrainedModel:
    with _named_errors(settings):
        source = pretrained_source(settings.language_model)
        if settings.is_pretrained:
            # Many are stored in half precision; training needs more, and autocast halves again where it pays.
            lm = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        else:
            lm = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**source), dtype=torch.float32)
    longest = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and longest < settings.max_tokens:
        raise ValueError(
            f"max_tokens: {settings.max_tokens} is more than the {longest} positions of {settings.language_model}; "
            f"set it to {longest} or less"
        )
    rows = lm.get_input_embeddings().num_embeddings
    if rows != vocabulary_size:
        raise ValueError(
            f"language_model: {settings.language_model} has {rows} tokens, the run was prepared for {vocabulary_size}; "
            "use the language model it was prepared with"
        )
    if settings.lm_layers is not None:
        _keep_layers(lm, settings.lm_layers)
    return lm


def _keep_layers(lm: PreTrainedModel, number: int) -> None:
    """Leave the last layers out, all after the first ``number``."""
    layers, config = decoder_layers(lm), lm.config.get_text_config()
    if number > len(layers):
        raise ValueError(f"lm_layers: {number} is more than the {len(layers)} layers that the language model has")
    del layers[number:]
    config.num_hidden_layers = number
    if getattr(config, "layer_types", None):  # one for each layer
        config.layer_types = config.layer_types[:number]
