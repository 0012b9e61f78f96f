"""``GenerativeRecommender``: what every model of this plugin is to RecBole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_mgr.generation.beam_search import RankedList, Trace, beam_search, exhaustive_scores
from recbole_mgr.generation.trie import Narrowing, PrefixTrie
from recbole_mgr.integration.dataset import TARGET_COUNT, GenerativeDataset
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.model.backbone.t5 import T5Backbone
from recbole_mgr.semantic_id.table import SemanticIdTable


class GenerativeRecommender(SequentialRecommender):
    """A recommender that generates the next item's semantic ID.

    Subclasses say how an item becomes a semantic ID (class attributes) and may add a training stage.

    Args:
        config: RecBole's Config with this plugin's keys (``properties/model/GenerativeRecommender.yaml``).
        dataset: the training part, built, so that it holds ``semantic_ids``.

    Attributes:
        fusion: ``late`` (one quantiser per modality, codes concatenated) or ``early`` (one for the fused vector).
        backbones: what the setting ``backbone`` may be.
    """

    fusion: ClassVar[str] = "late"
    backbones: ClassVar[tuple[str, ...]] = ("hierarchical", "t5")

    @classmethod
    def has_transitions(cls, settings: Mapping[str, Any]) -> bool:
        """Whether transition digits stand between modalities; ``settings`` is a Config or a plain dictionary."""
        return False

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        """Refuse settings that contradict the model; raises ValueError naming key, value and remedy."""

    @classmethod
    def files_read(cls, settings: Mapping[str, Any]) -> dict[str, Path]:
        """Files and folders, beside the atomic files, whose content decides what a run computes, by setting."""
        return {"semantic_ids": Path(settings["semantic_ids"])} if settings["semantic_ids"] else {}

    @classmethod
    def load_companions(cls, run_dir: Path, table: SemanticIdTable) -> Any:
        """Read back what :meth:`save_companions` wrote, as the data set's ``personal``."""

    def save_companions(self, run_dir: Path, interactions: np.ndarray | None) -> None:
        """Write into a run directory what the model knows of items and users beside the semantic IDs: nothing here.

        Args:
            run_dir: of the run.
            interactions: int64 [n], row numbers of the data set's interactions in the order of the run's histories;
                None keeps nothing of any user.
        """

    def __init__(self, config, dataset: GenerativeDataset) -> None:
        super().__init__(config, dataset)
        self.semantic_ids = dataset.semantic_ids
        self.semantic_id_report = dataset.semantic_id_report
        self.code_softmax = config["code_softmax"]
        self.beam_size = config["beam_size"]  # where a call names no other
        sizes = [digit.size for digit in self.semantic_ids.digits]
        self.trie = PrefixTrie(self.semantic_ids.codes[1:], sizes)
        self.backbone = self._build_backbone(config, dataset)

    def _build_backbone(self, config, dataset: GenerativeDataset) -> nn.Module:
        shared = {
            "table": self.semantic_ids,
            "trie": self.trie,
            "code_softmax": self.code_softmax,
            "hidden_size": config["hidden_size"],
            "num_layers": config["n_layers"],
            "num_heads": config["n_heads"],
            "inner_size": config["inner_size"],
            "dropout": config["hidden_dropout_prob"],
        }
        if config["backbone"] == "t5":
            return T5Backbone(**shared, head_size=config["t5_head_size"])
        return HierarchicalBackbone(
            **shared,
            max_length=self.max_seq_length,
            attention_dropout=config["attn_dropout_prob"],
            branch_size=config["branch_size"],
            learn_repeats=config["learn_repeats"],
        )

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean negative log-likelihood of the counted targets of a batch."""
        counts = interaction[TARGET_COUNT] if TARGET_COUNT in interaction else None
        return self.backbone.loss(*self._history(interaction), interaction[self.POS_ITEM_ID], counts)

    @torch.no_grad()
    def generate(
        self,
        interaction: Interaction,
        k: int,
        *,
        beam_size: int | None = None,
        exclude: Tensor | None = None,
        narrowing: Narrowing | None = None,
        trace: Trace | None = None,
    ) -> RankedList:
        """Rank the k most likely items by trie-constrained beam search.

        All that a call asks for is an argument of it, so that threads can share a network.

        Args:
            interaction: batch with histories.
            k: items per user.
            beam_size: width of the search, at least k; None is the setting of that name, or k where that is more.
            exclude: [B, X] item ids (0 = padding) a user must not get, e.g. his history; masked, not renormalised.
            narrowing: from ``self.trie.narrow(item_ids)``: only these items may be returned.
            trace: sees the beams after each digit.

        Returns:
            RankedList: item ids [B, k] and log-probabilities [B, k], descending; padded with item 0 and -inf only
            where fewer than k items are allowed.
        """
        return beam_search(
            self._step_from(interaction),
            self.trie,
            batch_size=len(interaction),
            k=k,
            beam_width=max(self.beam_size, k) if beam_size is None else beam_size,
            code_softmax=self.code_softmax,
            narrowing=narrowing,
            exclude=exclude,
            trace=trace,
        )

    def predict(self, interaction: Interaction) -> Tensor:
        """Log-likelihood [B] of each row's candidate item."""
        item_ids = interaction[self.ITEM_ID]
        codes, path = self.backbone.codes[item_ids], self.trie.path(item_ids)  # [B, D]
        step, state = self._step_from(interaction), None
        parents = torch.zeros_like(item_ids).unsqueeze(1)  # [B, 1]
        total = torch.zeros(len(item_ids), device=item_ids.device)
        for depth in range(codes.shape[1]):
            chosen = (codes[:, depth - 1 : depth], parents) if depth else (None, None)
            logits, state = step(depth, path[:, depth : depth + 1], *chosen, state)  # [B, 1, K]
            total = total + self.trie.log_prob(
                depth, path[:, depth], logits.squeeze(1), codes[:, depth], self.code_softmax
            )
        return total

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Exact log-likelihood of every item, [B * (N + 1)] as RecBole wants it; PAD at -inf.

        Evaluation does not use it (it uses :meth:`generate`); it serves case studies and small catalogues.
        """
        return exhaustive_scores(
            self._step_from(interaction), self.trie, batch_size=len(interaction), code_softmax=self.code_softmax
        ).view(-1)

    def other_parameter(self) -> dict[str, str]:
        """RecBole stores this in checkpoints: the identity of the semantic IDs the weights belong to."""
        return {"semantic_id_fingerprint": self.semantic_ids.fingerprint}

    def load_other_parameter(self, para: dict[str, str] | None) -> None:
        """Refuse weights that were trained on other semantic IDs.

        Raises:
            ValueError: If the checkpoint's fingerprint is not that of this model's table.
        """
        saved = (para or {}).get("semantic_id_fingerprint")
        if saved != self.semantic_ids.fingerprint:
            raise ValueError(
                f"the checkpoint was trained on semantic IDs {str(saved)[:12]}, this data set has "
                f"{self.semantic_ids.fingerprint[:12]}: features, items or settings changed. Load the run's own "
                "table (semantic_ids: <run>/*.semantic_ids.tsv) or train again"
            )

    def _history(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        return interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]

    def _step_from(self, interaction: Interaction):
        first = self.backbone.start(*self._history(interaction))

        def step(depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: Any):
            return self.backbone.step(depth, nodes, codes, parents, first if state is None else state)

        return step
