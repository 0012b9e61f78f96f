"""Going on from a trained run with another data set: what is taken over from it, and what must be alike for that.

The paper trains on some shops and goes on with few rows of another. Taken over are the words of the small language
model's tokenizer, the quantisers, so that a code means in both data sets the same, the picture codec, and of the
network all but what is about single items or counted from interactions (memory, popularity, biases, weights of parts).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_mgr.encoding.description import description_of_run, refuse_other_encoder
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer
from recbole_mgr.unimp.new_tokens import JoinedEmbedding, JoinedHead
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks import needs_of

logger = logging.getLogger(__name__)

# Sizes of the network, and how items become tokens; a language model that differs shows in the shapes of its weights.
_ALIKE = (
    "hidden_size n_layers n_heads inner_size max_tokens cross_attention_every visual_latents resampler_layers "
    "lm_layers lm_training lora_options bpe_vocabulary item_ids modalities early_fusion quantizer quantizer_options "
    "codebook_levels codebook_size"
).split()
_ALIKE_IN_PICTURES = ("picture_size", "picture_code_count")
CODEC_FOLDER = "unimp/pictures/codec"  # of a run directory, see `PersonalData`


class InitialRun(NamedTuple):
    """A trained run of UniMP to go on from.

    Attributes:
        folder: the run directory.
        settings: of the run.
        network: on the CPU.
        tokenizer: its quantisers; None where its semantic IDs were user-supplied or its items have atomic ones.
        data: label of its data set.
    """

    folder: Path
    settings: Mapping[str, Any]
    network: GenerativeRecommender
    tokenizer: ItemTokenizer | None
    data: str

    @classmethod
    def of(cls, folder: Path, run: Any) -> InitialRun:
        """That of a run directory, and of the :class:`recbole_mgr.serving.run_directory.Run` that was read from it."""
        return cls(folder, run.settings, run.network, run.tokenizer, run.about["data"]["label"])

    @property
    def codec_folder(self) -> Path | None:
        """Its picture codec; None where it has not learned to draw."""
        return _codec_folder(self.folder, self.settings)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise what `refuse_unlike` does, and warn where nothing says how the run's vectors were made."""
        refuse_unlike(self.folder, self.settings, settings)
        for modality in self.tokenizer.modalities if self.tokenizer else ():
            if description_of_run(self.folder, modality).fingerprint is None:
                logger.warning(
                    f"initial_run: nothing says how the {modality!r} vectors of {self.folder} were made; a code means "
                    "the same in both data sets only where one encoder made the vectors of both (encode --like)"
                )

    def give_to(self, model: GenerativeRecommender) -> None:
        """Start an untrained `UniMP` from the run's weights; rows of tokens that only it has stay as they are.

        Raises:
            ValueError: If the two networks are not alike, naming the settings to look at.
        """
        own, initial = model.backbone, self.network.backbone
        weights, learned = own.state_dict(), initial.state_dict()
        if weights.keys() != learned.keys() or not torch.equal(model.base_fingerprint, self.network.base_fingerprint):
            raise ValueError(
                f"initial_run: {self.folder} has another language model, or only one of the two runs sees pictures; "
                "give language_model, image_features and image_attention as its settings.yaml has them"
            )
        rows_of_tokens = {
            f"{path}.new" for path, module in own.named_modules() if isinstance(module, JoinedEmbedding | JoinedHead)
        }
        here, there = self._same_tokens(model.personal)
        for name, weight in weights.items():
            if name in rows_of_tokens:
                weight[here] = learned[name][there]
            elif weight.shape == learned[name].shape:
                weight.copy_(learned[name])
            else:
                raise ValueError(
                    f"initial_run: {name} of {self.folder} has the shape {list(learned[name].shape)}, not "
                    f"{list(weight.shape)}; give its language_model, and image_features that its encoder made"
                )

    def _same_tokens(self, own: PersonalData) -> tuple[Tensor, Tensor]:
        """Places int64 [n] among the new tokens of both, own and the run's, of those that mean the same."""
        initial = self.network.personal
        pairs = torch.tensor(list(_pairs(own, initial, with_digits=self.tokenizer is not None)))  # [n, 2]
        return pairs[:, 0] - own.vocabulary.base_size, pairs[:, 1] - initial.vocabulary.base_size


def refuse_unlike(folder: Path, initial: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings and vectors that the network and the quantisers of an initial run do not fit.

    Args:
        folder: the run directory of the initial run.
        initial: its settings.
        settings: of the run that goes on.

    Raises:
        ValueError: Naming the key, both values and the remedy.
    """
    if initial["model"] != "UniMP":
        raise ValueError(f"initial_run: {folder} is a run of {initial['model']}; name one of UniMP")
    has_codec = _codec_folder(folder, initial) is not None
    for key in [*_ALIKE, *(_ALIKE_IN_PICTURES if has_codec else ())]:
        if settings[key] != initial[key]:
            raise ValueError(
                f"{key}: {settings[key]}, but the initial_run {folder} was trained with {initial[key]}; set {key} to "
                "that, or leave initial_run out"
            )
    if settings["picture_codec"] and has_codec:
        raise ValueError(f"picture_codec: the initial_run {folder} has one of its own; leave picture_codec out")
    if settings["item_ids"] == "atomic":
        return
    if initial["semantic_ids"]:
        raise ValueError(
            f"initial_run: {folder} has no quantisers, since its semantic IDs were user-supplied; name a run that made "
            "its own, or leave initial_run out"
        )
    for modality in initial["modalities"]:
        refuse_other_encoder(folder, Path(settings["data_path"]), settings["dataset"], modality)


def _codec_folder(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    return folder / CODEC_FOLDER if "pictures" in needs_of(settings["tasks"]) else None


def _pairs(own: PersonalData, initial: PersonalData, *, with_digits: bool) -> Iterator[tuple[int, int]]:
    """Token ids of what means the same: marks, equal ratings, candidates, picture codes, codes of semantic IDs."""
    ours, theirs = own.vocabulary, initial.vocabulary
    yield from ((ours.image_id, theirs.image_id), (ours.answer_id, theirs.answer_id), (ours.end_id, theirs.end_id))
    id_of_rating = dict(zip(initial.rating_values.tolist(), theirs.rating_ids.tolist(), strict=True))
    for value, token_id in zip(own.rating_values.tolist(), ours.rating_ids.tolist(), strict=True):
        if value in id_of_rating:
            yield token_id, id_of_rating[value]
    # not strict: one of the two may have more, and those have no counterpart
    yield from zip(ours.candidate_ids.tolist(), theirs.candidate_ids.tolist(), strict=False)
    yield from zip(ours.picture_ids.tolist(), theirs.picture_ids.tolist(), strict=False)
    for depth in range(min(ours.num_digits, theirs.num_digits) if with_digits else 0):  # the collision digit is last
        here, there = ours.digit_ids(depth), theirs.digit_ids(depth)
        yield from zip(range(here.start, here.stop), range(there.start, there.stop), strict=False)
