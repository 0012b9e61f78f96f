"""``GenerativeRecommender``: what every model of this plugin is to RecBole."""

from __future__ import annotations

import functools
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
from recbole_mgr.generation.beam_search import RankedList, Step, Trace, beam_searches, exhaustive_scores, item_log_probs
from recbole_mgr.generation.item_memory import MemorySettings
from recbole_mgr.generation.priors import DENSE_ITEMS, DensePrior, Prior, WeightedPriors
from recbole_mgr.generation.trie import AllowedItems, PrefixTrie
from recbole_mgr.integration.dataset import GenerativeDataset
from recbole_mgr.integration.model_files import ReadsFeatures, files_of
from recbole_mgr.integration.windows import TARGET_COUNT, count_targets
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.model.backbone.t5 import T5Backbone
from recbole_mgr.model.memory import OURS, MemoryPrior, require_content
from recbole_mgr.model.priors import CODES, OFFSETS, Candidates, PartWeights, candidates_of, rank_all_items
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
            settings, floor = MemorySettings.of(OURS | config["memory_options"]), config["memory_floor"]
            learn = MemoryPrior.learned_from if is_learning else None
            self.memory = learn(dataset, settings, floor) if learn else MemoryPrior(num_items, settings, floor)
        if config["popularity"]:
            self._count_items(dataset)
        self._weights_given = None if config["prior_weights"] == "auto" else config["prior_weights"]
        self.part_weights = PartWeights(parts, self._weights_given) if parts != [CODES] else None
        # of items that joined after training, see let_in and offset_scores
        self.likeness: sparse.csr_matrix | None = None
        self.register_buffer("score_offsets", None, persistent=False)  # [N + 1]

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
    ) -> list[RankedList]:
        """Rank the k most likely items by trie-constrained beam search, and by what is known beside codes.

        Where codes do not count, and the parts that do know a score of every item, all items are ranked, and there are
        no beams. All that a call asks for is an argument of it, so that threads can share a network.

        Args:
            interaction: batch with histories.
            k: items per user.
            excludes: [B, X] item ids (0 = padding) a user must not get, e.g. their history, masked, not renormalised;
                or None. Each has a list of its own: all are made in one pass.
            beam_size: width of the search, at least k; None is the setting of that name, or k where that is more.
            allowed_items: from ``self.trie.allow(item_ids)``: only these items may be returned.
            trace: sees the beams after each digit.

        Returns:
            For each of ``excludes`` item ids [B, k] and log-probabilities [B, k], with priors in ``ranking: union``
            their weighted sums, descending; padded with item 0 and -inf only where fewer than k items are allowed.
        """
        width = max(self.beam_size, k) if beam_size is None else beam_size
        step, priors = self._start(interaction)
        masks = {"excludes": excludes, "allowed_items": allowed_items}
        search = {"batch_size": len(interaction), "beam_width": width, "trace": trace}
        if not self.joins_scores:
            return self._beams(step, k=k, priors=self._pushed_down(priors), **search, **masks)
        weights = self._weights()
        priors = {part: prior for part, prior in priors.items() if weights[part]}
        by_codes = bool(weights.get(CODES))
        if priors and not by_codes and all(isinstance(prior, DensePrior) for prior in priors.values()):
            return rank_all_items(priors, weights, k, **masks)
        count = max(k, self.prior_candidates)
        candidates = self._candidates(step, priors, count, by_codes=by_codes, masks=masks, **search)
        return [found.ranked(weights, k) for found in candidates]

    @property
    def ranking_weights(self) -> PartWeights | None:
        """What each part counts in the ranking that is asked for; None where the beams of codes alone rank."""
        return self.part_weights

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
        count, by_codes = max(k, self.prior_candidates), CODES in self.ranking_weights.parts

        def candidates(batch: Interaction) -> Candidates:
            search = {"batch_size": len(batch), "beam_width": beam_size}
            return self._candidates(*self._start(batch), count, by_codes=by_codes, masks={}, **search)[0]

        found = ((candidates(batch), targets) for batch, targets in batches)
        if processes.count() > 1:
            found = processes.all_in_order(found)
        return self.ranking_weights.choose(found, k)

    @torch.no_grad()
    def score_parts(self, interaction: Interaction, item_ids: Tensor) -> dict[str, Tensor]:
        """What each part adds to the scores of items, where several are summed: nothing where beams alone rank.

        Args:
            interaction: histories, B of them.
            item_ids: int64 [B, M].

        Returns:
            By part, float [B, M].
        """
        if not self.joins_scores:
            return {}
        weights = self._weights()
        return {part: weights[part] * value for part, value in self._log_probs_of(interaction, item_ids).items()}

    @torch.no_grad()
    def pushed_priors(self, interaction: Interaction) -> dict[str, tuple[Prior, float]]:
        """The priors of these histories that are pushed down the trie, with their weights, by part."""
        if self.ranking_weights is None or self.ranking != "beams":
            return {}
        weights = self.ranking_weights.as_dict()
        return {part: (prior, weights[part]) for part, prior in self._start(interaction)[1].items()}

    def predict(self, interaction: Interaction) -> Tensor:
        """Log-likelihood [B] of each row's candidate item; with priors the score that :meth:`generate` ranks by."""
        return self.score_items(interaction, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)

    def score_items(self, interaction: Interaction, item_ids: Tensor) -> Tensor:
        """What :meth:`generate` ranks by, of several items for each history: int64 [B, M] -> float [B, M]."""
        log_probs = self._log_probs_of(interaction, item_ids)
        if not self.joins_scores:
            return log_probs[CODES]
        return Candidates(item_ids, log_probs).score(self._weights())

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Exact log-likelihood of every item, [B * (N + 1)] as RecBole wants it; PAD at -inf. With priors the score
        that :meth:`generate` ranks by.

        Evaluation does not use it (it uses :meth:`generate`); it serves case studies and small catalogues.
        """
        step, priors = self._start(interaction)
        total = exhaustive_scores(
            step,
            self.trie,
            batch_size=len(interaction),
            code_softmax=self.code_softmax,
            priors=self._pushed_down(priors),
        )
        if self.joins_scores:
            everything = torch.arange(total.shape[1], device=total.device).expand_as(total)
            log_probs = {CODES: total} if CODES in self.ranking_weights.parts else {}
            log_probs |= {part: prior.log_probs(everything) for part, prior in priors.items()}
            total = Candidates(everything, log_probs).score(self._weights())
        return total.view(-1)

    @property
    def notes(self) -> list[str]:
        """What a table says below about the row: what ranks beside codes."""
        if self.ranking_weights is None:
            return []
        weights = ", ".join(f"{part} {weight:g}" for part, weight in self.ranking_weights.as_dict().items())
        how = "chosen on validation" if self.chooses_weights else "given"
        return [f"ranked with priors, which are ours and not the papers'; weights ({how}): {weights}"]

    def let_in(self, likeness: sparse.csr_matrix) -> None:
        """Tell what ranks beside codes of items that joined after the training.

        Args:
            likeness: CSR [N + 1, N + 1], of each new item to known ones, rows that sum to 1; those that joined before
                are among them.
        """
        self.likeness = likeness
        parts = [] if self.part_weights is None else self.part_weights.parts
        if "item_softmax" in parts:
            self.backbone.item_softmax.let_in(likeness)
        if "memory" in parts:
            self.memory.let_in(likeness)

    def offset_scores(self, offsets: Tensor) -> None:
        """Add to the score of each item, float [N + 1], where the scores of several parts are summed."""
        self.score_offsets = offsets if self.joins_scores else None

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

    @property
    def joins_scores(self) -> bool:
        """Whether items are ranked by a sum of scores, and not by beams alone."""
        return self.ranking_weights is not None and self.ranking == "union"

    def _weights(self) -> dict[str, float]:
        """What each part of the sum counts."""
        weights = self.ranking_weights.as_dict()
        return weights if self.score_offsets is None else weights | {OFFSETS: 1.0}

    def _start(self, interaction: Interaction) -> tuple[Step, dict[str, Prior]]:
        """The step of a search from histories, and the priors of their users by part."""
        history = self._history(interaction)
        first = self.backbone.start(*history)

        def step(depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: Any):
            return self.backbone.step(depth, nodes, codes, parents, first if state is None else state)

        return step, self._priors(first, *history)

    def _priors(self, first: Any, history: Tensor, lengths: Tensor) -> dict[str, Prior]:
        """By part, from the backbone's first state and the histories [B, L] of ``lengths`` [B]."""
        priors = {}
        for part in self.ranking_weights.parts if self.ranking_weights else ():
            if part == "item_softmax":
                priors[part] = self.backbone.item_prior(first)
            elif part == "memory":
                priors[part] = self.memory.prior(self.trie, history, lengths)
            elif part == "popularity":
                priors[part] = DensePrior(self.trie, (self.item_counts + 1).log().unsqueeze(0))
        if self.score_offsets is not None:
            priors[OFFSETS] = DensePrior(self.trie, self.score_offsets.unsqueeze(0))
        return priors

    def _pushed_down(self, priors: dict[str, Prior]) -> WeightedPriors | None:
        if not priors or self.ranking != "beams":
            return None
        weights = self.ranking_weights.as_dict()
        return WeightedPriors(list(priors.values()), [weights[part] for part in priors])

    def _beams(self, step: Step, **options: Any) -> list[RankedList]:
        return beam_searches(step, self.trie, code_softmax=self.code_softmax, **options)

    def _candidates(
        self,
        step: Step,
        priors: dict[str, Prior],
        count: int,
        *,
        by_codes: bool,
        masks: Mapping[str, Any],
        **search: Any,
    ) -> list[Candidates]:
        """For each ``excludes`` of the masks the items of the beams, where codes count, and the best ``count`` of each
        prior."""
        masks = {"excludes": [None], "allowed_items": None} | dict(masks)
        beams = score_codes = None
        if by_codes:
            beams = self._beams(step, k=search["beam_width"], **search, **masks)
            score_codes = functools.partial(item_log_probs, step, self.trie, code_softmax=self.code_softmax)
        return candidates_of(beams, priors, score_codes, count=count, **masks)

    def _log_probs_of(self, interaction: Interaction, item_ids: Tensor) -> dict[str, Tensor]:
        """Log-probabilities [B, M] of items [B, M] by each part that their scores are summed of."""
        step, priors = self._start(interaction)
        codes = item_log_probs(
            step, self.trie, item_ids, code_softmax=self.code_softmax, priors=self._pushed_down(priors)
        )
        if not self.joins_scores:
            return {CODES: codes}
        log_probs = {CODES: codes} if CODES in self.ranking_weights.parts else {}
        return log_probs | {part: prior.log_probs(item_ids) for part, prior in priors.items()}
