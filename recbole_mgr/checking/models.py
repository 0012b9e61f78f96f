"""What each model needs of a data set, and whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recbole_mgr.checking.verdict import ModelNeeds
from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import PROPERTIES
from recbole_mgr.semantic_id.build import FUSED


class Inputs(NamedTuple):
    """What of a data set can be used.

    Attributes:
        folder, name: of the data set.
        interactions: whether ``.inter`` can be read.
        modalities: with vectors [n, dim].
        grids: modalities with vectors [n, T, dim].
        semantic_ids: file of semantic IDs, or None.
        coded: modalities that it has codes of.
        fields: of ``.item``.
        pictures: how many items have one.
        ratings, reviews: whether ``.inter`` has ratings, and whether there is ``.review``.
    """

    folder: Path
    name: str
    interactions: bool
    modalities: list[str]
    grids: list[str]
    semantic_ids: Path | None
    coded: list[str]
    fields: list[str]
    pictures: int
    ratings: bool
    reviews: bool


def model_needs(inputs: Inputs) -> dict[str, ModelNeeds]:
    """Every model of this plugin, and RecBole's, with what it can use and what it lacks."""
    if not inputs.interactions:
        unusable = ModelNeeds([], ["a readable .inter; see the problems"])
        return dict.fromkeys(("RecBole", "TIGER", "MGREF", "MGRLF", "MGRLFpp", "UniMP"), unusable)
    several = _several(inputs)
    return {
        "RecBole": ModelNeeds(["SASRec, GRU4Rec, BPR, Pop, ... (.inter is enough)"], []),
        "TIGER": _tiger(inputs),
        "MGREF": _fused(inputs),
        "MGRLF": several,
        "MGRLFpp": several,
        "UniMP": _unimp(inputs),
    }


def _encode(inputs: Inputs, modalities: list[str]) -> str:
    place = as_arguments(inputs.folder, inputs.name)
    return "; ".join(f"recbole-mgr encode {place} --modality {modality}" for modality in modalities)


def _lacking(inputs: Inputs) -> list[str]:
    """The modalities that could be encoded from what there is, or the usual ones."""
    usual = {"text": any(field in inputs.fields for field in ("title", "categories")), "image": inputs.pictures > 0}
    possible = [modality for modality, there in usual.items() if there and modality not in inputs.modalities]
    return possible or [modality for modality in usual if modality not in inputs.modalities]


def _tiger(inputs: Inputs) -> ModelNeeds:
    ready = [f"modalities={modality}" for modality in inputs.modalities]
    ready += [
        f"modalities={modality},semantic_ids={inputs.semantic_ids}" for modality in inputs.coded if modality != FUSED
    ]
    return ModelNeeds(ready, [] if ready else [f"vectors of a modality: {_encode(inputs, _lacking(inputs)[:1])}"])


def _listed(modalities: list[str]) -> str:
    return "modalities=" + "+".join(modalities)


def _fused(inputs: Inputs) -> ModelNeeds:
    ready = [_listed(inputs.modalities)] if len(inputs.modalities) > 1 else []
    if FUSED in inputs.coded:
        ready.append(f"semantic_ids={inputs.semantic_ids}")
    return ModelNeeds(ready, [] if ready else _second_modality(inputs))


def _several(inputs: Inputs) -> ModelNeeds:
    ready = [_listed(inputs.modalities)] if len(inputs.modalities) > 1 else []
    coded = [modality for modality in inputs.coded if modality != FUSED]
    if len(coded) > 1:
        ready.append(f"{_listed(coded)},semantic_ids={inputs.semantic_ids}")
    return ModelNeeds(ready, [] if ready else _second_modality(inputs))


def _second_modality(inputs: Inputs) -> list[str]:
    wanted = _lacking(inputs)[: max(1, 2 - len(inputs.modalities))]
    return [f"vectors of two modalities: {_encode(inputs, wanted)}"]


def _unimp(inputs: Inputs) -> ModelNeeds:
    missing = []
    if "title" not in inputs.fields:
        missing.append(f"titles: a column title:token_seq in {inputs.name}.item")
    pictures = [*inputs.grids, *(modality for modality in inputs.modalities if modality == "image")]
    if not pictures:
        how = "--modality image_patches --reads image --patches --encoder open_clip:ViT-L-14@openai"
        missing.append(f"vectors of pictures: recbole-mgr encode {as_arguments(inputs.folder, inputs.name)} {how}")
    ready = [] if missing else [f"pictures from {', '.join(pictures)}{_text_fields(inputs)}"]
    if not inputs.ratings:
        missing.append(f"a column of ratings in {inputs.name}.inter, for the task preference only")
    if not inputs.reviews:
        missing.append(f"{inputs.name}.review, for the task explanation only")
    return ModelNeeds(ready, missing)


def _text_fields(inputs: Inputs) -> str:
    """The setting without which the usual columns would be missed."""
    usual = read_yaml(PROPERTIES / "model" / "UniMP.yaml", remedy="install recbole_mgr again")["text_fields"]
    there = {field: most for field, most in usual.items() if field in inputs.fields}
    if there == usual:
        return ""
    absent = ", ".join(field for field in usual if field not in there)
    return f", text_fields={there} or other columns, since {inputs.name}.item has no {absent}"
