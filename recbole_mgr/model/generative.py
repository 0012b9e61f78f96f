"""``GenerativeRecommender``: what every model of this plugin is to RecBole."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from scipy import sparse
from torch import Tensor, nn

from recbole_mgr.distributed import processes
from recbole_mgr.generation.beam_search import RankedList, Trace
from recbole_mgr.generation.item_memory import MemorySettings
from recbole_mgr.generation.priors import DENSE_ITEMS, DensePrior, Prior
from recbole_mgr.generation.trie import AllowedItems, PrefixTrie
from recbole_mgr.integration.dataset import GenerativeDataset
from recbole_mgr.integration.model_files import ReadsFeatures, files_of
from recbole_mgr.integration.windows import TARGET_COUNT, count_targets
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.model.backbone.item_softmax import AlikeItems
from recbole_mgr.model.backbone.t5 import T5Backbone
from recbole_mgr.model.joined_items import JoinedItems
from recbole_mgr.model.memory import OURS, MemoryPrior, require_content
from recbole_mgr.model.priors import OFFSETS, PartWeights
from recbole_mgr.model.ranking import CODES, BeamRanker, Ranker, UnionRanker, Wanted
from recbole_mgr.semantic_id.build import FUSED
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.user_supplied import supplied_modalities

logger = logging.getLogger(__name__)


class GenerativeRecommender(ReadsFeatures, SequentialRecommender):
    """A recommender that generates the next item's semantic ID.

    Subclasses say how an item becomes a semantic ID (class attributes) and may add a training stage.

    Args:
        config: RecBole's Config with this plugin's keys (``properties/model/GenerativeRecommender.yaml``).
        dataset: the training part, built, so that it holds ``semantic_ids``.

    Attributes:
        fusion: ``late`` (one quantiser per modality, codes concatenated) or ``early`` (one for the fused vector).
        backbones: what the setting ``backbone`` may be.
        takes_new_items: whether items may join a trained run.
        task_names: what it is asked; none but recommendation where there are no names.
    """

    fusion: ClassVar[str] = "late"
    backbones: ClassVar[tuple[str, ...]] = ("hierarchical", "t5")
    takes_new_items: ClassVar[bool] = True
    task_names: Sequence[str] = ()

    @classmethod
    def has_transitions(cls, settings: Mapping[str, Any]) -> bool:
        """Whether transition digits stand between modalities; ``settings`` is a Config or a plain dictionary."""
        return False

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        """Refuse settings that contradict the model; raises ValueError naming key, value and remedy."""
        require_content(settings)

    @classmethod
    def modalities_read(cls, settings: Mapping[str, Any]) -> list[str]:
        """The modalities whose features are read: those that user-supplied semantic IDs lack, or all.

        Raises:
            ValueError: If the file of semantic IDs is malformed.
        """
        modalities = settings["modalities"]
        if not settings["semantic_ids"]:
            return modalities
        wanted = [FUSED] if cls.fusion == "early" else modalities
        supplied = supplied_modalities(Path(settings["semantic_ids"]), wanted)
        return [] if supplied == wanted else [modality for modality in modalities if modality not in supplied]

    @classmethod
    def files_read(cls, settings: Mapping[str, Any]) -> dict[str, Path]:
        files = {key: Path(settings[key]) for key in ("semantic_ids", "item2id") if settings.get(key)}
        try:
            return files | super().files_read(settings)
        except ValueError:  # a bad file is named when it is read
            return files | files_of(settings["modalities"], settings)

    @classmethod
    def load_extra_state(cls, run_dir: Path, table: SemanticIdTable) -> Any:
        """Read back what :meth:`save_extra_state` wrote, as the data set's ``personal``."""

    def save_extra_state(self, run_dir: Path, interactions: np.ndarray | None) -> None:
        """Write into a run directory what the model knows of items and users beside the semantic IDs: nothing here.

        Args:
            run_dir: of the run.
            interactions: int64 [n], row numbers of the data set's interactions in the order of the run's histories;
                None keeps nothing of any user.
        """

    def __init__(self, config, dataset: GenerativeDataset) -> None:
        super().__init__(config, dataset)
        if config["device"].type == "cuda":
            # cuDNN plans attention anew for each length of a batch, which took most of a step (H100, torch 2.11)
            torch.backends.cuda.enable_cudnn_sdp(False)
        self.semantic_ids = dataset.semantic_ids
        self.semantic_id_report = dataset.semantic_id_report
        self.code_softmax = config["code_softmax"]
        self.beam_size = config["beam_size"]  # where a call names no other
        sizes = [digit.size for digit in self.semantic_ids.digits]
        self.trie = PrefixTrie(self.semantic_ids.codes[1:], sizes)
        self.backbone = self._build_backbone(config, dataset)
        self._build_priors(config, dataset)

    def _build_priors(self, config, dataset: GenerativeDataset) -> None:
        """What ranks items beside codes; nothing for a model that does not ask for it."""
        self.ranking = config["ranking"]
        self.prior_candidates = config["prior_candidates"]
        parts = [CODES] if config["code_weight"] else []
        parts += [part for part in ("item_softmax", "memory", "popularity") if config[part]]
        is_learning = hasattr(dataset, "rows_of_one_target")  # else the weights are read from a run directory
        num_items = self.semantic_ids.num_items
        costly = [part for part in ("item_softmax", "memory") if config[part]]
        if is_learning and costly and num_items > DENSE_ITEMS:
            logger.warning(
                f"{', '.join(costly)}: their cost in training grows with the catalogue, and there are {num_items:,} "
                f"items; without them ({costly[0]}=False, preset=None) training costs no more than for few items"
            )
        if config["memory"]:
            how = MemorySettings.of(OURS | config["memory_options"]), config["memory_floor"]
            self.memory = MemoryPrior.learned_from(dataset, *how) if is_learning else MemoryPrior(num_items, *how)
        if config["popularity"]:
            self._count_items(dataset)
        self._weights_given = None if config["prior_weights"] == "auto" else config["prior_weights"]
        self.part_weights = PartWeights(parts, self._weights_given) if parts != [CODES] else None
        self.joined = JoinedItems()  # after the training

    def _count_items(self, dataset: GenerativeDataset) -> None:
        """How often each item was taken in the training part, kept with the weights."""
        counts = torch.zeros(self.semantic_ids.num_items + 1)
        if hasattr(dataset, "item_counter"):
            items, taken = zip(*dataset.item_counter.items(), strict=True)
            counts[torch.tensor(items)] = torch.tensor(taken, dtype=counts.dtype)
        self.register_buffer("item_counts", counts)  # [N + 1]

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
            code_weight=config["code_weight"],
            item_softmax={
                "weight": config["item_softmax_weight"],
                "item_vectors": config["item_vectors"],
                "vector_dropout": config["item_vector_dropout"],
            }
            if config["item_softmax"]
            else None,
        )

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean negative log-likelihood of the counted targets of a batch."""
        counts = interaction[TARGET_COUNT] if TARGET_COUNT in interaction else None
        return self.backbone.loss(*self._history(interaction), interaction[self.POS_ITEM_ID], counts)

    def loss_of_part(self, part: Interaction, whole: Interaction, counts: bool) -> Tensor:
        """What a process adds to the loss of a batch, see :func:`recbole_mgr.integration.parallel.loss_of_part`."""
        return self.calculate_loss(part) * (counts * count_targets(part) / count_targets(whole))

    def generate(
        self, interaction: Interaction, k: int, *, exclude: Tensor | None = None, **options: Any
    ) -> RankedList:
        """The list of :meth:`generate_lists` for one ``exclude``; the other arguments are of that."""
        return self.generate_lists(interaction, k, excludes=[exclude], **options)[0]

    @torch.no_grad()
    def generate_lists(
        self,
        interaction: Interaction,
        k: int,
        *,
        excludes: Sequence[Tensor | None],
        beam_size: int | None = None,
        allowed_items: AllowedItems | None = None,
        trace: Trace | None = None,
        joined: JoinedItems | None = None,
    ) -> list[RankedList]:
        """Rank the k most likely items by trie-constrained beam search, and by what is known beside codes.

        Where codes do not count, and the parts that do know a score of every item, all items are ranked, and there are
        no beams. All that a call asks for is an argument of it, so that threads can share a network.

        Args:
            interaction: batch with histories.
            k: items per user.
            excludes: [B, X] item ids (0 = padding) a user must not get, e.g. their history, masked, not renormalised;
                or None. Each has a list of its own: all are made in one pass.
            beam_size: width of the search, at least k; None is that of :meth:`beam_width`.
            allowed_items: from ``self.trie.allow(item_ids)``: only these items may be returned.
            trace: sees the beams after each digit.
            joined: items that count as new; None are those of :meth:`let_in`.

        Returns:
            For each of ``excludes`` item ids [B, k] and log-probabilities [B, k], with priors in ``ranking: union``
            their weighted sums, descending; padded with item 0 and -inf only where fewer than k items are allowed.
        """
        width = self.beam_width(k, beam_size)
        return self.ranker(interaction, joined).lists(Wanted(k, width, excludes, allowed_items, trace))

    def beam_width(self, k: int, asked: int | None = None) -> int:
        """Width of a search for k items: the one asked for, else the setting ``beam_size``, or k where that is more."""
        return max(self.beam_size, k) if asked is None else asked

    @property
    def ranking_weights(self) -> PartWeights | None:
        """What each part counts in the ranking that is asked for; None where the beams of codes alone rank."""
        return self.part_weights

    @property
    def joins_scores(self) -> bool:
        """Whether items are ranked by a sum of scores, and not by beams alone."""
        return self.ranking_weights is not None and self.ranking == "union"

    @property
    def chooses_weights(self) -> bool:
        """Whether what the parts count is chosen on validation."""
        weights = self.ranking_weights
        return self._weights_given is None and weights is not None and len(weights.parts) > 1

    @torch.no_grad()
    def choose_weights(self, batches: Iterable[tuple[Interaction, Tensor]], k: int, beam_size: int) -> dict[str, float]:
        """Choose what each part counts in the ranking by NDCG@k of validation users, and keep it with the weights.

        Args:
            batches: histories, and the items that follow them, int64 [B]; of several processes each has a share.
            k: cut-off.
            beam_size: width of the search.
        """
        wanted = Wanted(k, beam_size)
        found = ((self.ranker(batch).candidates(wanted)[0], targets) for batch, targets in batches)
        if processes.count() > 1:
            found = processes.all_in_order(found)
        return self.ranking_weights.choose(found, k)

    def ranker(self, interaction: Interaction, joined: JoinedItems | None = None) -> Ranker:
        """What ranks items for a batch of histories, of which ``joined`` are new: what the parts know of them is
        computed once."""
        history = self._history(interaction)
        first = self.backbone.start(*history)

        def step(depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: Any):
            return self.backbone.step(depth, nodes, codes, parents, first if state is None else state)

        priors = self._priors(first, *history, joined=self.joined if joined is None else joined)
        weights = {} if self.ranking_weights is None else self.ranking_weights.as_dict()
        search = {"batch_size": len(interaction), "code_softmax": self.code_softmax}
        if self.joins_scores:
            weights |= {OFFSETS: 1.0} if OFFSETS in priors else {}
            return UnionRanker(BeamRanker(step, self.trie, **search), priors, weights, self.prior_candidates)
        pushed = {part: (prior, weights[part]) for part, prior in priors.items()}
        return BeamRanker(step, self.trie, priors=pushed, **search)

    def predict(self, interaction: Interaction) -> Tensor:
        """Log-likelihood [B] of each row's candidate item; with priors the score that :meth:`generate` ranks by."""
        return self.score_items(interaction, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)

    def score_items(self, interaction: Interaction, item_ids: Tensor) -> Tensor:
        """What :meth:`generate` ranks by, of several items for each history: int64 [B, M] -> float [B, M]."""
        return self.ranker(interaction).scores(item_ids)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Exact log-likelihood of every item, [B * (N + 1)] as RecBole wants it; PAD at -inf. With priors the score
        that :meth:`generate` ranks by.

        Evaluation does not use it (it uses :meth:`generate`); it serves case studies and small catalogues.
        """
        return self.ranker(interaction).scores_of_all().view(-1)

    @property
    def notes(self) -> list[str]:
        """What a table says below about the row: what ranks beside codes."""
        if self.ranking_weights is None:
            return []
        weights = ", ".join(f"{part} {weight:g}" for part, weight in self.ranking_weights.as_dict().items())
        how = "chosen on validation" if self.chooses_weights else "given"
        return [f"ranked with priors, which are ours and not the papers'; weights ({how}): {weights}"]

    def joining(self, likeness: sparse.csr_matrix, offsets: Tensor | None = None) -> JoinedItems:
        """What ranks items beside codes where some count as new; the network stays as it is.

        Args:
            likeness, offsets: see `JoinedItems`.
        """
        parts = [] if self.part_weights is None else self.part_weights.parts
        alike = AlikeItems.of(likeness, self.trie.device) if "item_softmax" in parts else None
        memory = self.memory.with_new_items(likeness) if "memory" in parts else None
        return JoinedItems(likeness, alike, memory, offsets)

    def let_in(self, joined: JoinedItems) -> None:
        """Rank by what :meth:`joining` gave from here on."""
        self.joined = joined
        if joined.memory is not None:
            self.memory = joined.memory  # a large catalogue's is not held twice

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

    def _priors(self, first: Any, history: Tensor, lengths: Tensor, *, joined: JoinedItems) -> dict[str, Prior]:
        """By part, from the backbone's first state and the histories [B, L] of ``lengths`` [B]."""
        priors = {}
        for part in self.ranking_weights.parts if self.ranking_weights else ():
            if part == "item_softmax":
                priors[part] = self.backbone.item_prior(first, joined.alike)
            elif part == "memory":
                priors[part] = (joined.memory or self.memory).prior(self.trie, history, lengths)
            elif part == "popularity":
                priors[part] = DensePrior(self.trie, (self.item_counts + 1).log().unsqueeze(0))
        if joined.offsets is not None and self.joins_scores:
            priors[OFFSETS] = DensePrior(self.trie, joined.offsets.unsqueeze(0), normalised=False)
        return priors
